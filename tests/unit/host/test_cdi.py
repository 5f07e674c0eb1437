"""Specifications of devices, whatever drivers write."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest

from asupervisor.host.cdi import CdiFiles


def test_json_and_yaml_are_read_from_each_directory_in_order(tmp_path: Path) -> None:
    first, second = tmp_path / "etc", tmp_path / "run"
    for directory in (first, second):
        directory.mkdir()
    (first / "b.json").write_text(json.dumps({"kind": "v.com/c"}))
    (first / "a.yaml").write_text("kind: v.com/a\ndevices: []\n")
    (first / "note.txt").write_text("not a specification")
    (second / "link.json").symlink_to(first / "b.json")
    files = CdiFiles()
    assert files.read([str(first), str(second), str(tmp_path / "none")]) == [
        [{"kind": "v.com/a", "devices": []}, {"kind": "v.com/c"}],
        [{"kind": "v.com/c"}],
        [],
    ]


def test_a_file_is_read_again_when_it_changed_and_forgotten_when_it_went(tmp_path: Path) -> None:
    files, path = CdiFiles(), tmp_path / "a.json"
    path.write_text('{"kind": "v.com/a"}')
    assert files.read([str(tmp_path)]) == [[{"kind": "v.com/a"}]]
    replaced = tmp_path / "new"
    replaced.write_text('{"kind": "v.com/b"}')
    replaced.rename(path)
    assert files.read([str(tmp_path)]) == [[{"kind": "v.com/b"}]]
    path.unlink()
    assert files.read([str(tmp_path)]) == [[]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b"{"),
        ("a.json", b"[" * 100_000),
        ("a.yaml", b"a: [b"),
        ("a.yaml", b"[" * 100_000),
        ("a.yaml", b"!!python/object/apply:os.system ['true']"),
        ("a.json", b"\xff\xfe"),
        ("a.json", b" " * (5 << 20)),
    ],
)
def test_what_is_no_specification_is_told_once_and_harms_no_other(
    tmp_path: Path, name: str, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "good.json").write_text('{"kind": "v.com/a"}')
    files = CdiFiles()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert files.read([str(tmp_path)]) == [[None, {"kind": "v.com/a"}]]
    assert len(caplog.records) == 1 and str(tmp_path / name) in caplog.text


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    assert CdiFiles().read([str(tmp_path)]) == [[None]]


def test_a_link_that_leads_nowhere_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.json").symlink_to(tmp_path / "none")
    (tmp_path / "b.json").write_text('{"kind": "v.com/a"}')
    files = CdiFiles()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert files.read([str(tmp_path)]) == [[None, {"kind": "v.com/a"}]]
    assert len(caplog.records) == 1
