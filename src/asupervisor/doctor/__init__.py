"""What is wrong with this node, and what to do about it: one small function for each check, all of
them in :data:`~asupervisor.doctor.checks.CHECKS`.

A check only reads and asks; it changes nothing on the node. What it reads is bounded, and if
something hangs, only the check's own line is missing."""
