"""Exec, attach and port-forward as Kubernetes clients speak them: SPDY/3.1 and WebSocket, server
and client.

Three layers. Without I/O: ``spdy`` (the protocol), ``channels``, ``negotiation``, ``status``,
``terminal``, ``tokens``. Over a byte stream: ``spdy_session`` and ``channel_session`` (streams for
the two transports), ``http`` and ``websocket``. On top: ``remote_command`` and ``port_forward`` (a
session), ``handler`` and ``server`` (a service), ``client``. The memory that a peer can make this
side use is bounded, and its data is processed in bounded steps."""
