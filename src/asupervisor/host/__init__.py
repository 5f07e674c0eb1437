"""What is asked of Linux: paths beneath a directory, whole files, threads for what may hang.

The lowest floor: it knows errors, durations and locks, and no other room. As root we open only
beneath a directory that we hold, follow no link there, and empty nothing that we did not make."""
