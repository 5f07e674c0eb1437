"""The CRI over Docker Engine: the gRPC server, the RPC boundary, and one file for each RPC.

A verb is a function of a :class:`~asupervisor.dockershim.shim.Shim` and a request; it keeps no
state. Reads are answered from the node state and do not ask the engine, except for what verbose
answers add. Changes run as keyed operations that outlive their caller, and a creation that fails
undoes its steps. Errors become gRPC statuses once, in ``boundary.py``."""
