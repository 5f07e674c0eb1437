"""What is asked of Linux: paths beneath a directory, whole files, threads for what may hang,
cgroups, processes and mounts.

This layer is below all that know the engine or the CRI; it imports only the errors. A path that
others may write to is opened beneath a held directory, and no link is followed there. A pid is used
only after a look at the cgroup that it is in."""
