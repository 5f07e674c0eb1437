"""What containers and pods use, read straight from the kernel: cgroups of both versions, a pod's
interfaces, overlay directories.

This package is told by value what runs (:class:`~asupervisor.stats.subjects.ContainerSubject`) and
never asks the engine. Files are read in a thread, one reading at a time, and a reading is shared by
all who ask within a moment. Sizes of writable layers are found in the background, at a bounded
share of one core. What cannot be read of one container hides no other."""
