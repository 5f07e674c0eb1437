from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from asupervisor.errors import (
    MOST_WORDS,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    NotFound,
    RollbackFailed,
    ServiceError,
    Unavailable,
)
from asupervisor.network.plugin import PortMapping
from tests.harness.pods import until
from tests.integration.network.namespaces import CNI_BINARIES, Echo, Namespace, ask, leases, pod
from tests.integration.network.test_cni import Node

pytestmark = [
    pytest.mark.skipif(
        not Path(CNI_BINARIES, "bridge").exists(), reason="needs the containernetworking plugins"
    ),
    pytest.mark.usefixtures("own_network"),
]

# Chained behind the real ones: does on each command what the file of that name beside it says, and
# logs what it is told.
FAULTY = r"""#!/bin/sh
here=$(dirname "$0")
input=$(cat)
echo "$CNI_COMMAND $CNI_CONTAINERID netns=$CNI_NETNS $CNI_ARGS" >> "$here/calls"
printf '%s' "$input" > "$here/stdin.$CNI_COMMAND"
if [ -f "$here/do.$CNI_COMMAND" ]; then . "$here/do.$CNI_COMMAND"; fi
case $CNI_COMMAND in
VERSION) echo '{"cniVersion":"1.1.0","supportedVersions":["0.3.1","0.4.0","1.0.0","1.1.0"]}' ;;
ADD) printf '%s' "$input" | sed 's/.*"prevResult": \({.*}\)}$/\1/' ;;
esac
"""


class Faulty:
    """A node whose network ends with a plugin that misbehaves as it is told."""

    def __init__(self, root: Path) -> None:
        self.bin = root / "bin"
        self.bin.mkdir()
        for name in os.listdir(CNI_BINARIES):
            (self.bin / name).symlink_to(Path(CNI_BINARIES, name))
        (self.bin / "faulty").write_text(FAULTY)
        (self.bin / "faulty").chmod(0o755)
        self.node = Node(root, extra=[{"type": "faulty"}], binaries=(str(self.bin),))

    def does(self, command: str, script: str | None) -> None:
        """Give the plugin a script for a command; None takes it away."""
        path = self.bin / f"do.{command}"
        path.write_text(script) if script is not None else path.unlink()

    def calls(self, command: str) -> list[str]:
        log = self.bin / "calls"
        return [
            line
            for line in (log.read_text() if log.exists() else "").splitlines()
            if line.startswith(command + " ")
        ]


@pytest.fixture
def faulty(tmp_path: Path) -> Faulty:
    return Faulty(tmp_path)


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        ("kill -SEGV $$", Internal, "signal 11"),
        (
            "echo 'no json at all'; echo 'on fire' >&2; exit 0",
            Internal,
            "not a JSON object: no json at all; stderr: on fire",
        ),
        ("echo half; exit 3", Internal, "exited with status 3; stdout: half"),
        ("exit 0", Internal, "printed no result"),
        (
            'echo \'{"code":7,"msg":"bad mtu","details":"it is -1"}\'; echo hint >&2; exit 1',
            FailedPrecondition,
            "bad mtu; it is -1 (code 7); stderr: hint",
        ),
        ('echo \'{"code":11,"msg":"busy"}\'; exit 1', Unavailable, "busy (code 11)"),
        ('echo \'{"code":3,"msg":"who?"}\'; exit 1', NotFound, "who? (code 3)"),
        (
            """printf '{"code":3,"msg":"%s"}' "$(yes x | tr -d '\\n' | head -c 100000)"; exit 1""",
            NotFound,
            f" failed: {'x' * MOST_WORDS} (code 3)",
        ),
        ("yes | head -c 9000000; exit 0", Internal, "more than"),
    ],
)
async def test_a_plugin_that_fails_on_add_fails_the_pod_clearly_and_leaves_nothing(
    faulty: Faulty,
    namespaces: Callable[[], Namespace],
    script: str,
    error: type[ServiceError],
    words: str,
) -> None:
    web = pod(namespaces(), PortMapping("tcp", 80, 8090))
    faulty.does("ADD", script)
    async with faulty.node.running() as plugin:
        with pytest.raises(error) as caught:
            await plugin.set_up(web)
        assert words in caught.value.message
        assert '"faulty" (network "testnet"' in caught.value.message
        faulty.node.nothing_left()
        faulty.does("ADD", None)
        await plugin.set_up(web)
        await plugin.tear_down(web)
        faulty.node.nothing_left()


