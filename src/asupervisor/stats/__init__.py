"""What containers and pods use, read straight from the kernel: cgroups of both versions, a pod's
interfaces, overlay directories.

The room is told by value what runs (:class:`~asupervisor.stats.subjects.ContainerSubject`) and
never asks the engine."""
