"""Starting a sandbox, and at the same time the pod's network.

An engine answers a start long after the sandbox's first process is in its network namespace. So if
that process can be found meanwhile, the plugin is called for it at once; otherwise it is called
after the start. When the engine has answered, the process is compared with the one that the engine
names: a network that was made for another process is torn down and made anew."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import anyio
import anyio.to_thread

from asupervisor.dockershim.rollback import Rollback
from asupervisor.dockershim.shim import Shim
from asupervisor.engine.endpoint import socket_path
from asupervisor.errors import FailedPrecondition, Internal, InvalidArgument, NotFound, ServiceError
from asupervisor.host.beneath import HeldDirectory
from asupervisor.host.first_process import FirstProcess, find_first_process
from asupervisor.host.netns import HeldNamespace, hold_namespace
from asupervisor.host.processes import network_namespace
from asupervisor.network.plugin import PodNetwork
from asupervisor.node.records import SandboxId, SandboxRecord
from asupervisor.translate.documents import at
from asupervisor.translate.resources import container_cgroup
from asupervisor.translate.sandbox import SandboxPlan

_logger = logging.getLogger(__name__)
_IPV6_LEFT_ALONE_SINCE = (1, 45)
"""Engines of an older API switch IPv6 off in the namespace before they start the process. That
removes the IPv6 addresses of every interface in it.
"""

Addresses = tuple[str, ...]


async def start_sandbox(
    shim: Shim, plan: SandboxPlan, network: PodNetwork, undo: Rollback, held: ExitStack
) -> tuple[SandboxRecord, Addresses | None]:
    """Start a sandbox that was created, with its resolv.conf and its network.

    Args:
        shim: the collaborators.
        plan: what it was created by.
        network: the pod as its plugin is to see it, without a namespace.
        undo: gets the step that tears the network down.
        held: keeps the namespace until then.

    Returns:
        The sandbox as it was read after the start; the pod's addresses, None where it is on the
        host's network.

    Raises:
        ServiceError: it cannot be started, or not be given its network.
    """
    setting_up = _SettingUp(shim, plan, network, undo, held)
    failure: ServiceError | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(setting_up.meanwhile)
        # An error in here must be raised alone, and not in a group.
        try:
            record = await _started(shim, network.sandbox_id, plan, setting_up)
        except ServiceError as error:
            failure = error
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    if plan.checkpoint.host_network:
        return record, None
    addresses = await setting_up.of(record)
    shim.feed.set_addresses(record.id, addresses)
    await shim.on_step("RunPodSandbox.networked")
    return record, addresses


async def _started(
    shim: Shim, sandbox_id: str, plan: SandboxPlan, setting_up: _SettingUp
) -> SandboxRecord:
    try:
        await shim.engine.containers.start(sandbox_id)
    except (Internal, InvalidArgument, NotFound) as error:
        # The sandbox exists, so this error means that it cannot be run as the request has it,
        # although the HTTP status says that the engine failed or that the call is wrong.
        raise FailedPrecondition(f"{plan.subject}: {error.message}", subject=sandbox_id) from error
    setting_up.stop_looking()
    await shim.on_step("RunPodSandbox.started")
    record = await _running(shim, sandbox_id, plan.subject)
    if plan.resolv_conf is not None:
        await anyio.to_thread.run_sync(
            _write_resolv_conf, record.resolv_conf_path, plan.resolv_conf, plan.subject
        )
        await shim.on_step("RunPodSandbox.resolved")
    return record


async def _running(shim: Shim, sandbox_id: str, subject: str) -> SandboxRecord:
    """The sandbox as it is after its start.

    Raises:
        Internal: its process has ended already.
    """
    await shim.feed.refresh(sandbox_id, after="start")
    record = shim.store.sandboxes.get(SandboxId(sandbox_id))
    if record is not None and record.pid:
        return record
    code = at(await shim.engine.containers.inspect(sandbox_id), "State", "ExitCode")
    raise Internal(f"{subject}: the sandbox process ended as soon as it started (exit code {code})")


class _SettingUp:
    """The network of a pod whose sandbox is being started; see :func:`start_sandbox`."""

    def __init__(
        self, shim: Shim, plan: SandboxPlan, network: PodNetwork, undo: Rollback, held: ExitStack
    ) -> None:
        self._shim = shim
        self._plan = plan
        self._network = network
        self._undo = undo
        self._held = held
        self._looking = anyio.CancelScope()
        self._found: FirstProcess | None = None
        self._pod: PodNetwork | None = None
        self._addresses: Addresses = ()
        self._error: ServiceError | None = None

    async def meanwhile(self) -> None:
        """Look for the first process, and set the network up for it."""
        engine, host_config = self._shim.engine, self._plan.body["HostConfig"]
        if socket_path(engine.endpoint) is None or not _may_be_beside(host_config):
            return
        sandbox_id = self._network.sandbox_id
        with self._looking:
            self._found = await find_first_process(
                sandbox_id,
                container_cgroup(host_config["CgroupParent"], engine.cgroup_driver, sandbox_id),
                wait_for_ipv6_off=engine.api_version < _IPV6_LEFT_ALONE_SINCE,
            )
        if self._found is None:
            return
        try:
            await self._set_up(self._found.path, self._found.namespace)
            await self._shim.on_step("RunPodSandbox.attached")
        except ServiceError as error:
            # The start goes on: it is not interrupted, and what was started is removed afterwards.
            self._error = error

    def stop_looking(self) -> None:
        """The engine has answered: its answer names the process."""
        self._looking.cancel()

    async def of(self, record: SandboxRecord) -> Addresses:
        """The pod's addresses, once its sandbox runs.

        Raises:
            ServiceError: it could not be given its network.
        """
        if self._error is not None:
            raise self._error
        namespace = hold_namespace(record.pid, record.id)
        if self._pod is not None and not _is_of(self._found, record, namespace):
            _logger.warning(
                "the network of sandbox %s was made for process %s, which the engine does not"
                " know as its first; it is made anew",
                record.id[:12],
                self._pod.netns,
            )
            await self._tear_down()
            self._pod = None
        if self._pod is None:
            await self._set_up(network_namespace(record.pid, record.id), namespace)
        elif namespace is not None:
            namespace.close()
        return self._addresses

    async def _set_up(self, netns: str, namespace: HeldNamespace | None) -> None:
        if namespace is not None:
            self._held.callback(namespace.close)
        self._pod = replace(self._network, netns=netns, held=namespace)
        self._undo.push("tear down the pod network", self._tear_down)
        self._addresses = await self._shim.network.set_up(self._pod)

    async def _tear_down(self) -> None:
        if self._pod is not None:
            await self._shim.network.tear_down(self._pod)


def _may_be_beside(host_config: Mapping[str, Any]) -> bool:
    """Whether a pod's network may be made before its sandbox's start was answered: the engine makes
    none itself, the process can be recognised, and the runtime makes no settings in its namespace
    that are valid only for interfaces made later, or that change those that exist.

    Args:
        host_config: of the sandbox's container.
    """
    return (
        host_config["NetworkMode"] == "none"
        and host_config.get("PidMode") != "host"
        and not any(name.startswith("net") for name in host_config["Sysctls"])
    )


def _is_of(
    found: FirstProcess | None, record: SandboxRecord, namespace: HeldNamespace | None
) -> bool:
    return (
        found is not None
        and namespace is not None
        and (found.pid, found.namespace.identity) == (record.pid, namespace.identity)
    )


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
