"""The embedded pause image: its bytes and nothing else; that it runs is seen in
tests/integration/engine.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import tarfile

import pytest

from asupervisor.dockershim.image.embedded_pause import (
    EMBEDDED_PAUSE_REFERENCE,
    pause_archive,
    pause_binary,
)
from asupervisor.errors import FailedPrecondition

MACHINES = ("x86_64", "aarch64")
SYSCALL = {"x86_64": b"\x0f\x05", "aarch64": bytes.fromhex("010000d4")}


@pytest.mark.parametrize(
    ("machine", "e_machine"), [("x86_64", 62), ("amd64", 62), ("aarch64", 183), ("arm64", 183)]
)
def test_elf_header(machine: str, e_machine: int) -> None:
    binary = pause_binary(machine)
    assert binary[:7] == b"\x7fELF\x02\x01\x01"
    kind, machine_number, version, entry, program_headers_at = struct.unpack_from(
        "<HHIQQ", binary, 16
    )
    assert (kind, machine_number, version, program_headers_at) == (2, e_machine, 1, 64)
    kind, flags, offset, address, _, file_size, memory_size, align = struct.unpack_from(
        "<IIQQQQQQ", binary, 64
    )
    assert (kind, flags, offset) == (1, 5, 0), (
        "one segment: readable and executable, never writable"
    )
    assert file_size == memory_size == len(binary)
    assert address % align == offset % align, "what the kernel demands of a segment"
    assert align >= 0x10000, "arm64 kernels may have pages of 64 KiB"
    assert address < entry < address + len(binary)
    kind, flags = struct.unpack_from("<II", binary, 64 + 56)
    assert (kind, flags) == (0x6474E551, 6), "the stack is not executable"


@pytest.mark.parametrize("machine", MACHINES)
def test_code_makes_the_four_system_calls(machine: str) -> None:
    binary = pause_binary(machine)
    (entry,) = struct.unpack_from("<Q", binary, 24)
    code = binary[entry - 0x400000 :]
    assert code.count(SYSCALL[machine]) == 4
    assert code.endswith(SYSCALL[machine]), "exit_group comes last and never returns"
    assert len(binary) < 512


def test_spellings_of_a_machine_give_the_same_image() -> None:
    assert pause_archive("x86_64") == pause_archive("amd64")
    assert pause_archive("aarch64") == pause_archive("arm64")
    assert pause_archive("aarch64") != pause_archive("x86_64")


@pytest.mark.parametrize(("machine", "architecture"), [("x86_64", "amd64"), ("aarch64", "arm64")])
def test_archive(machine: str, architecture: str) -> None:
    with tarfile.open(fileobj=io.BytesIO(pause_archive(machine))) as archive:
        contents = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
        assert {member.mtime for member in archive} == {0}
    [manifest] = json.loads(contents["manifest.json"])
    assert manifest["RepoTags"] == [EMBEDDED_PAUSE_REFERENCE]
    config = json.loads(contents[manifest["Config"]])
    assert (config["architecture"], config["os"]) == (architecture, "linux")
    assert config["config"]["Entrypoint"] == ["/pause"]
    [layer_name] = manifest["Layers"]
    assert config["rootfs"]["diff_ids"] == [
        "sha256:" + hashlib.sha256(contents[layer_name]).hexdigest()
    ]
    with tarfile.open(fileobj=io.BytesIO(contents[layer_name])) as layer:
        [member] = layer.getmembers()
        assert (member.name, member.mode, member.uid, member.gid, member.mtime) == (
            "pause",
            0o755,
            0,
            0,
            0,
        )
        binary = layer.extractfile(member)
        assert binary is not None and binary.read() == pause_binary(machine)


def test_image_stays_the_same_until_the_reference_counts_up() -> None:
    """A pod that runs on the image of an older release must not see it change under the same
    name.
    """
    digests = {machine: hashlib.sha256(pause_archive(machine)).hexdigest() for machine in MACHINES}
    assert (EMBEDDED_PAUSE_REFERENCE, digests) == (
        "asupervisor.local/pause:1",
        {
            "x86_64": "85b8b25d8fb3386dbcee533d8e4b2ca39f6f70219d54cac3eb044e986d2c8bbb",
            "aarch64": "3962d98e081ccc652e48bc9c36dd96a9cb34240946f51f176f8490ef930a3c71",
        },
    )


@pytest.mark.parametrize("machine", ["riscv64", "i686", ""])
def test_other_machine_is_named(machine: str) -> None:
    for build in (pause_binary, pause_archive):
        with pytest.raises(FailedPrecondition, match=repr(machine)) as caught:
            build(machine)
        assert caught.value.subject == machine
