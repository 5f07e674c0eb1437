"""Status, from memory: what the probe and the network plugin last knew."""

from __future__ import annotations

import orjson

from asupervisor.dockershim.shim import Shim
from asupervisor.proto import cri
from asupervisor.translate.mounts import RECURSIVE_READ_ONLY_SINCE


async def status(shim: Shim, request: cri.StatusRequest) -> cri.StatusResponse:
    """RuntimeReady and NetworkReady with their reasons, the runtime handlers with what they can do."""
    health, network = shim.engine.health, shim.network.status()
    conditions = [
        cri.RuntimeCondition(
            type="RuntimeReady",
            status=health.ready,
            reason="" if health.ready else health.reason,
            message="" if health.ready else health.message,
        ),
        cri.RuntimeCondition(type="NetworkReady", status=network.ready, reason=network.reason, message=network.message),
    ]
    answer = cri.StatusResponse(
        status=cri.RuntimeStatus(conditions=conditions),
        runtime_handlers=_handlers(shim),
        features=cri.RuntimeFeatures(supplemental_groups_policy=True, user_namespaces_host_network=False, mount_options=False),
    )
    if request.verbose:
        answer.info["info"] = orjson.dumps(_details(shim)).decode()
    return answer


def _handlers(shim: Shim) -> list[cri.RuntimeHandler]:
    """The engine's runtimes; the default one under the empty name too, as kubelet looks it up."""
    features = cri.RuntimeHandlerFeatures(
        recursive_read_only_mounts=shim.engine.api_version >= RECURSIVE_READ_ONLY_SINCE, user_namespaces=False
    )
    return [cri.RuntimeHandler(name=name, features=features) for name in ("", *shim.engine.runtimes)]


def _details(shim: Shim) -> dict[str, object]:
    engine = shim.engine
    return {
        "engine": {
            "endpoint": engine.endpoint,
            "version": engine.version.get("Version", ""),
            "apiVersion": ".".join(map(str, engine.api_version)),
            "cgroupDriver": engine.cgroup_driver,
            "storageDriver": engine.info.get("Driver", ""),
            "dataRoot": engine.info.get("DockerRootDir", ""),
            "oomScoreFloor": engine.oom_floor,
            "readinessChanges": engine.health.changes,
        },
        "network": {"plugin": shim.network.name},
        "node": {
            "sandboxes": len(shim.store.sandboxes),
            "containers": len(shim.store.containers),
            "images": len(shim.store.images),
            "resyncs": shim.feed.resyncs,
            "corruptCheckpoints": shim.checkpoints.corrupt,
        },
        "operations": [{"key": key, "action": action, "seconds": round(age, 3)} for key, action, age in shim.operations.under_way],
    }