async def test_a_plugin_that_hangs_is_killed_with_its_children_and_delays_no_other_pod(
    faulty: Faulty, namespaces: Callable[[], Namespace]
) -> None:
    stuck, other = pod(namespaces()), pod(namespaces())
    async with faulty.node.running(pod_deadline_s=4.0) as plugin:
        faulty.does(
            "ADD",
            f'case $CNI_CONTAINERID in {stuck.sandbox_id}) sleep 612 & echo $! > "$here/child";'
            " echo stuck >&2; wait ;; esac",
        )
        caught: list[ServiceError] = []

        async def hang() -> None:
            with pytest.raises(DeadlineExceeded) as error:
                await plugin.set_up(stuck)
            caught.append(error.value)

        async with anyio.create_task_group() as group:
            group.start_soon(hang)
            await until((faulty.bin / "child").exists, "the plugin hangs")
            await plugin.set_up(other)
            await plugin.tear_down(other)
            assert not caught, "the other pod came and went while the first one hung"
        assert "did not end within" in caught[0].message and "stuck" in caught[0].message
        child = int((faulty.bin / "child").read_text())
        await until(lambda: not _runs(child), "the plugin's child is killed with it")
        faulty.node.nothing_left()


@pytest.mark.parametrize("lives", [True, False], ids=["the namespace lives", "it is gone"])
async def test_a_del_that_fails_is_repeated_until_it_succeeds(
    faulty: Faulty, namespaces: Callable[[], Namespace], lives: bool
) -> None:
    ended = namespaces()
    web, other = pod(ended), pod(namespaces())
    async with faulty.node.running(retry_delay_s=0.05) as plugin:
        await plugin.set_up(web)
        faulty.does("DEL", "echo 'cannot let go' >&2; exit 1")
        with pytest.raises(Internal, match="cannot let go"):
            await plugin.tear_down(web)
        assert len(leases(faulty.node.leases)) == 2, (
            "a chain is taken down in order, so the address is not given away early"
        )
        await plugin.set_up(other)
        if not lives:
            ended.close()
        path = f"netns={web.netns if lives else ''} "

        def told() -> bool:
            return path in [call for call in faulty.calls("DEL") if web.sandbox_id in call][-1]

        await until(told, "it is told of the namespace as it is now")
        faulty.does("DEL", None)
        await until(
            lambda: len(leases(faulty.node.leases)) == 2,
            "the address is released without being asked again",
        )
        assert told()
        await plugin.tear_down(other)
        faulty.node.nothing_left()


async def test_a_rollback_that_fails_is_reported_and_finished_by_the_next_process(
    faulty: Faulty, namespaces: Callable[[], Namespace]
) -> None:
    namespace = namespaces()
    web = pod(namespace)
    faulty.does("ADD", "echo 'no add' >&2; exit 1")
    faulty.does("DEL", "exit 1")
    async with faulty.node.running(retry_delay_s=60.0) as plugin:
        with pytest.raises(RollbackFailed, match="no add"):
            await plugin.set_up(web)
    assert len(leases(faulty.node.leases)) == 2
    faulty.does("DEL", None)
    namespace.close()
    async with faulty.node.running() as plugin:
        assert await plugin.addresses(web) == (), "half set up is not set up"
        await plugin.reconcile([])
        faulty.node.nothing_left()


async def test_a_caller_that_gives_up_on_add_leaves_nothing(
    faulty: Faulty, namespaces: Callable[[], Namespace]
) -> None:
    web = pod(namespaces())
    faulty.does("ADD", "sleep 100")
    async with faulty.node.running() as plugin:
        async with anyio.create_task_group() as group:
            group.start_soon(plugin.set_up, web)
            await until(lambda: bool(faulty.calls("ADD")), "ADD is under way")
            group.cancel_scope.cancel()
        await until(lambda: not leases(faulty.node.leases), "the addresses are released")
        await plugin.tear_down(web)
        faulty.node.nothing_left()


async def test_del_hands_back_what_add_returned_with_the_arguments_of_that_time(
    faulty: Faulty, namespaces: Callable[[], Namespace]
) -> None:
    web = pod(namespaces())
    async with faulty.node.running() as plugin:
        addresses = await plugin.set_up(web)
        faulty.node.network["name"] = "renamed"
        faulty.node.write()
        await until(
            lambda: plugin._network is not None and plugin._network.name == "renamed",
            "the change is noticed",
        )
        await plugin.tear_down(web)
        told = json.loads((faulty.bin / "stdin.DEL").read_text())
        assert told["name"] == "testnet"
        assert [entry["address"].split("/")[0] for entry in told["prevResult"]["ips"]] == list(
            addresses
        )
        arguments = (
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;"
            f"K8S_POD_INFRA_CONTAINER_ID={web.sandbox_id};K8S_POD_UID={web.uid}"
        )
        assert faulty.calls("ADD") == [f"ADD {web.sandbox_id} netns={web.netns} {arguments}"]
        assert faulty.calls("DEL") == [f"DEL {web.sandbox_id} netns={web.netns} {arguments}"]
        faulty.node.nothing_left()


