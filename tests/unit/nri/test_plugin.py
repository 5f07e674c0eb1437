"""One plugin over a real socket: what it may say, and what becomes of one that hangs or lies."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from asupervisor.errors import FailedPrecondition
from asupervisor.nri import plugin as plugin_module
from asupervisor.nri.connection import Connection, Lost, Refused
from asupervisor.nri.events import METHODS
from asupervisor.nri.mux import PLUGIN_CONNECTION, RUNTIME_CONNECTION, frames
from asupervisor.nri.plugin import Plugin
from asupervisor.nri.stub import PluginStub, api
from asupervisor.nri.ttrpc import (
    LONGEST_MESSAGE,
    RESOURCE_EXHAUSTED,
    UNIMPLEMENTED,
    encode_answer,
    encode_call,
)

RUNTIME = "nri.pkg.api.v1alpha1.Runtime"


async def nothing(plugin: Plugin, request: Any) -> api.UpdateContainersResponse:
    return api.UpdateContainersResponse()


class Peer:
    """The plugin's side, call by call.

    Args:
        answers: by method; an exception is raised, and a missing one is not implemented.
    """

    def __init__(self, peer: socket.socket, **answers: Any) -> None:
        self.calls: list[tuple[str, bytes]] = []
        self.answers: dict[str, Any] = {"Configure": api.ConfigureResponse(), **answers}
        self.connection = Connection(
            peer, self._serve, calls_on=RUNTIME_CONNECTION, serves_on=PLUGIN_CONNECTION
        )

    async def _serve(self, service: str, method: str, payload: bytes) -> bytes:
        self.calls.append((method, payload))
        answer = self.answers.get(method)
        if answer is None:
            raise Refused(UNIMPLEMENTED, "not here")
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer = await answer(payload)
        return bytes(answer.SerializeToString())

    async def register(self, name: str = "p", index: str = "10") -> None:
        request = api.RegisterPluginRequest(plugin_name=name, plugin_idx=index)
        await self.connection.call(RUNTIME, "RegisterPlugin", request, api.Empty, 5.0)


@asynccontextmanager
async def pair(patience_s: float = 30.0, **answers: Any) -> AsyncIterator[tuple[Plugin, Peer]]:
    """A plugin as the registry has it, and its other side; ``patience_s`` is for each answer."""
    ours, theirs = socket.socketpair()
    plugin = Plugin(ours, nothing, registration_timeout_s=30.0, request_timeout_s=patience_s)
    peer = Peer(theirs, **answers)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(plugin.connection.run)
        tasks.start_soon(peer.connection.run)
        yield plugin, peer
        plugin.connection.close("the test ends")
        peer.connection.close("the test ends")


@asynccontextmanager
async def started(patience_s: float = 30.0, **answers: Any) -> AsyncIterator[tuple[Plugin, Peer]]:
    async with pair(patience_s, **answers) as (plugin, peer):
        await peer.register()
        await plugin.start()
        yield plugin, peer


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("", "10"),
        ("p", "1"),
        ("p", "100"),
        ("p", "ab"),
        ("p/q", "10"),
        ("p q", "10"),
        ("x" * 129, "10"),
    ],
)
async def test_a_name_that_is_not_a_plugins_is_refused(name: str, index: str) -> None:
    async with pair() as (_, peer):
        with pytest.raises(Refused, match="not the name of a plugin"):
            await peer.register(name, index)
        await peer.register("p.q-r_s+1", "07")
        with pytest.raises(Refused, match="once"):
            await peer.register()


async def test_events_that_nobody_knows_are_refused() -> None:
    async with pair(Configure=api.ConfigureResponse(events=1 << 20)) as (plugin, peer):
        await peer.register()
        with pytest.raises(FailedPrecondition, match="unknown events"):
            await plugin.start()
        assert not plugin.alive


async def test_one_that_does_not_answer_configure_is_dropped() -> None:
    async def hang(payload: bytes) -> None:
        await anyio.sleep_forever()

    async with pair(0.5, Configure=hang) as (plugin, peer):
        await peer.register()
        with pytest.raises(FailedPrecondition, match="does not answer Configure"):
            await plugin.start()
        assert not plugin.alive


async def test_the_empty_mask_is_that_of_every_event() -> None:
    async with started(Configure=api.ConfigureResponse(events=0)) as (plugin, _):
        assert all(plugin.subscribed(event) for event in METHODS)


async def test_an_answer_to_another_call_is_none_to_this() -> None:
    """One that answers on streams of calls that were never made, or were answered already."""
    async with started(StopContainer=api.StopContainerResponse()) as (plugin, peer):
        for stream in (0, 1, 99, 0xFFFFFFFF):
            await peer.connection._send(PLUGIN_CONNECTION, encode_answer(stream, b"\xff"))
        answer = await plugin.tell(api.STOP_CONTAINER, api.StopContainerRequest())
        assert answer == api.StopContainerResponse() and plugin.alive


async def test_one_that_does_not_register_is_dropped() -> None:
    ours, theirs = socket.socketpair()
    plugin = Plugin(ours, nothing, registration_timeout_s=0.05, request_timeout_s=0.5)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(plugin.connection.run)
        with pytest.raises(FailedPrecondition, match="did not register"):
            await plugin.start()
    theirs.close()


async def test_an_event_that_an_older_plugin_does_not_have_is_told_as_a_state_change() -> None:
    async with started(StateChange=api.Empty()) as (plugin, peer):
        pod = api.PodSandbox(id="p1")
        await plugin.tell(api.RUN_POD_SANDBOX, api.RunPodSandboxRequest(pod=pod))
        method, payload = peer.calls[-1]
        assert method == "StateChange"
        change = api.StateChangeEvent.FromString(payload)
        assert (change.event, change.pod.id) == (api.RUN_POD_SANDBOX, "p1")
        await plugin.tell(api.CREATE_CONTAINER, api.CreateContainerRequest(pod=pod))
        assert not plugin.subscribed(api.CREATE_CONTAINER), "it is not asked again"


async def test_a_refusal_has_the_plugins_name_and_words() -> None:
    async with started(StopContainer=Refused(2, "no")) as (plugin, _):
        with pytest.raises(FailedPrecondition, match="10-p refuses StopContainer: no"):
            await plugin.tell(api.STOP_CONTAINER, api.StopContainerRequest())
        assert plugin.alive


async def test_one_that_hangs_is_dropped_and_the_call_goes_on() -> None:
    async def hang(payload: bytes) -> None:
        await anyio.sleep_forever()

    async with started(0.5, StopContainer=hang) as (plugin, _):
        assert await plugin.tell(api.STOP_CONTAINER, api.StopContainerRequest()) is None
        assert not plugin.alive and "does not answer StopContainer" in plugin.connection.reason


async def test_one_that_dies_is_not_waited_for() -> None:
    async with pair() as (plugin, peer):

        async def die(payload: bytes) -> None:
            peer.connection.close("died")
            await anyio.sleep_forever()

        peer.answers["StopContainer"] = die
        await peer.register()
        await plugin.start()
        assert await plugin.tell(api.STOP_CONTAINER, api.StopContainerRequest()) is None
        assert "closed the connection" in plugin.connection.reason or not plugin.alive


async def test_what_is_there_is_told_in_pieces_where_it_is_too_long() -> None:
    told: list[api.SynchronizeRequest] = []

    async def take(payload: bytes) -> api.SynchronizeResponse:
        told.append(api.SynchronizeRequest.FromString(payload))
        return api.SynchronizeResponse(more=told[-1].more)

    async with started(Synchronize=take) as (plugin, _):
        pods = [api.PodSandbox(id=f"p{number}") for number in range(20)]
        big = [api.Container(id=f"c{number}", args=["x" * 300_000]) for number in range(30)]
        assert await plugin.synchronize(pods, big) == []
        assert len(told) > 1 and [one.more for one in told] == [True] * (len(told) - 1) + [False]
        assert [pod.id for one in told for pod in one.pods] == [pod.id for pod in pods]
        assert [one.id for piece in told for one in piece.containers] == [one.id for one in big]


async def test_what_is_there_is_told_one_by_one_where_it_must_be() -> None:
    """Tenants choose how long their containers' arguments are; that must keep no plugin away."""
    sizes = []

    async def take(payload: bytes) -> api.SynchronizeResponse:
        request = api.SynchronizeRequest.FromString(payload)
        sizes.append(len(request.containers))
        return api.SynchronizeResponse(more=request.more)

    async with started(Synchronize=take) as (plugin, _):
        big = [api.Container(args=["x" * 3_000_000]) for _ in range(3)]
        small = [api.Container(args=["x"]) for _ in range(20)]
        assert await plugin.synchronize([], [*big, *small]) == []
        assert sizes[:2] == [1, 1] and sum(sizes) == 23 and len(sizes) < 10


