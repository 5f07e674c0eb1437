"""Manifests of small pods, as mappings."""

from __future__ import annotations

from typing import Any

from tests.harness.engine import BUSYBOX_IMAGE
from tests.harness.pods import SLEEPER

SHELL = ("sh", "-c")
RUNS = {"command": list(SLEEPER)}


def pod(name: str, *containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A manifest; containers are ``main``, ``other`` where they have no name."""
    names = iter(("main", "other"))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "uid": f"uid-{name}", "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 20,
            "containers": [container(next(names), **each) for each in containers],
            **spec,
        },
    }


def container(name: str, script: str = "", **fields: Any) -> dict[str, Any]:
    """One that runs a script, or what its fields say."""
    command = {"command": [*SHELL, script]} if script else {}
    return {"name": name, "image": BUSYBOX_IMAGE, **command, **fields}
