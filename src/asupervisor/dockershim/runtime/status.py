"""Status, from memory: the last state of the probe and of the network plugin."""

from __future__ import annotations

from dataclasses import asdict
from functools import lru_cache

import orjson

from asupervisor.conditions import NETWORK, RUNTIME, Condition
from asupervisor.dockershim.shim import Shim
from asupervisor.proto import cri
from asupervisor.translate.mounts import RECURSIVE_READ_ONLY_SINCE
from asupervisor.translate.runtimes import takes_recursive_read_only


async def status(shim: Shim, request: cri.StatusRequest) -> bytes:
    """A whole StatusResponse: RuntimeReady and NetworkReady with their reasons, the runtime
    handlers with what they can do.
    """
    answer = _encoded(
        tuple(shim.conditions.get(kind) for kind in (RUNTIME, NETWORK)), _handlers(shim)
    )
    if not request.verbose:
        return answer
    return (
        answer
        + cri.StatusResponse(
            info={"info": orjson.dumps(_details(shim)).decode()}
        ).SerializeToString()
    )


def _handlers(shim: Shim) -> tuple[tuple[str, bool], ...]:
    """Each runtime, and whether it mounts recursively read-only; the default one under the empty
    name too, as kubelet looks it up.
    """
    can = shim.engine.api_version >= RECURSIVE_READ_ONLY_SINCE
    return tuple(
        (name, can and takes_recursive_read_only(shim.engine.info, name))
        for name in ("", *shim.engine.runtimes)
    )


@lru_cache(maxsize=16)
def _encoded(found: tuple[Condition, ...], handlers: tuple[tuple[str, bool], ...]) -> bytes:
    """The answer to a state of the node, which seldom changes; kubelet asks often."""
    conditions = [
        cri.RuntimeCondition(
            type=one.kind, status=one.ready, reason=one.reason, message=one.message
        )
        for one in found
    ]
    return cri.StatusResponse(
        status=cri.RuntimeStatus(conditions=conditions),
        runtime_handlers=[
            cri.RuntimeHandler(
                name=name,
                features=cri.RuntimeHandlerFeatures(
                    recursive_read_only_mounts=recursive_read_only, user_namespaces=False
                ),
            )
            for name, recursive_read_only in handlers
        ],
        features=cri.RuntimeFeatures(
            supplemental_groups_policy=True, user_namespaces_host_network=False, mount_options=False
        ),
    ).SerializeToString()


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
        "conditions": [asdict(condition) for condition in shim.conditions.look()],
        "network": {"plugin": shim.network.name},
        "node": {
            "sandboxes": len(shim.store.sandboxes),
            "containers": len(shim.store.containers),
            "images": len(shim.store.images),
            "resyncs": shim.feed.resyncs,
            "corruptCheckpoints": shim.checkpoints.corrupt,
        },
        "operations": [
            {"key": key, "action": action, "seconds": round(age, 3)}
            for key, action, age in shim.operations.under_way
        ],
    }
