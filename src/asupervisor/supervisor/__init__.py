"""The node service as an async context: ``async with Supervisor(Config(…)) as supervisor``.

This package puts the others together; no other package imports it but the command line. Each scope
that it enters needs only those before it, so the order of leaving is a safe order to stop in.
Everything that runs belongs to the context and ends with it, except the containers. What systemd
gives and is told (sockets, readiness, watchdog) is here too."""

from asupervisor.supervisor.supervisor import Supervisor

__all__ = ["Supervisor"]
