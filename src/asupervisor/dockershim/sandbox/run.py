"""RunPodSandbox: create → checkpoint → start → resolv.conf → network → checkpoint complete; every
step undone if a later one fails.
"""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import replace

import anyio.to_thread

from asupervisor.dockershim.fields import pod_fields
from asupervisor.dockershim.naming import create_named
from asupervisor.dockershim.profiles import check_apparmor, read_profile
from asupervisor.dockershim.rollback import Rollback
from asupervisor.dockershim.sandbox.network import pod_network
from asupervisor.dockershim.shim import Shim
from asupervisor.errors import FailedPrecondition, Internal, InvalidArgument, NotFound, Unavailable
from asupervisor.host.beneath import HeldDirectory
from asupervisor.host.processes import network_namespace
from asupervisor.node.networks import MADE_FOR
from asupervisor.node.records import SandboxId, SandboxRecord
from asupervisor.proto import cri
from asupervisor.translate.sandbox import (
    DEFAULT_HANDLERS,
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
        read_profile=read_profile,
    )
    subject, checkpoint = plan.subject, plan.checkpoint
    await anyio.to_thread.run_sync(
        check_apparmor, plan.body["HostConfig"]["SecurityOpt"], shim.engine.endpoint, subject
    )
    if not checkpoint.host_network:
        shim.network.check(pod_network("", config, netns=""))
    async with Rollback("RunPodSandbox", subject) as undo:
        sandbox_id = await create_named(shim, plan.name, plan.body)
        # Pushed first, so undone last: as long as it is there, what could not be undone stays
        # visible and can be stopped again.
        undo.push("remove the checkpoint", lambda: _forget(shim, sandbox_id), only_if_clean=True)
        undo.push("show the sandbox as it is", lambda: _refresh(shim, sandbox_id))
        undo.push(
            "remove the sandbox container",
            lambda: shim.engine.containers.remove(sandbox_id, force=True),
        )
        await shim.on_step("RunPodSandbox.created")
        await shim.checkpoints.write(sandbox_id, checkpoint)
        await shim.on_step("RunPodSandbox.checkpointed")
        try:
            await shim.engine.containers.start(sandbox_id)
        except (Internal, InvalidArgument, NotFound) as error:
            # The sandbox is there; what the engine blames on itself or on us is that it cannot be
            # run as the request has it.
            raise FailedPrecondition(
                f"{subject}: {error.message}", operation="RunPodSandbox", subject=sandbox_id
            ) from error
        await shim.on_step("RunPodSandbox.started")
        record = await _running(shim, sandbox_id, subject)
        if plan.resolv_conf is not None:
            await anyio.to_thread.run_sync(
                _write_resolv_conf, record.resolv_conf_path, plan.resolv_conf, subject
            )
            await shim.on_step("RunPodSandbox.resolved")
        if not checkpoint.host_network:
            network = pod_network(
                sandbox_id, config, netns=network_namespace(record.pid, record.id)
            )
            undo.push("tear down the pod network", lambda: shim.network.tear_down(network))
            addresses = await shim.network.set_up(network)
            shim.feed.set_addresses(sandbox_id, addresses)
            extra = {**checkpoint.extra, MADE_FOR: record.started}
            checkpoint = replace(checkpoint, addresses=addresses, extra=extra)
            await shim.on_step("RunPodSandbox.networked")
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
                operation="RunPodSandbox",
                subject=sandbox_id,
            )
        shim.feed.complete(sandbox_id)
    return sandbox_id


async def _running(shim: Shim, sandbox_id: str, subject: str) -> SandboxRecord:
    """The sandbox as it is after its start.

    Raises:
        Internal: its process has ended already.
    """
    await shim.feed.refresh(sandbox_id, after="start")
    record = shim.store.sandboxes.get(SandboxId(sandbox_id))
    if record is not None and record.pid:
        return record
    state = (await shim.engine.containers.inspect(sandbox_id))["State"]
    raise Internal(
        f"{subject}: the sandbox process ended as soon as it started (exit code"
        f" {state.get('ExitCode')})"
    )


async def _refresh(shim: Shim, sandbox_id: str) -> None:
    with contextlib.suppress(Unavailable):
        await shim.feed.refresh(sandbox_id)


async def _forget(shim: Shim, sandbox_id: str) -> None:
    await shim.checkpoints.remove(sandbox_id)
    shim.feed.forget(sandbox_id)


def _write_resolv_conf(path: str, content: str, subject: str) -> None:
    try:
        # In place, not by a rename: the file is bind-mounted into the containers.
        directory, _, name = path.rpartition("/")
        with (
            HeldDirectory.at(directory) as held,
            os.fdopen(held.open(name, os.O_RDWR), "r+b") as file,
        ):
            file.write(content.encode())
            file.truncate()
    except OSError as error:
        raise FailedPrecondition(
            f"{subject}: the pod's resolv.conf {path} cannot be written: {error}"
        ) from error
