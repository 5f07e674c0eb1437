"""The node service between Kubernetes and Docker Engine.

``from asupervisor import Supervisor, Config`` is the way to embed it. Public are the names in the
``__all__`` of this package, :mod:`asupervisor.client`, :mod:`asupervisor.config`,
:mod:`asupervisor.errors`, :mod:`asupervisor.proto`, :mod:`asupervisor.remote` and
:mod:`asupervisor.streaming.client`; everything else may change with any version.

Names are imported when they are first used: ``import asupervisor`` alone imports nothing else, and
grpc reads its environment only after a program had the time to set it."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asupervisor.config import Config
    from asupervisor.supervisor import Supervisor

__all__ = ["Config", "Supervisor", "__version__"]

__version__ = "0.1.0"

_MODULES = {"Config": "asupervisor.config", "Supervisor": "asupervisor.supervisor"}


def __getattr__(name: str) -> object:
    """A public name, from the module that has it (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
