"""Cgroup directories from the texts of /proc, as three kinds of machine print them."""

from __future__ import annotations

import os

import pytest

from asupervisor.host.cgroups import Hierarchies, unescape

ID = "4bd0d9e1c2f94e7b8a5d2f3c6e8b1a7094bd0d9e1c2f94e7b8a5d2f3c6e8b1a7"

UNIFIED = (
    "26 23 0:24 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2"
    " rw,nsdelegate,memory_recursiveprot\n"
)

HYBRID = """\
25 30 0:23 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,mode=755
26 25 0:24 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw
27 25 0:25 / /sys/fs/cgroup/systemd rw,nosuid shared:11 - cgroup cgroup rw,xattr,name=systemd
30 25 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:15 - cgroup cgroup rw,cpu,cpuacct
31 25 0:29 / /sys/fs/cgroup/memory rw,nosuid shared:16 - cgroup cgroup rw,memory
32 25 0:30 / /mnt/a\\040second\\040one rw shared:17 - cgroup cgroup rw,memory
33 25 0:31 / /sys/fs/cgroup/pids rw,nosuid shared:18 - cgroup cgroup rw,pids
"""


def test_unified() -> None:
    own, above = Hierarchies.parse(UNIFIED).locate(
        f"0::/kubepods.slice/kubepods-podx.slice/docker-{ID}.scope\n", ID
    )
    assert (
        own.v1 == {}
        and own.v2 == f"/sys/fs/cgroup/kubepods.slice/kubepods-podx.slice/docker-{ID}.scope"
    )
    assert above.v2 == "/sys/fs/cgroup/kubepods.slice/kubepods-podx.slice"
    assert own.path == f"/kubepods.slice/kubepods-podx.slice/docker-{ID}.scope"


def test_hybrid_takes_controllers_from_v1_and_pressure_from_v2() -> None:
    controllers = ("5:name=systemd:", "4:pids:", "3:memory:", "2:cpu,cpuacct:", "0::")
    text = "".join(f"{prefix}/kubepods/podx/{ID}\n" for prefix in controllers)
    own, above = Hierarchies.parse(HYBRID).locate(text, ID)
    assert own.v1["memory"] == f"/sys/fs/cgroup/memory/kubepods/podx/{ID}"
    assert own.v1["cpuacct"] == own.v1["cpu"] == f"/sys/fs/cgroup/cpu,cpuacct/kubepods/podx/{ID}"
    assert own.v2 == f"/sys/fs/cgroup/unified/kubepods/podx/{ID}"
    assert above.v1["pids"] == "/sys/fs/cgroup/pids/kubepods/podx"
    assert above.path == "/kubepods/podx"


def test_the_root_cgroup_is_nobodys_own() -> None:
    own, above = Hierarchies.parse(HYBRID).locate(f"3:memory:/docker/{ID}\n0::/\n", ID)
    assert own.v2 == "", (
        "a runtime that does not join the unified hierarchy leaves the machine's own pressure there"
    )
    assert above.v1 == {"memory": "/sys/fs/cgroup/memory/docker"}
    own, above = Hierarchies.parse(HYBRID).locate(f"3:memory:/{ID}\n", ID)
    assert own and not above, "the cgroup above a container without a parent is the machine"


def test_an_init_system_that_moved_below_its_containers_cgroup() -> None:
    own, above = Hierarchies.parse(UNIFIED).locate(f"0::/docker/{ID}/init.scope\n", ID)
    assert own.v2 == f"/sys/fs/cgroup/docker/{ID}"
    assert above.v2 == "/sys/fs/cgroup/docker"


def test_a_part_of_the_hierarchy_that_is_mounted() -> None:
    mounted = Hierarchies.parse("1 2 0:24 /outer /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    assert mounted.locate(f"0::/outer/docker/{ID}\n", ID)[0].v2 == f"/sys/fs/cgroup/docker/{ID}"
    assert not mounted.locate(f"0::/elsewhere/{ID}\n", ID)[0]
    assert not Hierarchies.parse(UNIFIED).locate(f"0::/../sibling/{ID}\n", ID)[0], (
        "outside of our own cgroup namespace"
    )


def test_mount_points_with_spaces_and_the_first_of_two_mounts() -> None:
    found = Hierarchies.parse(HYBRID)
    assert found.v1["memory"] == ("/sys/fs/cgroup/memory", "/")
    second = "".join(line + "\n" for line in HYBRID.splitlines() if "/memory " not in line)
    assert Hierarchies.parse(second).v1["memory"] == ("/mnt/a second one", "/")


def test_a_containers_directory_before_it_is_made() -> None:
    v1 = Hierarchies({"memory": ("/cg/memory", "/"), "pids": ("/cg/pids", "/")}, ("/cg/u", "/"))
    assert v1.container_directory("/kubepods/x", ("pids", "memory")) == "/cg/pids/kubepods/x"
    v2 = Hierarchies({}, ("/cg", "/node"))
    assert v2.container_directory("/node/pod/x", ("pids",)) == "/cg/pod/x"
    assert v2.container_directory("/pod/x", ("pids",)) == "", "not beneath what is mounted here"
    assert v2.container_directory("", ("pids",)) == ""
    assert Hierarchies().container_directory("/pod/x", ("pids",)) == ""


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (rb"/a\040b\134c", b"/a b\\c"),
        (b"/home/\xff\\040x", b"/home/\xff x"),
        (rb"/a\099\4", rb"/a\099\4"),
    ],
)
def test_a_mount_points_name_may_be_any_bytes(written: bytes, read: bytes) -> None:
    assert os.fsencode(unescape(os.fsdecode(written))) == read


def test_a_name_begins_no_line_of_its_own() -> None:
    text = f"0::/docker/{ID}/a\r0::/system.slice/x.service\u20280::/y\n"
    own, _ = Hierarchies.parse(UNIFIED).locate(text, ID)
    assert own.v2 == f"/sys/fs/cgroup/docker/{ID}"
    forged = UNIFIED.replace("cgroup2 cgroup2", "ext4 a\x1c26 23 0:24 / /x rw - cgroup2 cgroup2")
    assert Hierarchies.parse(forged) == Hierarchies()
