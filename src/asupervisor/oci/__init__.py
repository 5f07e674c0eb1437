"""An OCI runtime that stands before the real one, for what only an OCI runtime's document carries.

Docker Engine writes that document (``config.json`` of the bundle) itself, right before a container
starts. Where plugins want something that the engine has no field for, the container gets this
runtime, and what they want is left in a file that only root can write, named by the container's
id. On ``create`` the document is changed; every other command passes on as it is.

Nothing of it stays in memory while the container runs: each process becomes the real runtime's
(exec)."""

RUNTIME = "asupervisor-nri"
"""Its name in the engine's ``runtimes``."""
