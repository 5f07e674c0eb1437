"""Descriptors that are counted: many processes may share one table of very many."""

from __future__ import annotations

import os

import pytest

from asupervisor.stats import container_process
from asupervisor.stats.container_process import open_files


def test_processes_that_share_a_table_do_not_keep_a_reading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_at: list[str] = []
    readlink = os.readlink

    def counted(path: str, *, dir_fd: int) -> str:
        looked_at.append(path)
        return readlink(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "readlink", counted)
    monkeypatch.setattr(container_process, "_MOST_OPEN", 100)
    ends = [end for _ in range(20) for end in os.pipe()]
    try:
        assert open_files([os.getpid()])[0] >= len(ends)
        looked_at.clear()
        assert open_files([os.getpid()] * 1000)[0] == 100 == len(looked_at)
    finally:
        for end in ends:
            os.close(end)
