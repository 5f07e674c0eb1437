"""Why a pull failed, as one of our errors.

The engine reports a failure in the middle of a pull as an entry of its progress stream, with a code
only where the registry's HTTP status was one that it knows; elsewhere the registry's own error code
(OCI distribution specification: ``DENIED``, ``UNAUTHORIZED``, ``MANIFEST_UNKNOWN``, …) stands in
the words, and that code is what is looked for, not a phrase."""

from __future__ import annotations

import re
from typing import Any

from asupervisor.errors import (
    NotFound,
    PermissionDenied,
    ServiceError,
    Unauthenticated,
    Unavailable,
)

_BY_STATUS: dict[int, type[ServiceError]] = {
    401: Unauthenticated,
    403: PermissionDenied,
    404: NotFound,
}
_BY_REGISTRY_CODE: tuple[tuple[re.Pattern[str], type[ServiceError]], ...] = (
    (re.compile(r"\b(unauthorized|no basic auth credentials)\b", re.IGNORECASE), Unauthenticated),
    (re.compile(r"\bdenied\b", re.IGNORECASE), PermissionDenied),
    (
        re.compile(
            r"\b(manifest unknown|name unknown|not found|manifest_unknown|name_unknown)\b",
            re.IGNORECASE,
        ),
        NotFound,
    ),
)


def pull_error(reference: str, step: dict[str, Any]) -> ServiceError:
    """The error of a progress entry that carries one."""
    detail = step.get("errorDetail") or {}
    words = str(detail.get("message") or step.get("error"))
    kind = _BY_STATUS.get(int(detail.get("code") or 0)) or _by_registry_code(words) or Unavailable
    return kind(f"pulling {reference}: {words}", operation="pull image", subject=reference)


def refused_pull(reference: str, error: ServiceError) -> ServiceError:
    """The error of a pull that the engine refused before its progress stream began.

    Args:
        reference: the image's full name.
        error: as the engine's HTTP status has it; 404 and 500 stand for several causes, which the
            registry's code tells apart.
    """
    kind = _by_registry_code(error.message) or (
        NotFound if isinstance(error, NotFound) else Unavailable
    )
    words = error.message.partition(": ")[2] or error.message
    return kind(f"pulling {reference}: {words}", operation="pull image", subject=reference)


def _by_registry_code(words: str) -> type[ServiceError] | None:
    return next((kind for pattern, kind in _BY_REGISTRY_CODE if pattern.search(words)), None)
