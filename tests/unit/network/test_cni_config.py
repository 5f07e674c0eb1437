from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from asupervisor.network.cni.config import (
    InvalidNetworkConfig,
    PluginConfig,
    config_files,
    load_bytes,
    load_file,
    missing_binaries,
)


def write(directory: Path, name: str, document: Any) -> str:
    path = directory / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return str(path)


def test_files_count_in_the_order_of_their_paths_and_only_with_three_endings(
    tmp_path: Path,
) -> None:
    for name in ("20-b.conflist", "10-a.conf", "05-c.json", "01.yaml", "02.conflist.bak"):
        write(tmp_path, name, "{}")
    (tmp_path / "00.conf").mkdir()
    assert [Path(path).name for path in config_files(str(tmp_path))] == [
        "05-c.json",
        "10-a.conf",
        "20-b.conflist",
    ]
    assert config_files(str(tmp_path / "missing")) == []


@pytest.mark.parametrize("name", ["net.conf", "net.json"])
def test_a_lone_plugin_becomes_a_list_that_keeps_what_we_do_not_know(
    tmp_path: Path, name: str
) -> None:
    path = write(
        tmp_path,
        name,
        {"cniVersion": "0.3.1", "name": "lone", "type": "bridge", "mine": {"deep": [1]}},
    )
    network = load_file(path)
    assert (network.name, network.version) == ("lone", "0.3.1")
    assert network.plugins[0].document["mine"] == {"deep": [1]}
    again = load_bytes(network.source, "cache")
    assert (again.name, again.version, again.plugins) == (
        network.name,
        network.version,
        network.plugins,
    )


@pytest.mark.parametrize(
    ("versions", "chosen"),
    [
        ({}, "0.1.0"),
        ({"cniVersion": "1.1.0"}, "1.1.0"),
        ({"cniVersion": "0.4.0", "cniVersions": ["0.3.1", "1.1.0", "1.0.0"]}, "1.1.0"),
        ({"cniVersion": "0.4.0", "cniVersions": ["9.0.0"]}, "0.4.0"),
    ],
)
def test_the_newest_version_that_both_know_is_spoken(
    tmp_path: Path, versions: dict[str, Any], chosen: str
) -> None:
    path = write(tmp_path, "n.conflist", {**versions, "name": "n", "plugins": [{"type": "bridge"}]})
    assert load_file(path).version == chosen


GOOD = {"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "bridge"}]}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": None}, '"name"'),
        ({"name": "a/b"}, '"name"'),
        ({"name": ""}, '"name"'),
        ({"cniVersion": 1}, '"cniVersion"'),
        ({"cniVersion": "7.0.0"}, '"cniVersion"'),
        ({"cniVersions": "1.0.0"}, '"cniVersions"'),
        ({"plugins": {}}, '"plugins"'),
        ({"plugins": []}, '"plugins"'),
        ({"plugins": ["bridge"]}, '"plugins[0]"'),
        ({"plugins": [{"type": "bridge"}, {"kind": "x"}]}, '"plugins[1].type"'),
        ({"plugins": [{"type": "../sh"}]}, '"plugins[0].type"'),
        (
            {"plugins": [{"type": "bridge", "capabilities": ["portMappings"]}]},
            '"plugins[0].capabilities"',
        ),
        ({"disableCheck": "perhaps"}, '"disableCheck"'),
    ],
)
def test_an_error_names_the_file_and_the_field(
    tmp_path: Path, change: dict[str, Any], field: str
) -> None:
    path = write(tmp_path, "n.conflist", {**GOOD, **change})
    with pytest.raises(InvalidNetworkConfig) as caught:
        load_file(path)
    assert caught.value.message.startswith(f"{path}: ") and field in caught.value.message


def test_json_errors_name_the_line(tmp_path: Path) -> None:
    path = write(tmp_path, "n.conflist", '{"name": "n",\n"plugins": [\n{"type": "bridge",}]}')
    with pytest.raises(InvalidNetworkConfig, match="line 3"):
        load_file(path)


def test_a_list_in_a_conf_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(InvalidNetworkConfig, match=r"\.conflist"):
        load_file(write(tmp_path, "n.conf", GOOD))


def test_plugins_of_the_networks_own_folder_are_appended_unless_the_list_says_no(
    tmp_path: Path,
) -> None:
    (tmp_path / "n").mkdir()
    write(tmp_path / "n", "50-tuning.conf", {"type": "tuning"})
    path = write(tmp_path, "n.conflist", {**GOOD, "cniVersion": "1.1.0"})
    network = load_file(path)
    assert [plugin.type for plugin in network.plugins] == ["bridge", "tuning"]
    assert [plugin.type for plugin in load_bytes(network.source, "cache").plugins] == [
        "bridge",
        "tuning",
    ]
    path = write(tmp_path, "n.conflist", {**GOOD, "loadOnlyInlinedPlugins": True})
    assert [plugin.type for plugin in load_file(path).plugins] == ["bridge"]


def test_missing_binaries_are_named_but_not_what_a_plugin_calls_in_turn(tmp_path: Path) -> None:
    (tmp_path / "bridge").touch()
    path = write(
        tmp_path,
        "n.conflist",
        {
            **GOOD,
            "plugins": [{"type": "bridge", "ipam": {"type": "whereabouts"}}, {"type": "flannel"}],
        },
    )
    missing = missing_binaries(load_file(path), ["/nowhere", str(tmp_path)])
    assert len(missing) == 1
    assert '"plugins[1].type"' in missing[0] and f"/nowhere, {tmp_path}" in missing[0]


def test_only_capabilities_that_are_wanted_count(tmp_path: Path) -> None:
    plugin = {"type": "portmap", "capabilities": {"portMappings": True, "bandwidth": False}}
    network = load_file(
        write(
            tmp_path,
            "n.conflist",
            {**GOOD, "plugins": [plugin, {"type": "dns", "capabilities": {"dns": True}}]},
        )
    )
    assert network.capabilities == {"portMappings", "dns"}


@pytest.mark.parametrize(
    ("plugin", "uses"),
    [
        ({"type": "bridge"}, False),
        ({"type": "bridge", "ipMasq": True}, True),
        ({"type": "bridge", "ipMasq": True, "ipMasqBackend": "nftables"}, False),
        ({"type": "ptp", "ipMasq": True}, True),
        ({"type": "portmap"}, True),
        ({"type": "portmap", "backend": "nftables"}, False),
        ({"type": "firewall"}, True),
        ({"type": "firewall", "backend": "firewalld"}, False),
        ({"type": "cilium-cni", "ipMasq": True}, False),
    ],
)
def test_which_plugins_use_iptables(plugin: dict[str, Any], uses: bool) -> None:
    assert PluginConfig(plugin["type"], plugin).uses_iptables is uses
