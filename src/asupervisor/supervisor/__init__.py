"""The node service as an async context: ``async with Supervisor(Config(…)) as supervisor``."""

from asupervisor.supervisor.supervisor import Supervisor

__all__ = ["Supervisor"]