async def test_all_pieces_together_have_one_deadline() -> None:
    last = anyio.Event()

    async def take(payload: bytes) -> api.SynchronizeResponse:
        request = api.SynchronizeRequest.FromString(payload)
        if not request.more:
            last.set()
            await anyio.sleep_forever()  # it has to be dropped for this one
        await anyio.sleep(0.3)  # longer than half of the deadline below: what is measured
        return api.SynchronizeResponse(more=True)

    async with started(Synchronize=take) as (plugin, _):
        plugin._registration_timeout_s = plugin._request_timeout_s = 0.5
        big = [api.Container(args=["x" * 3_000_000]) for _ in range(9)]
        with pytest.raises(FailedPrecondition, match="NRI plugin 10-p"):
            await plugin.synchronize([], big)
        assert not plugin.alive and not last.is_set()


MANY = [api.KeyValue(key=f"K{number}", value="1") for number in range(501)]
TOO_MUCH = [
    (api.ContainerAdjustment(env=MANY), "env has 501"),
    (api.ContainerAdjustment(annotations={one.key: "1" for one in MANY}), "annotations has 501"),
    (api.ContainerAdjustment(mounts=[api.Mount(options=["ro"] * 501)]), "options has 501"),
]


@pytest.mark.parametrize(("adjust", "what"), TOO_MUCH, ids=[what for _, what in TOO_MUCH])
async def test_an_answer_of_more_than_any_use_needs_is_not_taken(
    adjust: api.ContainerAdjustment, what: str
) -> None:
    answer = api.CreateContainerResponse(adjust=adjust)
    async with started(CreateContainer=answer) as (plugin, _):
        with pytest.raises(
            FailedPrecondition, match=f"10-p to CreateContainer is not taken: {what}"
        ):
            await plugin.tell(api.CREATE_CONTAINER, api.CreateContainerRequest())
        assert plugin.alive


