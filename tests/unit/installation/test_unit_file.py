"""The unit file's sandbox and the page that explains it say the same."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
UNIT = ROOT / "src" / "asupervisor" / "installation" / "systemd" / "asupervisor.service"
DROP_IN = ROOT / "src" / "asupervisor" / "installation" / "systemd" / "managed-engine.conf"
PAGE = ROOT / "docs" / "security.md"
NOT_OF_THE_SANDBOX = {
    *("Type", "NotifyAccess", "ExecStart", "EnvironmentFile", "Restart", "RestartSec"),
    *("WatchdogSec", "TimeoutStopSec", "TimeoutStartSec", "KillMode", "Delegate"),
    *("LimitNOFILE", "TasksMax", "OOMScoreAdjust", "Environment"),
}
NEEDED = {
    *("ADMIN", "PTRACE", "CHROOT", "RESOURCE", "MODULE", "NICE"),
}
# Each gives a service a mount namespace of its own (systemd.exec).
MOUNT_NAMESPACE = {
    *("PrivateTmp", "PrivateDevices", "PrivateMounts", "MountFlags", "DynamicUser"),
    *("ProtectSystem", "ProtectHome", "ProtectKernelLogs", "ProtectKernelModules"),
    *("ProtectKernelTunables", "ProtectControlGroups", "ProtectProc", "ProcSubset"),
    *("ReadOnlyPaths", "InaccessiblePaths", "ReadWritePaths", "ExecPaths", "NoExecPaths"),
    *("BindPaths", "BindReadOnlyPaths", "TemporaryFileSystem", "MountAPIVFS", "PrivateIPC"),
    *("RootDirectory", "RootImage", "MountImages", "ExtensionImages", "ExtensionDirectories"),
}


def directives(path: Path) -> dict[str, list[str]]:
    """Of the section ``[Service]``: each name with its values."""
    section = path.read_text().partition("[Service]\n")[2].partition("\n[")[0]
    found: dict[str, list[str]] = {}
    for line in section.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def tables() -> list[list[str]]:
    """First columns of the section's two tables."""
    section = PAGE.read_text().partition("## The unit file\n")[2].partition("\n## ")[0]
    found: list[list[str]] = []
    for block in section.split("\n\n"):
        if block.startswith("|"):
            found.append([line.split("|")[1].strip() for line in block.splitlines()[2:]])
    return found


def test_the_page_has_every_directive_of_the_sandbox_and_no_other() -> None:
    unit = directives(UNIT)
    sandbox = {name: values for name, values in unit.items() if name not in NOT_OF_THE_SANDBOX}
    shown = {re.findall(r"`(.*)`", cell)[0] for cell in tables()[0]}
    written = {
        f"{name}={values[0]}" for name, values in sandbox.items() if name != "CapabilityBoundingSet"
    }
    assert shown == written | {"CapabilityBoundingSet=~…"}
    assert all(len(values) == 1 for name, values in sandbox.items() if "Bounding" not in name)


def test_what_the_page_says_is_not_there_is_not() -> None:
    unit = directives(UNIT)
    dropped = {name for line in unit["CapabilityBoundingSet"] for name in line[1:].split()}
    absent = {name for cell in tables()[1] for name in re.findall(r"`([A-Za-z]+)=`", cell)}
    kept = {name for cell in tables()[1] for name in re.findall(r"`(CAP_[A-Z_]+)`", cell)}
    assert absent and kept
    assert not absent & set(unit)
    assert not kept & dropped
    assert all(line.startswith("~") for line in unit["CapabilityBoundingSet"])
    assert not any(name.removeprefix("CAP_SYS_") in NEEDED for name in dropped)


def test_the_service_sees_and_changes_the_hosts_own_file_systems() -> None:
    # A pod's missing host path is made wherever it is named, below /etc and /usr too, and what a
    # plugin mounts is for the host.
    assert not MOUNT_NAMESPACE & set(directives(UNIT))


def test_plugins_keep_what_they_need() -> None:
    unit = directives(UNIT)
    assert {"net", "mnt"} <= set(unit["RestrictNamespaces"][0].split())
    families = set(unit["RestrictAddressFamilies"][0].split())
    assert {"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET"} <= families
    filtered = unit["SystemCallFilter"][0]
    assert filtered.startswith("~")
    assert not {"@mount", "@module", "@network-io", "@process"} & set(filtered[1:].split())


def test_the_drop_in_takes_the_whole_sandbox_off() -> None:
    sandbox = set(directives(UNIT)) - NOT_OF_THE_SANDBOX
    drop_in = directives(DROP_IN)
    assert set(drop_in) == sandbox
    for name, values in drop_in.items():
        assert values == ["~" if name == "CapabilityBoundingSet" else values[0]]
        assert values[0] in ("no", "", "~"), name
