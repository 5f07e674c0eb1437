"""The one error tree of the service, by meaning.

Whatever comes from outside (the engine, a CNI plugin, the kernel, a file) is converted to one of
these once, where it comes in (``raise … from``), and mapped to a gRPC status once, at the RPC
boundary. The text of an error is for people: no code decides by it."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "AlreadyExists",
    "ConfigError",
    "DeadlineExceeded",
    "FailedPrecondition",
    "Internal",
    "InvalidArgument",
    "NotFound",
    "PermissionDenied",
    "ResourceExhausted",
    "RollbackFailed",
    "ServiceError",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
]

MOST_WORDS = 8192
"""Characters of text from outside that an error takes over: a registry may send megabytes."""


class ServiceError(Exception):
    """Base of everything that this service raises on purpose.

    Args:
        message: one sentence that names the object and the cause.
        operation: the engine's operation or the RPC that failed; empty for other failures.
        subject: the id or name of the object it was done to.
    """

    code = "INTERNAL"

    def __init__(self, message: str, *, operation: str = "", subject: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.operation = operation
        self.subject = subject

    def __str__(self) -> str:
        return self.message


class InvalidArgument(ServiceError):
    """The request itself is wrong, whatever the state of the node."""

    code = "INVALID_ARGUMENT"


class NotFound(ServiceError):
    """The named object does not exist."""

    code = "NOT_FOUND"


class AlreadyExists(ServiceError):
    """An object of that name or key exists and is not the one asked for."""

    code = "ALREADY_EXISTS"


class FailedPrecondition(ServiceError):
    """The request is sound, but the node or the object is not in a state for it."""

    code = "FAILED_PRECONDITION"


class PermissionDenied(ServiceError):
    """Something else refused us access: the engine's socket, a registry, a file."""

    code = "PERMISSION_DENIED"


class Unauthenticated(ServiceError):
    """A registry wants credentials that the request did not give, or refused the ones it gave."""

    code = "UNAUTHENTICATED"


class ResourceExhausted(ServiceError):
    """A limit of ours or of the node is reached."""

    code = "RESOURCE_EXHAUSTED"


class Unavailable(ServiceError):
    """The engine, or something else that the call needs, is not there now; a retry may succeed."""

    code = "UNAVAILABLE"


class DeadlineExceeded(ServiceError):
    """An outbound call did not answer within its deadline."""

    code = "DEADLINE_EXCEEDED"


class Unimplemented(ServiceError):
    """This service does not do that, and says so rather than ignore it."""

    code = "UNIMPLEMENTED"


class Internal(ServiceError):
    """A defect here or an answer from outside that makes no sense."""

    code = "INTERNAL"


def together(failures: Sequence[ServiceError]) -> ServiceError:
    """Several failures as one, of the meaning of the first, with the words of all.

    Args:
        failures: one at least.
    """
    first, *others = failures
    if not others:
        return first
    kind = next(kind for kind in type(first).__mro__ if kind.__init__ is ServiceError.__init__)  # type: ignore[misc]
    error: ServiceError = kind(
        "; ".join(dict.fromkeys(failure.message for failure in failures)),
        operation=first.operation,
        subject=first.subject,
    )
    error.code = first.code
    error.__cause__ = first
    return error


def lone(error: BaseException) -> BaseException:
    """An error without the groups that task groups put around it; a group of several errors stays
    one.
    """
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


class RollbackFailed(ServiceError):
    """A step failed and undoing the earlier steps failed too; the object stays visible as not
    ready. It has the code of what failed first: that says whether a retry may succeed.

    Args:
        error: what failed first.
        leftovers: one sentence for each undo step that failed.
    """

    def __init__(self, error: Exception, *, leftovers: tuple[str, ...], subject: str = "") -> None:
        words = f"{error}; undoing it failed too: {'; '.join(leftovers)}"
        super().__init__(words, subject=subject)
        self.code = error.code if isinstance(error, ServiceError) else self.code
        self.leftovers = leftovers


class ConfigError(ServiceError):
    """A setting is missing, malformed or in conflict; the message names it. Exit code 2."""

    code = "INVALID_ARGUMENT"
