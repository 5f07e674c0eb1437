"""Small steps on sockets."""

from __future__ import annotations

import socket
import struct


def reset(connection: socket.socket) -> None:
    """End a connection in a way that the other side cannot even ask whose it was."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
