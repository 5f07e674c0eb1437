"""The node service as an async context: ``async with Supervisor(Config(…)) as supervisor``.

This package puts the others together; only the command line imports it. Each scope that it enters
needs only those before it, so it is safe to leave them in reverse order. Everything that runs
belongs to the context and ends with it, except the containers. What concerns systemd (sockets,
readiness, watchdog) is here too."""

from asupervisor.supervisor.supervisor import Supervisor

__all__ = ["Supervisor"]
