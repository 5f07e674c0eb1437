"""One piece of work that many callers wait for."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio

from asupervisor.errors import Internal, ServiceError, Unavailable

_logger = logging.getLogger(__name__)

T = TypeVar("T")


class Flight(Generic[T]):
    """A piece of work, whose result or error every waiting caller gets. It runs in a task of
    its own, so it goes on when a caller gives up.

    Args:
        name: what is done, for errors and the log: ``StopPodSandbox of k8s_…``.
        subject: the object that it is done to, for errors.
    """

    __slots__ = ("_name", "_result", "_subject", "done", "error")

    def __init__(self, name: str, subject: str = "") -> None:
        self._name = name
        self._subject = subject
        self._result: T | None = None
        self.done = anyio.Event()
        """Set once the result or the error is there."""
        self.error: ServiceError | None = None
        """Why it failed; None before it ended and where it succeeded."""

    async def run(self, work: Callable[[], Awaitable[T]]) -> None:
        """Do the work. An error is kept for the callers and not raised here, so that a defect in
        one piece of work does not end the service; a cancellation is raised.
        """
        try:
            self._result = await work()
        except ServiceError as error:
            self.error = error
        except Exception as error:
            _logger.exception("%s failed by a defect of this service", self._name)
            self.error = Internal(
                f"{self._name} failed by a defect of this service: {type(error).__name__}",
                subject=self._subject,
            )
        except BaseException:
            self.error = Unavailable(
                f"the service stopped during {self._name}", subject=self._subject
            )
            raise
        finally:
            self.done.set()

    def fail(self, error: ServiceError) -> None:
        """End with this error, without any work."""
        self.error = error
        self.done.set()

    async def wait(self) -> T:
        """The result, once it is there.

        Raises:
            ServiceError: the work failed.
        """
        await self.done.wait()
        if self.error is not None:
            raise self.error
        return self._result  # type: ignore[return-value]
