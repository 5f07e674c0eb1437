"""The CRI's gRPC server: sockets, health, reflection, and the boundary between bytes and verbs.

``methods.py`` lists every RPC with its verb. Verbs know nothing of this package: they take a shim
and a request, return an answer or raise an error, and the boundary makes bytes and statuses of it.
"""
