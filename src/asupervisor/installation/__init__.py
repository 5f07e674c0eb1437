"""What a machine gets when the service is installed: unit and socket, settings, manual, completion.

The Debian package and ``asupervisor install`` put the same files in place, from here. No step ends
a pod: the service leaves its pods running when it stops. Settings that the administrator wrote are
neither overwritten nor removed. :mod:`~asupervisor.installation.files` only gives texts; only
:mod:`~asupervisor.installation.machine` writes files and calls systemd."""