async def test_a_request_of_more_than_any_use_needs_is_not_taken() -> None:
    async with started(Synchronize=api.SynchronizeResponse()) as (plugin, peer):
        await plugin.synchronize([], [])
        for field in ("update", "evict"):
            request = api.UpdateContainersRequest()
            for _ in range(10_001):
                getattr(request, field).add(container_id="c")
            with pytest.raises(Refused, match=f"{field} has 10001 entries"):
                await peer.connection.call(
                    RUNTIME, "UpdateContainers", request, api.UpdateContainersResponse, 20.0
                )


async def test_one_that_does_not_put_pieces_together_is_dropped() -> None:
    async with started(Synchronize=api.SynchronizeResponse()) as (plugin, _):
        big: Sequence[api.Container] = [
            api.Container(id=f"c{number}", args=["x" * 300_000]) for number in range(30)
        ]
        with pytest.raises(FailedPrecondition, match="does not put the pieces"):
            await plugin.synchronize([], big)


async def test_what_cannot_be_told_in_pieces_either_is_an_error() -> None:
    async with started(Synchronize=api.SynchronizeResponse()) as (plugin, _):
        with pytest.raises(FailedPrecondition, match="does not fit"):
            await plugin.synchronize([], [api.Container(args=["x" * LONGEST_MESSAGE])])


async def test_updates_wait_for_the_synchronization() -> None:
    async with started(Synchronize=api.SynchronizeResponse()) as (plugin, peer):
        request = api.UpdateContainersRequest()

        async def ask() -> api.UpdateContainersResponse:
            return await peer.connection.call(
                RUNTIME, "UpdateContainers", request, api.UpdateContainersResponse, 5.0
            )

        with pytest.raises(Refused, match="is synchronized before"):
            await ask()
        await plugin.synchronize([], [])
        assert await ask() == api.UpdateContainersResponse()


async def test_a_refusal_does_not_say_all_that_the_call_said() -> None:
    async with started() as (plugin, peer):
        with pytest.raises(Refused, match="the service xxx") as refused:
            await peer.connection.call(
                "x" * (LONGEST_MESSAGE - 40), "Sync", api.Empty(), api.Empty, 30.0
            )
        assert len(refused.value.message) < 10_000
        assert plugin.alive


async def test_a_flood_of_calls_is_refused_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = anyio.Event()

    async def slow(plugin: Plugin, request: Any) -> api.UpdateContainersResponse:
        await gate.wait()
        return api.UpdateContainersResponse()

    monkeypatch.setitem(globals(), "nothing", slow)
    async with started(Synchronize=api.SynchronizeResponse()) as (plugin, peer):
        await plugin.synchronize([], [])
        codes = []

        async def ask() -> None:
            try:
                await peer.connection.call(
                    RUNTIME,
                    "UpdateContainers",
                    api.UpdateContainersRequest(),
                    api.UpdateContainersResponse,
                    20.0,
                )
            except Refused as error:
                codes.append(error.code)
                if len(codes) == 16:
                    gate.set()

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(ask)
        assert codes == [RESOURCE_EXHAUSTED] * 16


