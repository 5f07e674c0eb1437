"""RunPodSandbox: create → checkpoint → start, at the same time the network → resolv.conf →
checkpoint complete. Each step is undone if a later one fails.
"""

from __future__ import annotations

import contextlib
import logging
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace

from asupervisor.dockershim.fields import pod_fields
from asupervisor.dockershim.naming import create_named
from asupervisor.dockershim.profiles import check_apparmor, read_seccomp
from asupervisor.dockershim.rollback import Rollback
from asupervisor.dockershim.sandbox.network import pod_network
from asupervisor.dockershim.sandbox.start import start_sandbox
from asupervisor.dockershim.shim import Shim
from asupervisor.errors import FailedPrecondition, InvalidArgument, Unavailable
from asupervisor.network.plugin import PodNetwork
from asupervisor.node.networks import MADE_FOR
from asupervisor.node.records import SandboxId
from asupervisor.proto import cri
from asupervisor.translate.sandbox import (
    DEFAULT_HANDLERS,
    SandboxPlan,
    check_sandbox_config,
    plan_sandbox,
    pod_subject,
    sandbox_name,
)

_logger = logging.getLogger(__name__)


async def run_pod_sandbox(
    shim: Shim, request: cri.RunPodSandboxRequest
) -> cri.RunPodSandboxResponse:
    """Run a sandbox; a retry of the same pod and attempt joins the run under way."""
    check_sandbox_config(request.config)
    handler = request.runtime_handler
    shim.engine.health.require("run a pod sandbox", pod_subject(request.config.metadata))
    if handler not in DEFAULT_HANDLERS and handler not in shim.engine.runtimes:
        known = ", ".join(shim.engine.runtimes)
        raise InvalidArgument(
            f'{pod_subject(request.config.metadata)}: runtime handler "{handler}" is not one of the'
            f" engine's runtimes ({known})"
        )
    name = sandbox_name(request.config.metadata)

    async def work() -> str:
        sandbox_id = await _run(shim, request)
        metadata = request.config.metadata
        _logger.info(
            "%s runs as sandbox %s",
            pod_subject(metadata),
            sandbox_id[:12],
            extra=pod_fields(metadata, sandbox_id),
        )
        return sandbox_id

    return cri.RunPodSandboxResponse(
        pod_sandbox_id=await shim.operations.run(name, "RunPodSandbox", work)
    )


async def _run(shim: Shim, request: cri.RunPodSandboxRequest) -> str:
    config = request.config
    plan = plan_sandbox(
        request,
        image=await shim.pause.ensure(),
        engine_network_mode=shim.network.engine_network_mode,
        publish_ports=shim.network.engine_publishes_ports,
        facts=shim.engine.facts(shim.config.runtime_annotations),
        profile=await read_seccomp(
            shim.lanes.host_paths,
            config.linux.security_context,
            pod_subject(config.metadata),
        ),
    )
    await check_apparmor(plan.body["HostConfig"]["SecurityOpt"], shim.engine.endpoint, plan.subject)
    network = pod_network("", config, netns="")
    if not plan.checkpoint.host_network:
        shim.network.check(network)
    # Around the rollback, which needs the namespace to release the network.
    with ExitStack() as held:
        return await _make(shim, plan, network, held)


async def _make(shim: Shim, plan: SandboxPlan, network: PodNetwork, held: ExitStack) -> str:
    subject, checkpoint = plan.subject, plan.checkpoint
    async with AsyncExitStack() as shown, Rollback("RunPodSandbox", subject) as undo:
        if shim.hooks.plugins:
            # The pod is hidden until the plugins have agreed.
            shown.enter_context(shim.store.concealing(plan.name))
        sandbox_id = await create_named(shim, plan.name, plan.body)
        # Pushed first, so undone last: while the checkpoint is there, what could not be undone
        # stays visible and can be stopped again.
        undo.push("remove the checkpoint", lambda: _forget(shim, sandbox_id), only_if_clean=True)
        undo.push("show the sandbox as it is", lambda: _refresh(shim, sandbox_id))
        undo.push(
            "remove the sandbox container",
            lambda: shim.engine.containers.remove(sandbox_id, force=True),
        )
        await shim.on_step("RunPodSandbox.created")
        await shim.checkpoints.write(sandbox_id, checkpoint)
        await shim.on_step("RunPodSandbox.checkpointed")
        network = replace(network, sandbox_id=sandbox_id)
        record, addresses = await start_sandbox(shim, plan, network, undo, held)
        if addresses is not None:
            extra = {**checkpoint.extra, MADE_FOR: record.started}
            checkpoint = replace(checkpoint, addresses=addresses, extra=extra)
        if plugins := await shown.enter_async_context(shim.hooks.section()):
            undo.push("tell the plugins", lambda: _tell_gone(shim, sandbox_id))
            await plugins.run_pod(sandbox_id, addresses or ())
        await shim.checkpoints.write(sandbox_id, replace(checkpoint, complete=True))
        undo.push(
            "mark the sandbox as incomplete", lambda: shim.checkpoints.write(sandbox_id, checkpoint)
        )
        await shim.on_step("RunPodSandbox.completed")
        now = shim.store.sandboxes.get(SandboxId(sandbox_id))
        if now is None or not now.pid or now.started != record.started:
            raise FailedPrecondition(
                f"{subject}: the process of sandbox {sandbox_id[:12]} ended, or was started again,"
                " while the sandbox was made",
                subject=sandbox_id,
            )
        shim.feed.complete(sandbox_id)
    return sandbox_id


async def _refresh(shim: Shim, sandbox_id: str) -> None:
    with contextlib.suppress(Unavailable):
        await shim.feed.refresh(sandbox_id)


async def _tell_gone(shim: Shim, sandbox_id: str) -> None:
    await (await shim.hooks.pod_leaves(sandbox_id))()


async def _forget(shim: Shim, sandbox_id: str) -> None:
    await shim.checkpoints.remove(sandbox_id)
    shim.feed.forget(sandbox_id)
