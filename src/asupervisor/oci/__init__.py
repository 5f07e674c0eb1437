"""An OCI runtime that is called before the real one, for settings that the engine has no field for.

Docker Engine writes the OCI document (``config.json`` of the bundle) itself, right before a
container starts. If plugins want something that the engine has no field for, the container gets
this runtime, and the wish is written to a file that only root can write, with the container's id as
its name. On ``create`` this runtime changes the document; every other command is passed on
unchanged.

Nothing of it stays in memory while the container runs: each of its processes executes the real
runtime in its own place."""

RUNTIME = "asupervisor-nri"
"""Its name in the engine's ``runtimes``."""
