"""inotify as the kernel has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from asupervisor.host import inotify
from asupervisor.host.inotify import Inotify


@pytest.fixture
def watched() -> Iterator[Inotify]:
    instance = Inotify()
    yield instance
    instance.close()


def test_changes_are_told_by_the_number_of_their_watch(watched: Inotify, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    one, two = watched.add(str(first), inotify.CREATE), watched.add(str(second), inotify.DELETE)
    (first / "a").touch()
    (second / "b").touch()
    (second / "b").unlink()
    assert [*watched.read()] == [(one, inotify.CREATE), (two, inotify.DELETE)]
    assert [*watched.read()] == []


def test_one_shot_and_removed_watches_end(watched: Inotify, tmp_path: Path) -> None:
    once = watched.add(str(tmp_path), inotify.CREATE | inotify.ONESHOT)
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    assert [*watched.read()] == [(once, inotify.CREATE), (once, inotify.IGNORED)]
    again = watched.add(str(tmp_path), inotify.CREATE)
    assert again is not None
    watched.remove(again)
    assert [*watched.read()] == [(again, inotify.IGNORED)]


def test_what_is_missing_or_not_a_directory_is_refused(watched: Inotify, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    mask = inotify.CREATE | inotify.ONLYDIR
    assert watched.add(str(tmp_path / "none"), mask) is None
    assert watched.add(str(tmp_path / "file"), mask) is None