@pytest.mark.parametrize(
    "wire",
    [
        frames(RUNTIME_CONNECTION, struct.pack(">IIBB", LONGEST_MESSAGE + 1, 1, 1, 0)),
        frames(RUNTIME_CONNECTION, struct.pack(">IIBB", 0, 1, 3, 0)),
        frames(PLUGIN_CONNECTION, struct.pack(">IIBB", 0, 1, 1, 0)),
        frames(PLUGIN_CONNECTION, struct.pack(">IIBB", 2, 1, 2, 0) + b"\xff\xff"),
    ],
    ids=["long", "data", "wrong-way", "not-protobuf"],
)
async def test_one_that_breaks_the_protocol_is_dropped(wire: bytes) -> None:
    ours, theirs = socket.socketpair()
    plugin = Plugin(ours, nothing, registration_timeout_s=5.0, request_timeout_s=0.5)
    theirs.sendall(wire)
    with anyio.fail_after(10):
        await plugin.connection.run()
    assert plugin.connection.reason.startswith("a message")
    theirs.close()


FLOODS = {
    "no-connection": frames(77, bytes(1 << 16)),
    "empty": frames(77, b"x") + struct.pack(">II", RUNTIME_CONNECTION, 0) * 4096,
    "answers": frames(PLUGIN_CONNECTION, struct.pack(">IIBB", 0, 1, 2, 0)) * 1024,
}


@pytest.mark.parametrize("wire", FLOODS.values(), ids=FLOODS)
async def test_one_that_floods_is_dropped_and_keeps_nobody_from_running(wire: bytes) -> None:
    ours, theirs = socket.socketpair()
    plugin = Plugin(ours, nothing, registration_timeout_s=5.0, request_timeout_s=0.5)
    turns = 0

    def flood() -> None:
        # It ends by itself, so that a service that takes all of it fails this test.
        with contextlib.suppress(OSError):
            for _ in range((1 << 29) // len(wire)):
                theirs.sendall(wire)
        theirs.close()

    async def others() -> None:
        nonlocal turns
        while not plugin.connection.ended.is_set():
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, flood)
        tasks.start_soon(others)
        await plugin.connection.run()
    assert "floods" in plugin.connection.reason
    assert turns > 1


async def test_one_that_floods_with_calls_is_dropped() -> None:
    ours, theirs = socket.socketpair()
    plugin = Plugin(ours, nothing, registration_timeout_s=5.0, request_timeout_s=5.0)
    calls = b"".join(
        frames(RUNTIME_CONNECTION, encode_call(stream, RUNTIME, "RegisterPlugin", b"", 1.0))
        for stream in range(1, 8192, 2)
    )

    def flood() -> None:
        with contextlib.suppress(OSError):
            theirs.sendall(calls)
            theirs.shutdown(socket.SHUT_WR)

    def read() -> None:
        with contextlib.suppress(OSError):
            while theirs.recv(1 << 16):
                pass

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, flood)
        tasks.start_soon(anyio.to_thread.run_sync, read)
        await plugin.connection.run()
    assert "floods" in plugin.connection.reason
    theirs.close()


async def test_one_that_reads_nothing_is_dropped() -> None:
    ours, theirs = socket.socketpair()
    connection = Connection(ours, None, send_deadline_s=0.1)  # type: ignore[arg-type]
    big = api.SynchronizeRequest(pods=[api.PodSandbox(name="x" * 3_000_000)])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(connection.run)
        with pytest.raises(Lost, match="does not take what is sent"):
            await connection.call("s", "m", big, api.Empty, 20.0)
    theirs.close()


async def test_an_answer_that_is_none_of_its_kind_ends_the_connection() -> None:
    async def lie(payload: bytes) -> Any:
        class Lie:
            def SerializeToString(self) -> bytes:
                return b"\x0a\xff"

        return Lie()

    async with started(StopContainer=lie) as (plugin, _):
        assert await plugin.tell(api.STOP_CONTAINER, api.StopContainerRequest()) is None
        assert "is not a StopContainerResponse" in plugin.connection.reason


async def test_frames_for_nobody_are_not_kept() -> None:
    async with started() as (plugin, peer):
        with contextlib.suppress(BlockingIOError):
            peer.connection._peer.send(frames(77, bytes(5000)))
        call = encode_call(999, RUNTIME, "Nothing", b"", 1.0)
        peer.connection._peer.send(frames(RUNTIME_CONNECTION, call))
        answer = await plugin.tell(api.STOP_CONTAINER, api.StopContainerRequest())
        assert answer is None and plugin.alive


def test_the_stub_asks_for_what_it_has() -> None:
    class Some(PluginStub):
        async def stop_container(self, pod: Any, container: Any) -> None:
            """Wanted."""

        async def validate_container_adjustment(self, request: Any) -> None:
            """Wanted."""

    wanted = Some("p", "10")._events()
    assert wanted == [api.STOP_CONTAINER, api.VALIDATE_CONTAINER_ADJUSTMENT]
    assert plugin_module.split_name("10-p") == ("10", "p")
