"""Which error of a task group is shown: an operator gets one line, not a tree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from asupervisor.errors import ServiceError


@contextmanager
def sole_failure() -> Iterator[None]:
    """Raise the first of our errors instead of a group that holds nothing else; a group with a
    defect stays as it is.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        leaves = _leaves(group)
        if not all(isinstance(error, ServiceError) for error in leaves):
            raise
        raise leaves[0] from group


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]
