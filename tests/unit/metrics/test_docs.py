"""The page for operators names every metric, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from asupervisor.metrics import Metrics

PAGE = Path(__file__).resolve().parents[3] / "docs" / "observability.md"


def test_every_metric_is_on_the_page_and_no_other() -> None:
    metrics = Metrics()
    metrics.rpc("Version").begin()
    metrics.engine("info")
    names = {
        family.name + ("_total" if family.type == "counter" else "") for family in metrics.collect()
    }
    documented = set(re.findall(r"`((?:asupervisor|docker)_[a-z_]+)`", PAGE.read_text()))
    assert documented == names
