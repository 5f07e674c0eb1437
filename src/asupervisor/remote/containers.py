"""The RuntimeService's calls for containers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress

from asupervisor.errors import Unimplemented
from asupervisor.proto import cri
from asupervisor.remote.service import RemoteService, collected


class ContainerCalls(RemoteService):
    """Calls for containers. ``proto/runtime/v1/api.proto`` says what each RPC means."""

    async def create_container(
        self, pod_sandbox_id: str, config: cri.ContainerConfig, sandbox_config: cri.PodSandboxConfig
    ) -> str:
        """Make a container and return its id. ``sandbox_config``: as it was given to
        :meth:`run_pod_sandbox`.
        """
        request = cri.CreateContainerRequest(
            pod_sandbox_id=pod_sandbox_id, config=config, sandbox_config=sandbox_config
        )
        answer = await self._call("CreateContainer", request, cri.CreateContainerResponse)
        return answer.container_id

    async def start_container(self, container_id: str) -> None:
        """Start a created container."""
        request = cri.StartContainerRequest(container_id=container_id)
        await self._call("StartContainer", request, cri.StartContainerResponse)

    async def stop_container(self, container_id: str, grace_s: int = 0) -> None:
        """Stop a container: its stop signal, SIGKILL after ``grace_s`` seconds. One that has ended
        or is gone is a success.

        The deadline is the grace and the request timeout after it.
        """
        request = cri.StopContainerRequest(container_id=container_id, timeout=grace_s)
        await self._call("StopContainer", request, cri.StopContainerResponse)

    async def remove_container(self, container_id: str) -> None:
        """Remove a container, by force if it runs; one that is gone is a success."""
        request = cri.RemoveContainerRequest(container_id=container_id)
        await self._call("RemoveContainer", request, cri.RemoveContainerResponse)

    async def list_containers(
        self, filter: cri.ContainerFilter | None = None, *, stream: bool = False
    ) -> list[cri.Container]:
        """Containers that match; ``stream`` asks for them in pieces where the server can, for
        answers beyond 16 MiB.
        """
        if stream and self._has("StreamContainers"):
            with suppress(Unimplemented):
                return await collected(self.stream_containers(filter))
        request = cri.ListContainersRequest(filter=filter)
        answer = await self._call("ListContainers", request, cri.ListContainersResponse)
        return list(answer.containers)

    def stream_containers(
        self, filter: cri.ContainerFilter | None = None
    ) -> AsyncGenerator[cri.Container, None]:
        """Containers that match, as they come in."""
        return self._stream(
            "StreamContainers",
            cri.StreamContainersRequest(filter=filter),
            cri.StreamContainersResponse,
            lambda piece: piece.containers,
        )

    async def container_status(
        self, container_id: str, verbose: bool = False
    ) -> cri.ContainerStatusResponse:
        """One container's status; ``verbose`` fills ``info``.

        Raises:
            NotFound: there is no such container.
        """
        request = cri.ContainerStatusRequest(container_id=container_id, verbose=verbose)
        return await self._call("ContainerStatus", request, cri.ContainerStatusResponse)

    async def update_container_resources(
        self,
        container_id: str,
        linux: cri.LinuxContainerResources | None = None,
        windows: cri.WindowsContainerResources | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        """Change a container's limits in place; a limit of zero is not changed."""
        request = cri.UpdateContainerResourcesRequest(
            container_id=container_id, linux=linux, windows=windows, annotations=annotations or {}
        )
        await self._call("UpdateContainerResources", request, cri.UpdateContainerResourcesResponse)

    async def reopen_container_log(self, container_id: str) -> None:
        """Have the server open a new log file, after the old one was moved away."""
        request = cri.ReopenContainerLogRequest(container_id=container_id)
        await self._call("ReopenContainerLog", request, cri.ReopenContainerLogResponse)

    async def exec_sync(
        self, container_id: str, cmd: Sequence[str], exec_timeout_s: int = 0
    ) -> cri.ExecSyncResponse:
        """Run a command to its end and return its output and exit code; any exit code is a success
        of the call.

        Args:
            container_id: a running container.
            cmd: program and arguments, without a shell.
            exec_timeout_s: whole seconds after which the server kills it. The call's deadline is
                this and the request timeout after it; with 0 it has none.

        Raises:
            DeadlineExceeded: the command ran longer than that.
        """
        request = cri.ExecSyncRequest(container_id=container_id, cmd=cmd, timeout=exec_timeout_s)
        return await self._call("ExecSync", request, cri.ExecSyncResponse)

    async def exec(
        self,
        container_id: str,
        cmd: Sequence[str],
        *,
        tty: bool = False,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,
    ) -> str:
        """Prepare a streamed command and return the URL where it runs. With ``tty``, ``stderr``
        must be False.
        """
        request = cri.ExecRequest(
            container_id=container_id, cmd=cmd, tty=tty, stdin=stdin, stdout=stdout, stderr=stderr
        )
        return (await self._call("Exec", request, cri.ExecResponse)).url

    async def attach(
        self,
        container_id: str,
        *,
        tty: bool = False,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,
    ) -> str:
        """Prepare a stream to the container's main process and return its URL. ``tty``: as the
        container was made.
        """
        request = cri.AttachRequest(
            container_id=container_id, tty=tty, stdin=stdin, stdout=stdout, stderr=stderr
        )
        return (await self._call("Attach", request, cri.AttachResponse)).url

    async def checkpoint_container(
        self, container_id: str, location: str, checkpoint_timeout_s: int = 0
    ) -> None:
        """Write the container's state to the archive ``location`` on the server's node.

        ``checkpoint_timeout_s``: whole seconds for the server, 0 for its own choice; the request
        timeout comes on top."""
        request = cri.CheckpointContainerRequest(
            container_id=container_id, location=location, timeout=checkpoint_timeout_s
        )
        await self._call("CheckpointContainer", request, cri.CheckpointContainerResponse)

    def get_container_events(self) -> AsyncGenerator[cri.ContainerEventResponse, None]:
        """Events of every container from now on. No deadline: leave the iteration, or be cancelled,
        to end it.

        Raises:
            Unavailable: the server went away; events may be missed until a new call.
        """
        return self._stream(
            "GetContainerEvents",
            cri.GetEventsRequest(),
            cri.ContainerEventResponse,
            lambda event: (event,),
        )
