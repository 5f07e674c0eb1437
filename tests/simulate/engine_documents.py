"""The engine's containers and images as its API shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.simulate.clock import EPOCH_S
from tests.simulate.engine import Box, Image, stamp

INFO = {
    "ID": "SIM",
    "CgroupDriver": "cgroupfs",
    "CgroupVersion": "2",
    "Runtimes": {"runc": {}},
    "DefaultRuntime": "runc",
    "Driver": "overlay2",
    "DriverStatus": [],
    "SecurityOptions": ["name=seccomp,profile=default"],
    "LoggingDriver": "json-file",
    "DockerRootDir": "/nonexistent/docker",
    "Architecture": "x86_64",
}
VERSION = {"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12"}


def status_word(box: Box) -> str:
    """``State.Status``."""
    if box.running:
        return "running"
    if box.removing:
        return "removing"
    return "exited" if box.starts else "created"


def inspected(box: Box, root: Path) -> dict[str, Any]:
    """``GET /containers/{id}/json``."""
    host = dict(box.body.get("HostConfig") or {})
    config = {key: value for key, value in box.body.items() if key != "HostConfig"}
    return {
        "Id": box.id,
        "Name": f"/{box.name}",
        "Created": stamp(box.created_at),
        "Image": box.image,
        "State": {
            "Status": status_word(box),
            "Running": box.running,
            "Paused": False,
            "Restarting": False,
            "OOMKilled": False,
            "Dead": False,
            "Pid": box.pid,
            "ExitCode": box.exit_code,
            "Error": box.error,
            "StartedAt": stamp(box.started_at),
            "FinishedAt": stamp(box.finished_at),
        },
        "ResolvConfPath": str(root / f"{box.id}.resolv.conf"),
        "LogPath": "" if box.is_sandbox or not box.starts else f"{root}/{box.id}-json.log",
        "Config": {**config, "Labels": box.labels},
        "HostConfig": {"Runtime": "runc", **host},
        "Mounts": [],
        "NetworkSettings": {"Networks": {}},
        "GraphDriver": {"Name": "overlay2", "Data": {"UpperDir": f"{root}/layers/{box.id}"}},
    }


def summary(box: Box) -> dict[str, Any]:
    """One entry of ``GET /containers/json``."""
    return {
        "Id": box.id,
        "Names": [f"/{box.name}"],
        "Image": str(box.body.get("Image")),
        "ImageID": box.image,
        "Created": int(EPOCH_S + box.created_at),
        "Labels": box.labels,
        "State": status_word(box),
        "Status": "",
        "HostConfig": {"NetworkMode": (box.body.get("HostConfig") or {}).get("NetworkMode")},
        "Mounts": [],
    }


def image_document(image: Image) -> dict[str, Any]:
    """``GET /images/{name}/json``."""
    return {
        "Id": image.id,
        "RepoTags": list(image.tags),
        "RepoDigests": [image.digest] if image.digest and image.tags else [],
        "Created": stamp(1.0),
        "Size": 1_000_000,
        "Os": "linux",
        "Architecture": "amd64",
        "Config": {"User": "", "Labels": image.labels, "Env": []},
        "RootFS": {"Type": "layers", "Layers": []},
    }


def image_entry(image: Image) -> dict[str, Any]:
    """One entry of ``GET /images/json``."""
    return {
        "Id": image.id,
        "ParentId": "",
        "RepoTags": list(image.tags) or None,
        "RepoDigests": [image.digest] if image.digest and image.tags else [],
        "Created": int(EPOCH_S),
        "Size": 1_000_000,
        "Labels": image.labels,
        "Containers": -1,
    }
