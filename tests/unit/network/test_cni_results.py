from __future__ import annotations

import base64
import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from asupervisor.errors import Internal
from asupervisor.network.cni.arguments import attachment_of
from asupervisor.network.cni.cache import Cached, ResultCache
from asupervisor.network.cni.execute import Attachment
from asupervisor.network.cni.result import host_interfaces, in_version, result_addresses
from asupervisor.network.plugin import PodNetwork, PortMapping

RESULT: dict[str, Any] = {
    "cniVersion": "1.0.0",
    "interfaces": [
        {"name": "cni0"},
        {"name": "veth1"},
        {"name": "eth0", "sandbox": "/proc/7/ns/net"},
    ],
    "ips": [
        {"interface": 2, "address": "10.1.0.5/16", "gateway": "10.1.0.1"},
        {"interface": 0, "address": "10.1.0.1/16"},
        {"interface": 2, "address": "FD00::0005/64"},
        {"address": "10.2.0.9/16"},
        {"address": "nonsense"},
    ],
}


def test_of_a_result_without_end_only_the_beginning_counts() -> None:
    many = {
        "interfaces": [{"name": f"veth{number}"} for number in range(2000)],
        "ips": [{"address": f"10.1.{number >> 8}.{number & 255}/8"} for number in range(2000)],
    }
    assert result_addresses(many) == tuple(f"10.1.0.{number}" for number in range(64))
    assert len(host_interfaces(many)) == 64


def test_every_address_of_the_pod_and_none_of_the_host() -> None:
    assert result_addresses(RESULT) == ("10.1.0.5", "fd00::5", "10.2.0.9")
    assert result_addresses({"ip4": {"ip": "10.1.0.5/16"}, "ip6": {"ip": "fd00::5/64"}}) == (
        "10.1.0.5",
        "fd00::5",
    )
    assert result_addresses({"ips": "none"}) == ()
    assert host_interfaces(RESULT) == ("cni0", "veth1")


def test_a_result_is_handed_on_in_the_version_of_the_list() -> None:
    older = in_version(RESULT, "0.4.0")
    assert older["cniVersion"] == "0.4.0"
    assert [entry["version"] for entry in older["ips"][:3]] == ["4", "4", "6"]
    assert in_version(older, "1.0.0") == RESULT
    assert "version" not in RESULT["ips"][0]


async def test_the_cache_is_that_of_libcni(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path / "results")
    attachment = Attachment(
        "abc", "/proc/7/ns/net", "eth0", (("IgnoreUnknown", "1"),), {"portMappings": []}
    )
    await cache.write(Cached("net", attachment, b'{"name":"net"}', RESULT))
    written = json.loads((tmp_path / "results" / "net-abc-eth0").read_bytes())
    assert written == {
        "kind": "cniCacheV1",
        "containerId": "abc",
        "config": base64.b64encode(b'{"name":"net"}').decode(),
        "ifName": "eth0",
        "networkName": "net",
        "netns": "/proc/7/ns/net",
        "cniArgs": [["IgnoreUnknown", "1"]],
        "capabilityArgs": {"portMappings": []},
        "result": RESULT,
    }
    assert cache.find("abc") == [Cached("net", attachment, b'{"name":"net"}', RESULT)]
    cache.remove("net", "abc", "eth0")
    cache.remove("net", "abc", "eth0")
    assert cache.everything() == []


_KILLED_IN_A_WRITE = """
import os, signal, sys
from pathlib import Path
import anyio
from asupervisor.network.cni.cache import Cached, ResultCache
from asupervisor.network.cni.execute import Attachment
os.rename = lambda *names: os.kill(os.getpid(), signal.SIGKILL)
cached = Cached("net", Attachment("abc", "/proc/7/ns/net"), b"{}", None)
anyio.run(ResultCache(Path(sys.argv[1])).write, cached)
"""


def test_what_a_kill_left_of_a_write_goes_with_the_attachment(tmp_path: Path) -> None:
    directory = tmp_path / "results"
    killed = subprocess.run([sys.executable, "-c", _KILLED_IN_A_WRITE, directory], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [path for path in tmp_path.rglob("*") if path.is_file()], "it was cut off"
    cache = ResultCache(directory)
    assert cache.everything() == []
    cache.remove("another", "abc", "eth0")
    assert list(tmp_path.rglob("*")) == [directory]


async def test_a_result_that_was_cut_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = ResultCache(tmp_path / "results")
    attachment = Attachment("abc", "/proc/7/ns/net", "eth0", (), {})
    await cache.write(Cached("net", attachment, b"first", RESULT))
    write, left = os.write, [100]

    def nearly_full(descriptor: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        took, left[0] = write(descriptor, data[: left[0]]), 0
        return took

    monkeypatch.setattr(os, "write", nearly_full)
    with pytest.raises(Internal, match="No space left"):
        await cache.write(Cached("net", attachment, b"second", RESULT))
    monkeypatch.undo()
    assert [cached.config for cached in cache.find("abc")] == [b"first"]
    assert os.listdir(tmp_path) == ["results"]


def test_a_file_of_libcni_without_some_fields_is_read_and_a_broken_one_passed_over(
    tmp_path: Path,
) -> None:
    (tmp_path / "net-abc-eth0").write_text(
        '{"kind":"cniCacheV1","containerId":"abc","config":"e30=","ifName":"eth0","networkName":"net","result":{"cniVersion":"0.2.0"}}'
    )
    (tmp_path / "net-abcd-eth0").write_text("{half")
    (tmp_path / "net-abce-eth0").write_text("[" * 100_000)
    (tmp_path / "net-x-abc-y").write_text('{"kind":"other"}')
    found = ResultCache(tmp_path).everything()
    assert [
        (cached.network, cached.attachment.container_id, cached.attachment.netns)
        for cached in found
    ] == [("net", "abc", "")]
    assert ResultCache(tmp_path).find("abcd") == []
    assert ResultCache(tmp_path / "missing").everything() == []


def test_what_plugins_are_told_of_a_pod() -> None:
    attachment = attachment_of(
        PodNetwork(
            sandbox_id="abc",
            name="web",
            namespace="shop",
            uid="u-1",
            netns="/proc/7/ns/net",
            port_mappings=(PortMapping("TCP", 80, 8080, "192.0.2.1"), PortMapping("udp", 53, 0)),
            annotations={"kubernetes.io/ingress-bandwidth": "10M"},
            dns_servers=("192.0.2.53",),
            dns_options=("ndots:5",),
        ),
        pod_cidr="10.1.0.0/24,fd01::/64",
    )
    assert attachment.arguments == (
        ("IgnoreUnknown", "1"),
        ("K8S_POD_NAMESPACE", "shop"),
        ("K8S_POD_NAME", "web"),
        ("K8S_POD_INFRA_CONTAINER_ID", "abc"),
        ("K8S_POD_UID", "u-1"),
    )
    assert attachment.capability_arguments == {
        "portMappings": [
            {"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "192.0.2.1"}
        ],
        "bandwidth": {"ingressRate": 10_000_000, "ingressBurst": 2**31 - 1},
        "ipRanges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd01::/64"}]],
        "dns": {"servers": ["192.0.2.53"], "options": ["ndots:5"]},
    }
