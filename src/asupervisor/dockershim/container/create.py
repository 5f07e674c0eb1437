"""CreateContainer."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

import anyio.to_thread

from asupervisor.dockershim.container.cdi import device_environment
from asupervisor.dockershim.container.cgroup_files import cgroup_features
from asupervisor.dockershim.container.host_paths import (
    check_device,
    make_mount_source,
    mount_source,
)
from asupervisor.dockershim.container.shape import create_undoably, shape_container
from asupervisor.dockershim.fields import sandbox_fields
from asupervisor.dockershim.hooks import Plugins, Shape
from asupervisor.dockershim.operations import Ticket
from asupervisor.dockershim.profiles import check_apparmor, read_seccomp
from asupervisor.dockershim.rollback import Rollback
from asupervisor.dockershim.shim import Shim
from asupervisor.errors import FailedPrecondition, InvalidArgument, NotFound
from asupervisor.logs.target import hold_log_directory
from asupervisor.node.records import ImageRecord, SandboxRecord
from asupervisor.proto import cri
from asupervisor.translate.accounts import Answer, Identity, asked_identity
from asupervisor.translate.cgroup_files import cgroup_settings
from asupervisor.translate.container import (
    ContainerPlan,
    OfSandbox,
    Resolved,
    check_container_config,
    container_subject,
    engine_container_name,
    plan_container,
)
from asupervisor.translate.documents import text
from asupervisor.translate.images import check_runnable, check_volumes, image_ref
from asupervisor.translate.logs import engine_log_config
from asupervisor.translate.mounts import IMAGE_MOUNTS_SINCE
from asupervisor.translate.namespaces import needs_host_users

_logger = logging.getLogger(__name__)


async def create_container(
    shim: Shim, request: cri.CreateContainerRequest
) -> cri.CreateContainerResponse:
    """Create a container in a sandbox; a retry of the same container and attempt joins the one
    under way.

    Raises:
        InvalidArgument, NotFound, FailedPrecondition: the config asks for something impossible.
    """
    check_container_config(request.config, request.sandbox_config)
    subject = container_subject(request.config, request.sandbox_config.metadata)
    shim.engine.health.require("create a container", subject)
    sandbox = _ready(shim, request.pod_sandbox_id, subject)
    # The name is made from the sandbox's metadata, not the request's: crictl makes up a new uid
    # each time that it reads a config without one, and a container with another pod's name would
    # count as that pod's.
    name = engine_container_name(request.config, sandbox.status.metadata)
    subject = container_subject(request.config, sandbox.status.metadata)
    work = partial(_create, shim, request, sandbox.id, subject)
    return cri.CreateContainerResponse(
        container_id=await shim.operations.run_within((sandbox.id,), name, "CreateContainer", work)
    )


def _ready(shim: Shim, sandbox_id: str, subject: str) -> SandboxRecord:
    sandbox = shim.store.sandbox(sandbox_id)
    if not sandbox.ready:
        raise FailedPrecondition(
            f"{subject}: sandbox {sandbox.id[:12]} is not ready", subject=sandbox.id
        )
    return sandbox


async def _create(
    shim: Shim,
    request: cri.CreateContainerRequest,
    sandbox_id: str,
    subject: str,
    ticket: Ticket,
) -> str:
    plan = await _plan(shim, request, sandbox_id, subject, None)
    ticket.commit()
    container_id = await _make(shim, plan, partial(_plan, shim, request, sandbox_id, subject))
    _logger.info(
        "created %s as %s",
        subject,
        container_id[:12],
        extra={
            **sandbox_fields(shim.store.sandbox(sandbox_id)),
            "container": container_id,
        },
    )
    return container_id


async def _plan(
    shim: Shim,
    request: cri.CreateContainerRequest,
    sandbox_id: str,
    subject: str,
    shape: Shape | None,
) -> ContainerPlan:
    """A container as it is asked for, and as plugins want it."""
    if shape is not None:
        request = shape.request(request)
        check_container_config(request.config, request.sandbox_config)
    sandbox = _ready(shim, sandbox_id, subject)
    found, missing = await _resolve(shim, request, sandbox, subject)
    security = request.config.linux.security_context
    remapped = shim.engine.has_security("userns")
    of_sandbox = OfSandbox(
        sandbox_id=sandbox.id,
        pod=sandbox.status.metadata,
        runtime=sandbox.runtime,
        on_host_network=sandbox.host_network,
        host_users=remapped
        and (
            sandbox.host_users or needs_host_users(security.namespace_options, security.privileged)
        ),
        log_config=engine_log_config(sandbox.log_config, shim.config.container_log_format),
    )
    facts = shim.engine.facts(shim.config.runtime_annotations)
    profile = await read_seccomp(shim.lanes.host_paths, security, subject)
    plan = plan_container(request, of_sandbox, found, facts, profile)
    if shape is not None:
        plan = replace(plan, body=shape.body(plan.body))
    await check_apparmor(plan.body["HostConfig"]["SecurityOpt"], shim.engine.endpoint, subject)
    # Last, so that a request that is refused leaves no directory behind.
    for path in missing:
        await shim.lanes.host_paths.run(path, make_mount_source, path, subject)
    _ready(shim, sandbox_id, subject)
    return plan


async def _make(
    shim: Shim, plan: ContainerPlan, replan: Callable[[Shape], Awaitable[ContainerPlan]]
) -> str:
    async with AsyncExitStack() as shown:
        plugins = await shown.enter_async_context(shim.hooks.section())
        shaping = plugins if plugins is not None and plugins.shapes else None
        if shaping is not None:
            # The container is hidden until the plugins have agreed.
            shown.enter_context(shim.store.concealing(plan.name))
        container_id = await _made(shim, plan, shaping, replan)
        if plugins is not None:
            await plugins.created(container_id)
    return container_id


async def _made(
    shim: Shim,
    plan: ContainerPlan,
    plugins: Plugins | None,
    replan: Callable[[Shape], Awaitable[ContainerPlan]],
) -> str:
    async with Rollback("CreateContainer", plan.subject) as undo:
        container_id = await create_undoably(shim, plan.name, plan.body, undo)
        await shim.on_step("CreateContainer.created")
        if plugins is not None:
            container_id = await shape_container(shim, plugins, plan, replan, container_id, undo)
        if path := plan.log_path:
            await shim.lanes.log_files.run(path, _make_log_directory, path, plan.subject)
        await shim.on_step("CreateContainer.logged")
        await shim.feed.refresh(container_id, after="create" if plugins is None else "")
        if shim.store.absent(container_id):
            raise FailedPrecondition(
                f"{plan.subject}: container {container_id[:12]} was removed while it was made",
                subject=container_id,
            )
    return container_id


async def _resolve(
    shim: Shim, request: cri.CreateContainerRequest, sandbox: SandboxRecord, subject: str
) -> tuple[Resolved, list[str]]:
    """What the request's names stand for, and the host paths that are still to be made."""
    config = request.config
    image = shim.store.usable_image(config.image.image)
    if image is None:
        raise NotFound(
            f"{subject}: image {config.image.image} is not on this node", subject=config.image.image
        )
    check_runnable(image.config_bytes, image.id, subject)
    check_volumes(image.document, subject)
    security = config.linux.security_context
    if security.privileged and not request.sandbox_config.linux.security_context.privileged:
        # Compared with the request's sandbox_config, since the sandbox may be older than the pod's
        # first privileged container.
        raise InvalidArgument(
            f"{subject}: a privileged container needs a sandbox_config that is privileged"
        )
    mounts, missing = await _resolve_mounts(shim, config, subject)
    features = await anyio.to_thread.run_sync(cgroup_features, shim.engine.endpoint)
    identity = await _identity(shim, security, image, subject)
    found = Resolved(
        image_id=image.id,
        image_ref=image_ref(image.id, image.image.repo_digests),
        mounts=mounts,
        target_id=_target(shim, sandbox, security.namespace_options, subject),
        identity=identity,
        cgroup=cgroup_settings(config.linux.resources, features, subject),
        environment=await device_environment(shim, config, subject),
    )
    return found, missing