async def test_a_pod_that_a_peer_had_only_begun_is_taken_down_all_the_same(
    faulty: Faulty, namespaces: Callable[[], Namespace]
) -> None:
    web = pod(namespaces())
    async with faulty.node.running() as plugin:
        await plugin.set_up(web)
    (cached,) = (faulty.node.root / "cache" / "results").iterdir()
    document = json.loads(cached.read_text()) | {"networkName": "cni-loopback"}
    cached.with_name(cached.name.replace("testnet", "cni-loopback")).write_text(
        json.dumps(document)
    )
    cached.unlink()
    async with faulty.node.running() as plugin:
        await plugin.tear_down(web)
        faulty.node.nothing_left()


_SET_UP = """
import pickle, sys
import anyio
from asupervisor.network.cni.network import CniNetwork

async def main():
    config, state, pod = pickle.load(open(sys.argv[1], "rb"))
    plugin = CniNetwork(config, state)
    async with anyio.create_task_group() as group:
        await group.start(plugin.run)
        await plugin.set_up(pod)

anyio.run(main)
"""


async def test_a_plugin_that_outlives_the_service_is_ended_before_del(
    faulty: Faulty, namespaces: Callable[[], Namespace]
) -> None:
    web, node = pod(namespaces()), faulty.node
    # What an ADD takes after its DEL nobody would give back.
    faulty.does("ADD", 'sleep 612 & echo $! > "$here/child"; wait; touch "$here/taken"')
    (node.root / "told").write_bytes(pickle.dumps((node.config, node.root / "state", web)))
    killed = await anyio.open_process([sys.executable, "-c", _SET_UP, node.root / "told"])
    try:
        await until(lambda: (faulty.bin / "child").exists(), "ADD is under way")
    finally:
        killed.kill()
        await killed.aclose()
    child = int((faulty.bin / "child").read_text())
    assert _runs(child)
    running = f"grep -q sleep /proc/{child}/cmdline"  # one that has ended has an empty one
    faulty.does("DEL", f'if {running}; then echo "beside an ADD" >&2; exit 1; fi')
    async with node.running() as plugin:
        await plugin.tear_down(web)
        assert not (faulty.bin / "taken").exists()
        node.nothing_left()


async def test_status_and_garbage_collection_of_version_1_1(
    faulty: Faulty, namespaces: Callable[[], Namespace]
) -> None:
    node = faulty.node
    (node.root / "conf" / "05-only.conflist").write_text(
        json.dumps(
            {
                "cniVersion": "0.4.0",
                "cniVersions": ["1.0.0", "1.1.0"],
                "name": "only",
                "plugins": [{"type": "faulty"}],
            }
        )
    )
    faulty.does("STATUS", 'echo \'{"code":50,"msg":"no daemon"}\'; exit 1')
    faulty.does("ADD", 'echo \'{"ips":[{"address":"10.9.9.9/24"}]}\'; exit 0')

    web = pod(namespaces())
    async with node.running(poll_interval_s=0.1) as plugin:
        assert not plugin.status().ready and "no daemon" in plugin.status().message
        with pytest.raises(Unavailable, match="no daemon"):
            plugin.check(web)
        faulty.does("STATUS", None)
        await until(lambda: plugin.status().ready, "STATUS is asked again")
        assert await plugin.set_up(web) == ("10.9.9.9",)
        await plugin.reconcile([web])
        await until(
            lambda: bool(faulty.calls("GC")) and bool(faulty.calls("CHECK")),
            "GC and CHECK are called",
        )
        told = json.loads((faulty.bin / "stdin.GC").read_text())
        assert told["cni.dev/valid-attachments"] == [
            {"containerID": web.sandbox_id, "ifname": "eth0"}
        ]
        await plugin.tear_down(web)
        node.nothing_left()


