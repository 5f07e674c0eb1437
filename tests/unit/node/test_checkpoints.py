"""Checkpoints on disk: durable, private, and never in the way when they are bad."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from asupervisor.errors import FailedPrecondition
from asupervisor.host import atomic
from asupervisor.node.checkpoints import CheckpointStore
from asupervisor.translate.checkpoint import Checkpoint, encode_checkpoint

A = "a" * 64
POD = Checkpoint(
    name="web", namespace="default", uid="u1", attempt=2, complete=False, runtime_handler="runc"
)


async def test_what_is_written_is_there_for_the_next_process(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    await store.load()
    await store.write(A, POD)
    path = tmp_path / "sandbox" / A
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path / "sandbox") == [A], "nothing of the writing is left"
    again = CheckpointStore(tmp_path)
    await again.load()
    assert again.get(A) == POD
    await again.remove(A)
    assert not path.exists() and again.get(A) is None
    await again.remove(A)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"version":"v1"}',
        b"\xff\xfe",
        b'{"name":"a","namespace":"b","data":{},"checksum":1}',
    ],
)
async def test_a_corrupt_one_is_told_and_can_be_removed_and_replaced(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "sandbox").mkdir()
    (tmp_path / "sandbox" / A).write_bytes(content)
    store = CheckpointStore(tmp_path)
    await store.load()
    assert store.get(A) is None and list(store.corrupt) == [A] and A in store.corrupt[A]
    await store.write(A, POD)
    assert store.get(A) == POD and store.corrupt == {}
    (tmp_path / "sandbox" / A).write_bytes(content)
    await store.load()
    await store.remove(A)
    assert store.corrupt == {} and os.listdir(tmp_path / "sandbox") == []


async def test_of_many_changes_at_once_none_is_lost_and_none_brings_a_removed_one_back(
    tmp_path: Path,
) -> None:
    store = CheckpointStore(tmp_path)
    await store.load()
    await store.write(A, POD)
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            key = str(number)
            tasks.start_soon(
                store.amend,
                A,
                lambda kept, key=key: replace(kept, extra={**kept.extra, key: True}),
            )
    again = CheckpointStore(tmp_path)
    await again.load()
    kept = again.get(A)
    assert kept is not None and set(kept.extra) == {str(number) for number in range(20)}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.amend, A, lambda kept: replace(kept, complete=True))
        tasks.start_soon(store.remove, A)
    assert store.get(A) is None and os.listdir(tmp_path / "sandbox") == []
    assert not await store.amend(A, lambda kept: kept)


def test_what_a_death_in_the_middle_of_a_write_left_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / "sandbox").mkdir()
    (tmp_path / "sandbox" / f".{A}").write_bytes(b"half a check")
    store = CheckpointStore(tmp_path)
    anyio.run(store.load)
    assert store.all == {} and store.corrupt == {} and os.listdir(tmp_path / "sandbox") == []


async def test_a_disk_that_refuses_is_an_error_that_names_the_sandbox(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    await store.load()
    (tmp_path / "sandbox" / f".{A}").mkdir()
    with pytest.raises(FailedPrecondition, match=A):
        await store.write(A, POD)
    assert store.get(A) is None


async def test_one_that_was_told_to_be_refused_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of a file can be there when the sync of its directory fails."""

    def refuse(directory: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = CheckpointStore(tmp_path)
    await store.load()
    await store.write("b" * 64, POD)
    monkeypatch.setattr(atomic, "sync_directory", refuse)
    for sandbox_id in (A, "b" * 64):
        with pytest.raises(FailedPrecondition, match="No space left"):
            await store.write(sandbox_id, POD)
    assert os.listdir(tmp_path / "sandbox") == ["b" * 64], "what was known is kept"


async def test_a_file_that_is_not_named_by_an_id_is_not_one(tmp_path: Path) -> None:
    """Such as a copy that somebody made: it would be a second sandbox of its pod."""
    (tmp_path / "sandbox").mkdir()
    names = [f"{A}.bak", A[:12], A.upper(), ".keep", os.fsdecode(b"\xff")]
    for name in names:
        (tmp_path / "sandbox" / name).write_bytes(encode_checkpoint(POD))
    store = CheckpointStore(tmp_path)
    await store.load()
    assert store.all == {} and store.corrupt == {}
    assert sorted(os.listdir(tmp_path / "sandbox")) == sorted(names), "and is left as it is"
