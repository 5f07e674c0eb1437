"""The pause image that the package brings: built in memory, so that a pod starts on a node that
reaches no registry.

A pod's sandbox is a container that does nothing: it holds the pod's namespaces open, reaps orphans
where the pod shares its process namespace, and ends when it gets a signal. The program for that is
a few system calls long, so it is here as machine code with its listing and needs no compiler, no
libc and no file. Everything in this module is a pure function: the same machine gives the same
bytes, hence the same image id on every node and in every release.

The program, alike on both machines:

1. block every signal, so that none has its default effect and each one waits to be fetched (also
   as PID 1, for which the kernel drops an unblocked signal that has no handler);
2. reap children until none is left that has ended;
3. wait for SIGCHLD (back to 2), SIGINT or SIGTERM (exit with status 0); anything else: wait again.

Reaping comes before the first wait: the signal of a child that ended before the signals
were blocked is lost."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import tarfile
from typing import Final

from asupervisor.errors import FailedPrecondition

EMBEDDED_PAUSE_REGISTRY: Final = "asupervisor.local"
EMBEDDED_PAUSE_REFERENCE: Final = f"{EMBEDDED_PAUSE_REGISTRY}/pause:1"
"""Reference of the image; the number counts up when the binary or the image changes."""

_LOAD_ADDRESS: Final = 0x400000
_PAGE: Final = 0x10000
"""The largest page size of the two machines: segments are aligned for it."""

# Offsets are those of the code's own start, as a disassembler prints them.
_X86_64_CODE: Final = bytes.fromhex(
    # The two pushes leave on the stack the 8-byte signal sets that the kernel wants; bit n-1 stands
    # for signal n.
    "6a ff"  #  0  push   -1             all signals
    "31 ff"  #  2  xor    edi, edi       how: SIG_BLOCK
    "48 89 e6"  #  4  mov    rsi, rsp       set
    "31 d2"  #  7  xor    edx, edx       the old set: not wanted
    "41 ba 08 00 00 00"  #  9  mov    r10d, 8        size of a set
    "b8 0e 00 00 00"  #  f  mov    eax, 14        rt_sigprocmask
    "0f 05"  # 14  syscall
    "68 02 40 01 00"  # 16  push   0x14002        SIGINT (2), SIGTERM (15), SIGCHLD (17)
    # reap:
    "b8 3d 00 00 00"  # 1b  mov    eax, 61        wait4
    "48 83 cf ff"  # 20  or     rdi, -1        any child
    "31 f6"  # 24  xor    esi, esi       its status: not wanted
    "ba 01 00 00 00"  # 26  mov    edx, 1         WNOHANG
    "45 31 d2"  # 2b  xor    r10d, r10d     its usage: not wanted
    "0f 05"  # 2e  syscall
    "48 85 c0"  # 30  test   rax, rax
    "7f e6"  # 33  jg     reap           one was reaped, perhaps there are more
    # wait:
    "b8 80 00 00 00"  # 35  mov    eax, 128       rt_sigtimedwait
    "48 89 e7"  # 3a  mov    rdi, rsp       set
    "31 f6"  # 3d  xor    esi, esi       the signal's details: not wanted
    "31 d2"  # 3f  xor    edx, edx       for as long as it takes
    "41 ba 08 00 00 00"  # 41  mov    r10d, 8        size of a set
    "0f 05"  # 47  syscall
    "83 f8 11"  # 49  cmp    eax, 17        SIGCHLD
    "74 cd"  # 4c  je     reap
    "83 f8 02"  # 4e  cmp    eax, 2         SIGINT
    "74 05"  # 51  je     done
    "83 f8 0f"  # 53  cmp    eax, 15        SIGTERM
    "75 dd"  # 56  jne    wait           interrupted (EINTR): wait again
    # done:
    "b8 e7 00 00 00"  # 58  mov    eax, 231       exit_group
    "31 ff"  # 5d  xor    edi, edi       status 0
    "0f 05"  # 5f  syscall
)

_ARM64_CODE: Final = struct.pack(
    "<34I",
    0x92800009,  #  0  mov  x9, #-1            all signals
    0xF81F0FE9,  #  4  str  x9, [sp, #-16]!    the signal set, on a stack that stays aligned to 16
    0xD2800000,  #  8  mov  x0, #0             how: SIG_BLOCK
    0x910003E1,  #  c  mov  x1, sp             set
    0xD2800002,  # 10  mov  x2, #0             the old set: not wanted
    0xD2800103,  # 14  mov  x3, #8             size of a set
    0xD28010E8,  # 18  mov  x8, #135           rt_sigprocmask
    0xD4000001,  # 1c  svc  #0
    0xD2880049,  # 20  mov  x9, #0x4002        SIGINT (2), SIGTERM (15)
    0xF2A00029,  # 24  movk x9, #1, lsl #16    SIGCHLD (17)
    0xF90003E9,  # 28  str  x9, [sp]
    # reap:
    0x92800000,  # 2c  mov  x0, #-1            any child
    0xD2800001,  # 30  mov  x1, #0             its status: not wanted
    0xD2800022,  # 34  mov  x2, #1             WNOHANG
    0xD2800003,  # 38  mov  x3, #0             its usage: not wanted
    0xD2802088,  # 3c  mov  x8, #260           wait4
    0xD4000001,  # 40  svc  #0
    0xF100001F,  # 44  cmp  x0, #0
    0x54FFFF2C,  # 48  b.gt reap               one was reaped, perhaps there are more
    # wait:
    0x910003E0,  # 4c  mov  x0, sp             set
    0xD2800001,  # 50  mov  x1, #0             the signal's details: not wanted
    0xD2800002,  # 54  mov  x2, #0             for as long as it takes
    0xD2800103,  # 58  mov  x3, #8             size of a set
    0xD2801128,  # 5c  mov  x8, #137           rt_sigtimedwait
    0xD4000001,  # 60  svc  #0
    0xF100441F,  # 64  cmp  x0, #17            SIGCHLD
    0x54FFFE20,  # 68  b.eq reap
    0xF100081F,  # 6c  cmp  x0, #2             SIGINT
    0x54000060,  # 70  b.eq done
    0xF1003C1F,  # 74  cmp  x0, #15            SIGTERM
    0x54FFFEA1,  # 78  b.ne wait               interrupted (EINTR): wait again
    # done:
    0xD2800000,  # 7c  mov  x0, #0             status 0
    0xD2800BC8,  # 80  mov  x8, #94            exit_group
    0xD4000001,  # 84  svc  #0
)

_X86_64 = ("amd64", 62, _X86_64_CODE)
_ARM64 = ("arm64", 183, _ARM64_CODE)
_MACHINES: Final = {"x86_64": _X86_64, "amd64": _X86_64, "aarch64": _ARM64, "arm64": _ARM64}
"""Each spelling → the image's architecture, ELF's e_machine, the code. The kernel and the engine's
``/info`` say ``x86_64`` and ``aarch64``; Go, images and the engine's ``/version`` say ``amd64`` and
``arm64``.
"""


def pause_binary(machine: str) -> bytes:
    """The static ELF executable.

    Args:
        machine: ``x86_64``/``amd64`` or ``aarch64``/``arm64``: what ``os.uname().machine`` or the
            engine gives.

    Raises:
        FailedPrecondition: no pause binary for that machine.
    """
    _, e_machine, code = _machine(machine)
    program_headers = 2
    offset = 64 + program_headers * 56
    size = offset + len(code)
    ident = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)  # 64-bit, little-endian, version 1, System V
    entry = _LOAD_ADDRESS + offset
    header = ident + struct.pack(
        "<HHIQQQIHHHHHH", 2, e_machine, 1, entry, 64, 0, 0, 64, 56, program_headers, 64, 0, 0
    )
    # PT_LOAD, readable and executable.
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, _LOAD_ADDRESS, _LOAD_ADDRESS, size, size, _PAGE)
    # PT_GNU_STACK: data on the stack is never run.
    stack = struct.pack("<IIQQQQQQ", 0x6474E551, 6, 0, 0, 0, 0, 0, 16)
    return header + load + stack + code


def pause_archive(machine: str) -> bytes:
    """The image as ``docker load`` takes it (``POST /images/load``): one layer with ``/pause``,
    tagged :data:`EMBEDDED_PAUSE_REFERENCE`.

    It runs as 65535:65535 like the usual pause image: nothing that it does needs a right. The
    image's id is ``sha256:`` and the digest of ``config.json``, or with the containerd image store
    that of a manifest.

    Args:
        machine: as in :func:`pause_binary`, the engine's machine rather than ours where the two
            differ.

    Raises:
        FailedPrecondition: no pause binary for that machine.
    """
    architecture, _, _ = _machine(machine)
    layer = _tar({"pause": (pause_binary(machine), 0o755)})
    created = "1970-01-01T00:00:00Z"
    config = {
        "architecture": architecture,
        "os": "linux",
        "created": created,
        "config": {
            "Entrypoint": ["/pause"],
            "Env": ["PATH=/"],
            "User": "65535:65535",
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
        "history": [{"created": created, "created_by": "asupervisor"}],
    }
    manifest = [
        {"Config": "config.json", "RepoTags": [EMBEDDED_PAUSE_REFERENCE], "Layers": ["layer.tar"]}
    ]
    return _tar(
        {
            "layer.tar": (layer, 0o644),
            "config.json": (_json(config), 0o644),
            "manifest.json": (_json(manifest), 0o644),
        }
    )


def _machine(machine: str) -> tuple[str, int, bytes]:
    try:
        return _MACHINES[machine]
    except KeyError:
        raise FailedPrecondition(
            f"no embedded pause image for machine {machine!r}, only for x86_64 and aarch64: name"
            " one with --pod-infra-container-image",
            subject=machine,
        ) from None


def _json(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _tar(members: dict[str, tuple[bytes, int]]) -> bytes:
    """A tar of regular files, name → content and mode; owner root and times zero, so that the bytes
    depend on nothing else.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, (content, mode) in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime, info.uid, info.gid = len(content), mode, 0, 0, 0
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()
