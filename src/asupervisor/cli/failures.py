"""Which error of a task group is told: an operator gets one line, not a tree."""

from __future__ import annotations

from asupervisor.errors import ServiceError


def sole_failure(group: BaseExceptionGroup[BaseException]) -> ServiceError | None:
    """The first of our errors in a group that holds nothing else; None where a defect is among
    them.
    """
    leaves = _leaves(group)
    ours = [error for error in leaves if isinstance(error, ServiceError)]
    return ours[0] if len(ours) == len(leaves) else None


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]