async def test_readiness_follows_the_configuration_directory(faulty: Faulty) -> None:
    directory = faulty.node.root / "conf"
    good = (directory / "10-test.conflist").read_text()

    def edit(name: str, text: str | None) -> None:
        (directory / name).write_text(text) if text is not None else (directory / name).unlink()

    edit("10-test.conflist", None)
    # An interval that never ends: what is seen is seen by inotify.
    async with faulty.node.running(poll_interval_s=3600.0) as plugin:

        async def becomes(words: str) -> None:
            await until(
                lambda: words in plugin.status().message,
                f"the status says {words!r}; it says {plugin.status().message!r}",
            )

        assert f"in {directory}" in plugin.status().message and not plugin.status().ready
        edit("01.conflist", '{\n "name": "x",\n "plugins": [}\n')
        await becomes("01.conflist: invalid JSON at line 3")
        edit("01.conflist", '{"name": "x", "cniVersion": "1.0.0", "plugins": [{"type": "absent"}]}')
        await becomes(
            f'01.conflist: "plugins[0].type": there is no plugin "absent" in {faulty.bin}'
        )
        edit("01.conflist", '{"name": "x", "cniVersion": "1.1.0", "plugins": [{"type": "bridge"}]}')
        await becomes('plugin "bridge" does not support 1.1.0')
        edit("02.conflist", good)
        await until(lambda: plugin.status().ready, "the second file is valid")
        edit("02.conflist", None)
        edit("01.conflist", None)
        await anyio.sleep(0.1)
        assert plugin.status().ready, "the last good configuration is kept"


async def test_a_plugin_that_hangs_on_status_does_not_hold_up_the_start(faulty: Faulty) -> None:
    faulty.node.network["cniVersion"] = "1.1.0"
    faulty.node.network["plugins"] = [{"type": "faulty"}]
    faulty.node.write()
    faulty.does("STATUS", "sleep 613")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asupervisor.network.cni.network._START_PATIENCE_S", 0.5)
        async with faulty.node.running():
            assert faulty.calls("STATUS"), "it hangs still, and the start is over"


async def test_a_directory_that_appears_late_is_found_by_looking_again(faulty: Faulty) -> None:
    directory = faulty.node.root / "conf"
    directory.rename(faulty.node.root / "elsewhere")

    async with faulty.node.running(poll_interval_s=0.05) as plugin:
        assert "there is no such directory" in plugin.status().message
        (faulty.node.root / "elsewhere").rename(directory)
        await until(lambda: plugin.status().ready, "the configuration is found")


async def test_lo_is_brought_up_without_a_plugin(
    faulty: Faulty, namespaces: Callable[[], Namespace]
) -> None:
    namespace = namespaces()

    def is_up() -> bool:
        shown = subprocess.run(["ip", "link", "show", "lo"], check=True, capture_output=True)
        return b",UP" in shown.stdout

    (faulty.bin / "loopback").unlink()
    namespace.run(lambda: subprocess.run(["ip", "link", "set", "lo", "down"], check=True))
    assert not namespace.run(is_up)
    web = pod(namespace)
    async with faulty.node.running() as plugin:
        for _ in range(2):  # also where it is up already
            await plugin.set_up(web)
            assert namespace.run(is_up)
            await plugin.tear_down(web)


async def test_host_ports_are_refused_before_anything_is_created(
    faulty: Faulty, namespaces: Callable[[], Namespace]
) -> None:
    web = pod(namespaces(), PortMapping("tcp", 80, 8080))
    rival = pod(namespaces(), PortMapping("tcp", 81, 8080, "127.0.0.1"), name="rival")
    async with faulty.node.running() as plugin:
        await plugin.set_up(web)
        with pytest.raises(
            FailedPrecondition, match=r"tcp/8080 is held by pod default/web .*pod default/rival"
        ):
            plugin.check(rival)
        with pytest.raises(FailedPrecondition):
            await plugin.set_up(rival)
        assert len(faulty.calls("ADD")) == 1
        await plugin.tear_down(web)
        plugin.check(rival)


async def test_the_address_range_comes_from_the_pod_cidr(
    tmp_path: Path, namespaces: Callable[[], Namespace]
) -> None:
    node = Node(tmp_path)
    bridge: dict[str, Any] = node.network["plugins"][0]
    bridge["capabilities"] = {"ipRanges": True}
    del bridge["ipam"]["ranges"]
    node.write()

    one = namespaces()
    web = pod(one)
    async with node.running() as plugin:
        assert not plugin.status().ready and "ipRanges" in plugin.status().message
        await plugin.update_pod_cidr("10.78.3.0/24,fd78:3::/64")
        await plugin.update_pod_cidr("10.79.0.0/24")
        assert plugin.status().ready
        addresses = await plugin.set_up(web)
        assert addresses[0].startswith("10.78.3.") and addresses[1].startswith("fd78:3::")
        with Echo(one, 80):
            assert ask(addresses[0], 80)
        await plugin.tear_down(web)
        node.nothing_left()


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
