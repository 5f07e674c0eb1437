"""One plugin: it is connected → registered → configured → synchronized → told of events."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import anyio
from google.protobuf.message import Message

from asupervisor import __version__
from asupervisor.background_tasks import BackgroundTasks, cancel_when
from asupervisor.errors import FailedPrecondition, ServiceError
from asupervisor.nri.connection import Connection, Lost, Refused
from asupervisor.nri.events import (
    ALL,
    BY_STATE_CHANGE,
    METHODS,
    PLUGIN_SERVICE,
    RUNTIME_SERVICE,
    response_class,
)
from asupervisor.nri.ttrpc import INVALID_ARGUMENT, UNIMPLEMENTED, UNKNOWN, TooLong
from asupervisor.proto.nri.v1alpha1 import api_pb2 as api

_logger = logging.getLogger(__name__)
NRI_VERSION = "v0.12.0"
"""The release of NRI whose messages these are; plugins are told it."""
_NAME = re.compile(r"[A-Za-z0-9_.+-]{1,128}", re.ASCII)
_INDEX = re.compile(r"[0-9]{2}", re.ASCII)
_MOST_ENTRIES = 500
_MOST_CONTAINERS = 10_000
"""Most entries of one list in a plugin's message, and of a list that names other containers: they
are combined entry by entry, and the whole service waits for that."""

R = TypeVar("R", bound=Message)
Update = Callable[["Plugin", api.UpdateContainersRequest], Awaitable[api.UpdateContainersResponse]]
"""Does the changes that a plugin asks for without being asked."""


def split_name(name: str) -> tuple[str, str] | None:
    """Index and name of ``10-name``; None if it is not the name of a plugin."""
    index, dash, base = name.partition("-")
    return (index, base) if dash and _INDEX.fullmatch(index) and _NAME.fullmatch(base) else None


class Plugin:
    """One plugin.

    Args:
        peer: its socket.
        update: does what it asks for without being asked, once it is synchronized.
        registration_timeout_s, request_timeout_s: seconds for it to register, and to answer.
        name: ``10-name`` of a plugin that was started; empty for one that connects and registers
            its name.
        configuration: of a plugin that was started.

    Attributes:
        index, base: the two parts of its name.
        events: the mask of the events that it is told of.
    """

    def __init__(
        self,
        peer: socket.socket,
        update: Update,
        *,
        registration_timeout_s: float,
        request_timeout_s: float,
        name: str = "",
        configuration: str = "",
    ) -> None:
        self.index, self.base = split_name(name) or ("", "")
        self._given_name = bool(name)
        self._configuration = configuration
        self._update = update
        self._registration_timeout_s = registration_timeout_s
        self._request_timeout_s = request_timeout_s
        self._registered = anyio.Event()
        self._synchronized = False
        self.events = 0
        self.connection = Connection(peer, self._serve, send_deadline_s=request_timeout_s)

    @property
    def name(self) -> str:
        """``10-name``, for errors, owners of adjustments and the log."""
        return f"{self.index}-{self.base}" if self.base else "a plugin without a name"

    @property
    def alive(self) -> bool:
        """Whether it is connected."""
        return not self.connection.ended.is_set()

    def subscribed(self, event: api.Event) -> bool:
        """Whether it is connected and wants to be told of an event."""
        return self.alive and bool(self.events & 1 << (event - 1))

    async def start(self) -> None:
        """Wait until it has registered, and configure it.

        Raises:
            FailedPrecondition: it does not register in time, or asks for unknown events.
        """
        async with BackgroundTasks() as tasks:
            with anyio.move_on_after(self._registration_timeout_s) as scope:
                tasks.start_soon(cancel_when, self.connection.ended, scope)
                await self._registered.wait()
        if not self._registered.is_set():
            self.connection.close(f"it did not register within {self._registration_timeout_s:g} s")
            raise FailedPrecondition(f"{self.name} of NRI: {self.connection.reason}")
        request = api.ConfigureRequest(
            config=self._configuration,
            runtime_name="asupervisor",
            runtime_version=__version__,
            registration_timeout=int(self._registration_timeout_s * 1000),
            request_timeout=int(self._request_timeout_s * 1000),
            NRI_version=NRI_VERSION,
        )
        answer = await self._ask("Configure", request, api.ConfigureResponse)
        events = answer.events & 0xFFFFFFFF
        if events & ~ALL:
            raise self._dropped(f"it asks for the unknown events {events & ~ALL:#x}")
        self.events = events or ALL

    async def synchronize(
        self, pods: Sequence[api.PodSandbox], containers: Sequence[api.Container]
    ) -> list[api.ContainerUpdate]:
        """Tell it all pods and containers, in as few messages as they fit in. Returns the updates
        that it asks for.

        Raises:
            FailedPrecondition: it refuses, or does not join the pieces.
        """
        size = len(pods) + len(containers)
        # It belongs to the registration, and may take as long; nothing is created meanwhile.
        ends = anyio.current_time() + max(self._registration_timeout_s, self._request_timeout_s)
        while True:
            piece, rest = _divided(pods, containers, size)
            request = api.SynchronizeRequest(pods=piece[0], containers=piece[1], more=any(rest))
            try:
                timeout_s = max(0.001, ends - anyio.current_time())
                answer = await self._ask("Synchronize", request, api.SynchronizeResponse, timeout_s)
            except TooLong:
                if size <= 1:
                    raise self._dropped("what is there does not fit its messages") from None
                size //= 2
                continue
            if not request.more:
                self._synchronized = True
                return list(answer.update)
            if answer.update or not answer.more:
                raise self._dropped("it does not put the pieces of Synchronize together")
            pods, containers = rest
            size *= 2

    async def tell(self, event: api.Event, request: Message) -> Message | None:
        """Tell it of an event.

        Args:
            event: one that it may not have subscribed to; then nothing happens.
            request: of the event's class.

        Returns:
            Its answer; None if it was not asked, or lost meanwhile.

        Raises:
            FailedPrecondition: it refuses.
        """
        if not self.subscribed(event):
            return None
        method = METHODS[event]
        try:
            return await self._call(method, request, response_class(event))
        except Refused as error:
            if error.code != UNIMPLEMENTED:
                raise self._refusal(method, error) from error
        except TooLong as error:
            raise FailedPrecondition(
                f"NRI plugin {self.name} cannot be told of {method}: {error}"
            ) from error
        except Lost:
            return None
        if event not in BY_STATE_CHANGE:
            _logger.info("NRI plugin %s does not have %s; it is not asked again", self.name, method)
            self.events &= ~(1 << (event - 1))
            return None
        fields = {field.name: value for field, value in request.ListFields()}
        change = api.StateChangeEvent(event=event, **fields)
        try:
            await self._ask("StateChange", change, api.Empty)
        except FailedPrecondition:
            if self.alive:
                raise
        return None

    async def _call(
        self, method: str, request: Message, response: type[R], timeout_s: float = 0.0
    ) -> R:
        answer = await self.connection.call(
            PLUGIN_SERVICE, method, request, response, timeout_s or self._request_timeout_s
        )
        if too_long := _too_long(answer):
            raise FailedPrecondition(
                f"the answer of NRI plugin {self.name} to {method} is not taken: {too_long}",
                operation=method,
            )
        return answer

    async def _ask(
        self, method: str, request: Message, response: type[R], timeout_s: float = 0.0
    ) -> R:
        """Call it.

        Raises:
            FailedPrecondition: it refuses, or the connection was lost.
            TooLong: the request is too long.
        """
        try:
            return await self._call(method, request, response, timeout_s)
        except Refused as error:
            raise self._refusal(method, error) from error
        except Lost as error:
            raise FailedPrecondition(f"NRI plugin {self.name}: {error}") from error

    def _refusal(self, method: str, error: Refused) -> FailedPrecondition:
        return FailedPrecondition(
            f"NRI plugin {self.name} refuses {method}: {error.message or 'without a reason'}",
            operation=method,
        )

    def _dropped(self, reason: str) -> FailedPrecondition:
        """End the connection, and return the error; the first reason counts."""
        self.connection.close(reason)
        return FailedPrecondition(f"NRI plugin {self.name}: {self.connection.reason}")

    async def _serve(self, service: str, method: str, payload: bytes) -> bytes:
        if service != RUNTIME_SERVICE:
            raise Refused(UNIMPLEMENTED, f"the service {service} is not served here")
        if method == "RegisterPlugin":
            return self._register(api.RegisterPluginRequest.FromString(payload))
        if method != "UpdateContainers":
            raise Refused(UNIMPLEMENTED, f"{method} is not served here")
        request = api.UpdateContainersRequest.FromString(payload)
        if not self._synchronized:
            raise Refused(INVALID_ARGUMENT, "a plugin is synchronized before it asks for changes")
        if too_long := _too_long(request):
            raise Refused(INVALID_ARGUMENT, too_long)
        try:
            return (await self._update(self, request)).SerializeToString()
        except ServiceError as error:
            raise Refused(UNKNOWN, error.message) from error

    def _register(self, request: api.RegisterPluginRequest) -> bytes:
        if self._registered.is_set():
            raise Refused(INVALID_ARGUMENT, "a plugin registers once")
        if not self._given_name:
            name = f"{request.plugin_idx}-{request.plugin_name}"
            if (parts := split_name(name)) is None:
                raise Refused(
                    INVALID_ARGUMENT,
                    f'"{name[:200]}" is not the name of a plugin: two digits, a dash, and letters,'
                    " digits, dots, dashes, underscores or pluses",
                )
            self.index, self.base = parts
        self._registered.set()
        return api.Empty().SerializeToString()


def _too_long(message: Message) -> str:
    """Which list of a message has too many entries, in words; empty for none."""
    for field, value in message.ListFields():
        if isinstance(value, Message):
            inner: Iterable[Message] = [value]
        elif not isinstance(value, (Sequence, Mapping)) or isinstance(value, (str, bytes)):
            continue
        else:
            most = _MOST_CONTAINERS if field.name in ("update", "evict") else _MOST_ENTRIES
            if len(value) > most:
                return f"{field.name} has {len(value)} entries, and {most} are taken"
            entries = value.values() if isinstance(value, Mapping) else value
            inner = [entry for entry in entries if isinstance(entry, Message)]
        if found := next(filter(None, map(_too_long, inner)), ""):
            return found
    return ""


Pieces = tuple[Sequence[api.PodSandbox], Sequence[api.Container]]


def _divided(
    pods: Sequence[api.PodSandbox], containers: Sequence[api.Container], size: int
) -> tuple[Pieces, Pieces]:
    """The first ``size`` objects, pods before containers, and the rest."""
    of_containers = max(0, size - len(pods))
    return (pods[:size], containers[:of_containers]), (pods[size:], containers[of_containers:])
