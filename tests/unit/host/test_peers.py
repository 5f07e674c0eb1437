"""Who listens at a unix socket."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from asupervisor.host.peers import listener_holders, listener_process


def test_who_listens_is_named_by_the_kernel(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        assert listener_process(path) is None, "it does not listen yet"
        server.listen()
        assert listener_process(path) == os.getpid()
        assert listener_holders(path) == [os.getpid()]
    assert listener_process(path) is None
    assert listener_process(str(tmp_path / "none")) is None


def test_a_file_whose_inode_has_more_than_32_bits_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "s")
    stat = os.stat

    def far_on_a_disk(name: Any, **options: Any) -> os.stat_result:
        status = list(stat(name, **options))
        status[1] += 1 << 32
        return os.stat_result(status)

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        monkeypatch.setattr("asupervisor.host.peers.os.stat", far_on_a_disk)
        assert listener_holders(path) == [os.getpid()]
