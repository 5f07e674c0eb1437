"""What keeps a thread out of a network namespace; that one gets in, the integration tests show."""

from __future__ import annotations

from pathlib import Path

import pytest

from asupervisor.errors import FailedPrecondition, NotFound
from asupervisor.host.netns import in_namespace


def _never() -> None:
    raise AssertionError("it was called outside")


def test_a_namespace_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="none is gone"):
        in_namespace(str(tmp_path / "none"), _never)


def test_what_is_not_a_namespace(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FailedPrecondition, match=r"cannot enter .*file: Invalid argument"):
        in_namespace(str(tmp_path / "file"), _never)
