"""Turns a gRPC status into one of our errors, and logs it, not too often."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable

import grpc

from asupervisor import errors
from asupervisor.remote.endpoint import Endpoint, advice

logger = logging.getLogger("asupervisor.remote")
_SILENT_S = 60.0

_BY_CODE: dict[grpc.StatusCode, type[errors.ServiceError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidArgument,
    grpc.StatusCode.OUT_OF_RANGE: errors.InvalidArgument,
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.ALREADY_EXISTS: errors.AlreadyExists,
    grpc.StatusCode.FAILED_PRECONDITION: errors.FailedPrecondition,
    grpc.StatusCode.PERMISSION_DENIED: errors.PermissionDenied,
    grpc.StatusCode.UNAUTHENTICATED: errors.Unauthenticated,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.ResourceExhausted,
    # The server gave the call up; a retry may succeed.
    grpc.StatusCode.ABORTED: errors.Unavailable,
    grpc.StatusCode.CANCELLED: errors.Unavailable,
    grpc.StatusCode.UNAVAILABLE: errors.Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    grpc.StatusCode.UNIMPLEMENTED: errors.Unimplemented,
    # containerd and CRI-O answer UNKNOWN for every error without a status.
    grpc.StatusCode.UNKNOWN: errors.Internal,
    grpc.StatusCode.DATA_LOSS: errors.Internal,
    grpc.StatusCode.INTERNAL: errors.Internal,
}


def failure(
    status: grpc.aio.AioRpcError,
    *,
    method: str,
    endpoint: Endpoint,
    connected: bool,
    deadline_s: float | None,
) -> errors.ServiceError:
    """The error for a call's status; its class is decided by the code alone.

    Args:
        status: what gRPC raised.
        method: ``Service/Method``.
        endpoint: of the server.
        connected: whether the channel has a connection now; if not, the message says what to do.
        deadline_s: the call's deadline in seconds.
    """
    code = status.code()
    details = status.details() or code.name
    if code is grpc.StatusCode.UNAVAILABLE and not connected:
        message = (
            f"{method}: no CRI server answers at {endpoint.url} ({details}): {advice(endpoint)}"
        )
    elif code is grpc.StatusCode.DEADLINE_EXCEEDED and deadline_s is not None:
        message = f"{method} at {endpoint.url}: {details} (deadline {deadline_s:g} s)"
    else:
        message = f"{method} at {endpoint.url}: {details}"
    return _BY_CODE.get(code, errors.Internal)(message, operation=method, subject=endpoint.url)


class FailureLog:
    """Logs failed calls, the same one at most once a minute: otherwise a caller that polls a dead
    server would fill the log.

    Args:
        clock: seconds, monotonic.
    """

    _SIZE = 256
    """Different failures that are remembered; the oldest is forgotten, and logged when it comes
    again.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: OrderedDict[tuple[str, str, str], tuple[float, int]] = OrderedDict()

    def record(self, error: errors.ServiceError) -> None:
        """Log the error, or count it if the same one was logged less than a minute ago."""
        key = (error.operation, error.subject, error.message)
        now = self._clock()
        logged_at, repeated = self._seen.get(key, (float("-inf"), 0))
        if now - logged_at < _SILENT_S:
            self._seen[key] = (logged_at, repeated + 1)
            return
        self._seen[key] = (now, 0)
        self._seen.move_to_end(key)
        if len(self._seen) > self._SIZE:
            self._seen.popitem(last=False)
        # Callers such as list_containers(stream=True) try methods that a server may not have.
        level = logging.DEBUG if isinstance(error, errors.Unimplemented) else logging.WARNING
        again = f" ({repeated} more since it was last logged)" if repeated else ""
        logger.log(
            level,
            "%s%s",
            error.message,
            again,
            extra={
                "cri_method": error.operation,
                "endpoint": error.subject,
                "code": error.code,
                "repeated": repeated,
            },
        )
