"""One client of every CRI server: for programs, and for this package's own command line.

    async with Client.connect() as client:
        async with client.pod("example.test/app:1", ["app", "--once"]) as pod:
            ended = await pod.wait()

What is given and returned is plain values (:mod:`asupervisor.client.values`) with their units in
their names, and no protobuf; ``raw`` of a value is the server's own message. Errors are those of
:mod:`asupervisor.errors`. What a block made, it removes, also when it is cancelled; an error says
what could not be removed. Nothing goes on after the end of the client's block.

The names of ``__all__`` are stable. Each is imported when it is first used, so that the command
line starts fast."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asupervisor.client.client import Client
    from asupervisor.client.containers import Container
    from asupervisor.client.endpoint import Settings, find_settings
    from asupervisor.client.logs import LogLine
    from asupervisor.client.plan import Mount, PodOptions, Resources
    from asupervisor.client.pods import Pod
    from asupervisor.client.tunnel import PortStream, Tunnel
    from asupervisor.client.values import (
        Completed,
        ContainerInfo,
        Event,
        ImageInfo,
        Layer,
        PodInfo,
        Pruned,
        State,
        Usage,
    )

__all__ = [
    "Client",
    "Completed",
    "Container",
    "ContainerInfo",
    "Event",
    "ImageInfo",
    "Layer",
    "LogLine",
    "Mount",
    "Pod",
    "PodInfo",
    "PodOptions",
    "PortStream",
    "Pruned",
    "Resources",
    "Settings",
    "State",
    "Tunnel",
    "Usage",
    "find_settings",
]

_MODULES = {
    "Client": "client",
    "Container": "containers",
    **dict.fromkeys(("Settings", "find_settings"), "endpoint"),
    "LogLine": "logs",
    **dict.fromkeys(("Mount", "PodOptions", "Resources"), "plan"),
    "Pod": "pods",
    **dict.fromkeys(("PortStream", "Tunnel"), "tunnel"),
    **dict.fromkeys(("Completed", "ContainerInfo", "Event", "ImageInfo", "Layer"), "values"),
    **dict.fromkeys(("PodInfo", "Pruned", "State", "Usage"), "values"),
}


def __getattr__(name: str) -> object:
    """A public name, from the module that has it (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
