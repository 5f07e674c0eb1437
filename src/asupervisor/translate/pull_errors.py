"""Why a pull failed, as one of our errors.

The engine reports a failure in the middle of a pull as an entry of its progress stream, with a code
only where the registry's HTTP status was one that it knows; elsewhere the registry's own error code
(OCI distribution specification: ``DENIED``, ``UNAUTHORIZED``, ``MANIFEST_UNKNOWN``, …) is in the
message, and that code is looked for, not a phrase."""

from __future__ import annotations

import re

from asupervisor.errors import (
    MOST_WORDS,
    NotFound,
    PermissionDenied,
    ServiceError,
    Unauthenticated,
    Unavailable,
)
from asupervisor.translate.documents import mapping

_LAYER = re.compile("[0-9a-f]{12}")
_COUNT = re.compile("[0-9]{1,15}")
_LONGEST_STATUS = 60
_BY_STATUS: dict[int, type[ServiceError]] = {
    401: Unauthenticated,
    403: PermissionDenied,
    404: NotFound,
}
_BY_REGISTRY_CODE: tuple[tuple[re.Pattern[str], type[ServiceError]], ...] = (
    (re.compile(r"\b(unauthorized|no basic auth credentials)\b", re.IGNORECASE), Unauthenticated),
    (re.compile(r"\b(denied|403 forbidden)\b", re.IGNORECASE), PermissionDenied),
    (
        re.compile(
            r"\b(manifest unknown|name unknown|not found|manifest_unknown|name_unknown)\b",
            re.IGNORECASE,
        ),
        NotFound,
    ),
)


def pull_error(reference: str, step: object) -> ServiceError | None:
    """The error that a progress entry carries; None for an entry that carries none.

    Args:
        reference: the image's full name.
        step: as the engine sent it. Since API 1.52 ``errorDetail`` may come without ``error``.
    """
    if not isinstance(step, dict) or not (step.get("error") or step.get("errorDetail")):
        return None
    detail = mapping(step, "errorDetail")
    said = detail.get("message") or step.get("error")
    words = said[:MOST_WORDS] if isinstance(said, str) else "the engine gave no reason"
    code = detail.get("code")
    kind = (
        (_BY_STATUS.get(code) if isinstance(code, int) else None)
        or _by_registry_code(words)
        or Unavailable
    )
    return kind(f"pulling {reference}: {words}", subject=reference)


class PullProgress:
    """How far a pull is, and whether it makes progress: the engine repeats its entries also while
    nothing is downloaded.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, str, str]] = {}

    def moved(self, step: object) -> bool:
        """Whether an entry shows progress of its layer: another status, or another count."""
        if not isinstance(step, dict):
            return False
        detail = mapping(step, "progressDetail")
        counts = _text(detail.get("current")), _text(detail.get("total"))
        said = (_text(step.get("status")), *counts)
        layer = _text(step.get("id"))
        before = self._seen.get(layer)
        self._seen[layer] = said
        return before is None or said[:2] != before[:2]

    def layers(self) -> list[list[str | int]]:
        """For each layer its short digest, its state as the engine names it, and the bytes that are
        done and that there are in that state; 0 where the engine does not say.
        """
        return [
            [
                layer,
                status[:_LONGEST_STATUS],
                *(int(count) if _COUNT.fullmatch(count) else 0 for count in counts),
            ]
            for layer, (status, *counts) in self._seen.items()
            if _LAYER.fullmatch(layer)
        ]


def _text(value: object) -> str:
    """Text of a text or a number, else empty: what is deeply nested cannot be printed."""
    return str(value) if isinstance(value, str | int | float) else ""


def refused_pull(reference: str, error: ServiceError) -> ServiceError:
    """The error of a pull that the engine refused before its progress stream began.

    Args:
        reference: the image's full name.
        error: as the engine's HTTP status has it; some of them (404, 500) stand for several causes,
            which the registry's code tells apart where the message has one.
    """
    kind = _by_registry_code(error.message) or next(
        (kind for kind in _BY_STATUS.values() if isinstance(error, kind)), Unavailable
    )
    words = error.message.partition(": ")[2] or error.message
    return kind(f"pulling {reference}: {words}", subject=reference)


def _by_registry_code(words: str) -> type[ServiceError] | None:
    return next((kind for pattern, kind in _BY_REGISTRY_CODE if pattern.search(words)), None)