async def _identity(
    shim: Shim, security: cri.LinuxContainerSecurityContext, image: ImageRecord, subject: str
) -> Identity:
    """The user and groups that the engine is told; the image's files are read only where the engine
    cannot find out itself.
    """
    asked = asked_identity(
        security, text(image.document, "Config", "User"), shim.image_files.at_hand(image), subject
    )
    answer = Answer()
    if asked.question is not None:
        try:
            answer = await shim.image_files.answer(image, asked.question)
        except (InvalidArgument, FailedPrecondition) as error:
            raise type(error)(f"{subject}: {error.message}", subject=image.id) from error
    return asked.identity(answer)


def _target(shim: Shim, sandbox: SandboxRecord, options: cri.NamespaceOption, subject: str) -> str:
    """The container whose pid namespace is joined; it must be of the same sandbox."""
    if options.pid != cri.TARGET or not options.target_id:
        return ""
    target = shim.store.container(options.target_id)
    if target.sandbox_id != sandbox.id:
        raise InvalidArgument(
            f"{subject}: target container {target.id[:12]} is not in the same sandbox",
            subject=target.id,
        )
    if not target.running:
        raise FailedPrecondition(
            f"{subject}: target container {target.id[:12]} does not run, so it has no pid"
            " namespace",
            subject=target.id,
        )
    return target.id


async def _resolve_mounts(
    shim: Shim, config: cri.ContainerConfig, subject: str
) -> tuple[list[cri.Mount], list[str]]:
    """The mounts as the engine is to get them, and the host paths that are missing. Any host path,
    of a device too, may be on a file system that hangs.
    """
    look = shim.lanes.host_paths
    mounts, missing = [], []
    for asked in config.mounts:
        mount = cri.Mount()
        mount.CopyFrom(asked)
        mounts.append(mount)
        if mount.image.image:
            # By its id from here on: its tag may move before the start.
            image = shim.store.usable_image(mount.image.image)
            where = f"{subject}: mount {mount.container_path}"
            if image is None:
                raise NotFound(
                    f"{where}: image {mount.image.image} is not on this node",
                    subject=mount.image.image,
                )
            mount.image.image = image.id
            await _check_image_path(shim, image, mount.image_sub_path, where)
        if mount.host_path:
            mount.host_path, there = await look.run(
                mount.host_path, mount_source, mount.host_path, subject
            )
            if not there:
                missing.append(mount.host_path)
    for device in config.devices:
        await look.run(device.host_path, check_device, device.host_path, subject)
    return mounts, missing


async def _check_image_path(shim: Shim, image: ImageRecord, path: str, where: str) -> None:
    """Without this check a path that an image does not have would be noticed only at the start."""
    if shim.engine.api_version < IMAGE_MOUNTS_SINCE:
        return
    # The engine itself refuses a path that leads out of the image.
    if not path or path.startswith("/") or ".." in path.split("/"):
        return
    if not await shim.image_files.has_path(image, f"/{path}"):
        raise NotFound(f'{where}: the image has no path "{path}"', subject=image.id)


def _make_log_directory(path: str, subject: str) -> None:
    try:
        hold_log_directory(path, make=True)[0].close()
    except OSError as error:
        raise FailedPrecondition(
            f"{subject}: the log directory of {path} cannot be made: {error}"
        ) from error
