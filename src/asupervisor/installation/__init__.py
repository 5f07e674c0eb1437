"""What a machine gets when the service is installed: unit and socket, settings, manual, completion.

The Debian package and ``asupervisor install`` lay down the same files, from here. Nothing of it
ends a pod: the service leaves its pods running when it stops. Settings that the administrator wrote
are neither overwritten nor removed. :mod:`~asupervisor.installation.files` touches nothing;
:mod:`~asupervisor.installation.machine` alone writes, and speaks to systemd."""
