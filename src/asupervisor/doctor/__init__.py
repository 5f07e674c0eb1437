"""What is wrong with this node, and what to do about it: one small function for each check, all of
them in :data:`~asupervisor.doctor.checks.CHECKS`.

A check reads and asks; it changes nothing on the node. What it reads is bounded, and what hangs
costs its own line only."""
