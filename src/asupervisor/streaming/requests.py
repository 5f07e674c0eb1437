"""The CRI's Exec, Attach and PortForward requests as values, which streaming URLs stand for, and
their checks.
"""

from __future__ import annotations

from dataclasses import dataclass

from asupervisor.errors import InvalidArgument


@dataclass(frozen=True, slots=True, kw_only=True)
class _ContainerStreams:
    container_id: str
    tty: bool = False
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True

    def check(self) -> None:
        """Refuse what no client may ask for.

        Raises:
            InvalidArgument: no container, no stream, or stderr of its own with a terminal.
        """
        subject = self.container_id
        if not subject:
            raise InvalidArgument("a container id is needed")
        if self.tty and self.stderr:
            raise InvalidArgument(
                "a terminal has no stderr of its own: tty and stderr exclude each other",
                subject=subject,
            )
        if not (self.stdin or self.stdout or self.stderr):
            raise InvalidArgument("one of stdin, stdout and stderr is needed", subject=subject)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecRequest(_ContainerStreams):
    """Run a command in a container (CRI ExecRequest)."""

    command: tuple[str, ...]

    verb = "exec"

    def check(self) -> None:
        """The same checks as for an attachment, and that there is a command."""
        if not self.command:
            raise InvalidArgument("a command is needed", subject=self.container_id)
        _ContainerStreams.check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachRequest(_ContainerStreams):
    """Join a container's own streams (CRI AttachRequest)."""

    verb = "attach"


@dataclass(frozen=True, slots=True, kw_only=True)
class PortForwardRequest:
    """Connect to ports inside a sandbox (CRI PortForwardRequest).

    ``ports`` are only needed by the WebSocket channel protocols; in SPDY each pair of streams names
    its own."""

    pod_sandbox_id: str
    ports: tuple[int, ...] = ()

    verb = "portforward"

    def check(self) -> None:
        """Refuse what no client may ask for.

        Raises:
            InvalidArgument: no sandbox, or a port out of range.
        """
        if not self.pod_sandbox_id:
            raise InvalidArgument("a pod sandbox id is needed")
        for port in self.ports:
            if not 1 <= port <= 65535:
                raise InvalidArgument(
                    f"port {port} is not between 1 and 65535", subject=self.pod_sandbox_id
                )


Request = ExecRequest | AttachRequest | PortForwardRequest
