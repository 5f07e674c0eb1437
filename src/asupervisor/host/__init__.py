"""What is asked of Linux: paths beneath a directory, whole files, threads for what may hang,
cgroups and facts of processes.

A layer below all that know the engine or the CRI; it imports only the errors. A path that others
may write to is opened beneath a directory that is held, and no link is followed there. A pid is
used only after the kernel was asked whose cgroup it is in."""
