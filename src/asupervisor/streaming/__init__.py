"""Exec, attach and port-forward as Kubernetes clients speak them: SPDY/3.1 and WebSocket, server
and client.

Three layers. Without I/O: ``spdy`` (the protocol), ``channels``, ``negotiation``, ``status``,
``terminal``, ``tokens``. Over a byte stream: ``multiplex`` and ``channelsession`` (streams for the
two transports), ``http`` and ``websocket``. On top: ``remotecommand`` and ``portforward`` (a
session), ``handler`` and ``server`` (a service), ``client``."""
