"""Between a service and its engine: passes everything on, but for the requests that a test wants
answered otherwise.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path


class EngineProxy:
    """Listens on a unix socket.

    Args:
        path: of its socket.
        engine: path of the engine's.

    Attributes:
        failing: parts of request lines that are answered 500.
        hanging: parts of request lines that are not answered until the proxy ends.
    """

    def __init__(self, path: Path, engine: str) -> None:
        self.path = path
        self._engine = engine
        self.failing: set[str] = set()
        self.hanging: set[str] = set()
        self._ended = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> EngineProxy:
        self._listener.bind(str(self.path))
        self._listener.listen(128)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._listener.close()
        self.path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        engine = socket.socket(socket.AF_UNIX)
        with client, engine, contextlib.suppress(OSError):
            engine.connect(self._engine)
            threading.Thread(target=self._back, args=(engine, client), daemon=True).start()
            while data := client.recv(65536):
                # A request without a body comes as one piece; those are the ones looked at.
                line = data.split(b"\r\n", 1)[0].decode("latin-1")
                if any(part in line for part in self.hanging):
                    self._ended.wait()
                    return
                if any(part in line for part in self.failing):
                    client.sendall(
                        b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json"
                        b'\r\nContent-Length: 20\r\n\r\n{"message":"broken"}'
                    )
                    continue
                engine.sendall(data)

    def _back(self, engine: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := engine.recv(65536):
                client.sendall(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
