"""The dashboard and the alert rules ask for what is exported, and Prometheus takes them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from asupervisor.metrics import Metrics

PLACE = Path(__file__).parents[3] / "examples" / "monitoring"
ALERTS = PLACE / "alerts.yaml"
DASHBOARD = PLACE / "dashboard.json"
# Of Prometheus itself, about what it scrapes.
OF_PROMETHEUS = {"up"}
NAME = re.compile(r"\b(?:asupervisor|docker|process)_[a-z_]+\b|\bup\b")


def exported() -> dict[str, set[str]]:
    """Every sample's name with its labels, of a service that has done everything once."""
    metrics = Metrics()
    metrics.rpc("ListContainers").begin()
    metrics.rpc("ListContainers").end(0.1)
    metrics.rpc("ListContainers").begin()
    metrics.rpc("ListContainers").end(0.1, "INTERNAL")
    metrics.engine("list_containers").end(0.1)
    metrics.event_applied("start")
    with metrics.streaming_session("exec"):
        text = metrics.exposition(list(metrics.collect())).decode()
    found: dict[str, set[str]] = {}
    for name, labels in re.findall(r"^([a-z_]+)(?:\{(.*)\})? ", text, re.M):
        found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


def expressions() -> list[str]:
    rules = [
        rule["expr"]
        for group in yaml.safe_load(ALERTS.read_text())["groups"]
        for rule in group["rules"]
    ]
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return rules + [target["expr"] for panel in panels for target in panel["targets"]]


def test_they_ask_for_what_is_exported() -> None:
    known = exported()
    asked = set()
    for expression in expressions():
        names = set(NAME.findall(expression)) - OF_PROMETHEUS
        assert names <= set(known) or names == set(), (expression, names - set(known))
        asked |= names
        labels = {label for name in names for label in known[name]} | {"instance", "job"}
        matched = set(re.findall(r'([a-z_]+)=~?"', expression))
        grouped = {
            label.strip()
            for labels_ in re.findall(r"\bby \(([^)]*)\)", expression)
            for label in labels_.split(",")
        }
        assert matched | grouped <= labels, expression
    # What can be watched is on the dashboard.
    left = {re.sub(r"_(bucket|count|sum)$", "", name) for name in set(known) - asked}
    shown = {re.sub(r"_(bucket|count|sum)$", "", name) for name in asked}
    assert {name for name in left - shown if name.startswith(("asupervisor_", "docker_"))} == {
        "asupervisor_shortened_list_elements_total",
        "asupervisor_writable_layer_walks_total",
    }


def test_every_alert_says_what_to_do() -> None:
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["annotations"]["summary"] and rule["annotations"]["remedy"]
            assert rule["labels"]["severity"] in ("critical", "warning", "info")


def test_panels_have_names_and_places_of_their_own() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["title"] for panel in panels}) == len(panels)
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not here")
def test_prometheus_takes_them(tmp_path: Path) -> None:
    filled = [
        one.replace("$__rate_interval", "5m").replace("$instance", ".*") for one in expressions()
    ]
    rules = [{"record": f"panel:{index}", "expr": one} for index, one in enumerate(filled)]
    panels = tmp_path / "panels.yaml"
    panels.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    for file in (ALERTS, panels):
        said = subprocess.run(
            ["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False
        )
        assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not here")
def test_alerts_come_when_they_should_and_only_then(tmp_path: Path) -> None:
    node = 'instance="n:9095", job="asupervisor"'
    missed = f'{{{node}, method="StopContainer", code="NOT_FOUND"}}'
    series = {
        f"up{{{node}}}": "1x20",
        f"asupervisor_ready{{{node}}}": "1x4 0x16",
        f"asupervisor_event_loop_lag_seconds{{{node}}}": "0.5x20",
        f'docker_operations_timeout_total{{{node}, operation_type="list_containers"}}': "0+1x20",
        f"asupervisor_rpc_errors_total{missed}": "0+1x20",
        f"asupervisor_log_lag_bytes{{{node}}}": "1e6x20",
        f"process_open_fds{{{node}}}": "10x20",
        f"process_max_fds{{{node}}}": "1000x20",
    }
    firing = {"AsupervisorNotReady", "AsupervisorEventLoopLag", "AsupervisorEngineTimeouts"}
    document = yaml.safe_load(ALERTS.read_text())
    rules = [rule for group in document["groups"] for rule in group["rules"]]
    checks = [
        {
            "eval_time": "18m",
            "alertname": rule["alert"],
            "exp_alerts": [] if rule["alert"] not in firing else [_expected(rule)],
        }
        for rule in rules
    ]
    cases = tmp_path / "cases.yaml"
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": checks,
    }
    cases.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "tests": [test]}))
    said = subprocess.run(
        ["promtool", "test", "rules", str(cases)], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stdout + said.stderr


def _expected(rule: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    labels = {"instance": "n:9095", **rule["labels"]}
    if "sum by" not in str(rule["expr"]):
        labels["job"] = "asupervisor"
    words = {
        key: value.replace("{{ $labels.instance }}", "n:9095").replace(
            "{{ $value | humanizeDuration }}", "500ms"
        )
        for key, value in rule["annotations"].items()
    }
    return {"exp_labels": labels, "exp_annotations": words}
