"""The pod networks: CNI, kubenet, and the engine's own bridge, behind one interface
(``plugin.py``).

A plugin is told a pod by value and never calls back. It owns the pod's addresses, host ports and
interfaces from the set-up until a tear-down that succeeded, also over restarts of this service.
Programs run with a deadline and bounded output, and are killed with all that they started."""
