"""The CRI over Docker Engine: one file for each RPC, and in ``rpc`` the server that calls them.

A verb is a function of a :class:`~asupervisor.dockershim.shim.Shim` and a request; it keeps no
state. Reads are answered from the node state and do not ask the engine, except for what verbose
answers add. Changes run as keyed operations that outlive their caller, and a creation that fails
undoes its steps. Errors become gRPC statuses once, in ``rpc/boundary.py``."""
