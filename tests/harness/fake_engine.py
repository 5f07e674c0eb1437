"""An engine at the wire: HTTP on a unix socket, for answers that no real engine can be brought to
give on demand.
"""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Generator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

Answer = tuple[int, Any]
"""HTTP status, and an object to send as JSON, bytes to send as they are, or a generator of chunks
to send as they come.
"""


class FakeEngine:
    """Answers what its fields say; a test changes them while it runs.

    Args:
        path: of the socket.
        api_version: as ``/version`` tells it.

    Attributes:
        containers: inspect documents by id.
        images: documents that serve as list entry and as inspect document.
        answers: overrides by ``METHOD path`` (below the version): called in the request's own
            thread, so it may block.
        requests: every request so far, as ``METHOD path``.
        queries: their query strings.
    """

    def __init__(self, path: Path, api_version: str = "1.41") -> None:
        self.path = path
        self.endpoint = f"unix://{path}"
        self.version: Any = {"Version": "20.10.0", "ApiVersion": api_version}
        self.info: dict[str, Any] = {
            "CgroupDriver": "systemd",
            "Runtimes": {"runc": {}},
            "Driver": "overlay2",
        }
        self.containers: dict[str, dict[str, Any]] = {}
        self.images: list[dict[str, Any]] = []
        self.answers: dict[str, Callable[[], Answer]] = {}
        self.requests: list[str] = []
        self.queries: list[str] = []
        self._streams: list[Any] = []
        self._closing = threading.Event()
        self._changed = threading.Condition()
        self._server: socketserver.ThreadingUnixStreamServer | None = None

    def start(self) -> FakeEngine:
        """Listen."""
        engine = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                engine._serve(self, "GET")

            def do_POST(self) -> None:
                engine._serve(self, "POST")

            def do_DELETE(self) -> None:
                engine._serve(self, "DELETE")

            def log_message(self, format: str, *args: Any) -> None:
                return

            def address_string(self) -> str:
                return "test"

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 1024

            def handle_error(self, request: Any, client_address: Any) -> None:
                return

        self._closing.clear()
        self._server = Server(str(self.path), Handler)
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()
        return self

    def stop(self) -> None:
        """Close the socket and end every event stream, as a daemon that ends."""
        assert self._server is not None
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self.path.unlink(missing_ok=True)
        self._server = None

    def __enter__(self) -> FakeEngine:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self.stop()

    @property
    def subscribers(self) -> int:
        """How many event streams are open."""
        return len(self._streams)

    def emit(self, event: dict[str, Any] | bytes) -> None:
        """Send an event (or bytes that are none) to every subscriber."""
        line = event if isinstance(event, bytes) else json.dumps(event).encode() + b"\n"
        for stream in list(self._streams):
            stream.append(line)
        with self._changed:
            self._changed.notify_all()

    def container_event(self, action: str, any_id: str) -> None:
        """One container event about a container of ours."""
        self.emit(
            {
                "Type": "container",
                "Action": action,
                "Actor": {"ID": any_id, "Attributes": {"io.kubernetes.docker.type": "container"}},
            }
        )

    def image_event(self, action: str, subject: str) -> None:
        """One image event; ``subject`` is an id, or the name of what was pulled."""
        self.emit({"Type": "image", "Action": action, "Actor": {"ID": subject, "Attributes": {}}})

    def _serve(self, handler: BaseHTTPRequestHandler, method: str) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        if length:
            handler.rfile.read(length)
        path = urlsplit(handler.path).path
        parts = path.strip("/").split("/")
        if parts[0].startswith("v1."):
            parts = parts[1:]
        name = f"{method} /{'/'.join(parts)}"
        self.requests.append(name)
        self.queries.append(urlsplit(handler.path).query)
        if name == "GET /events":
            self._events(handler)
            return
        status, body = self.answers[name]() if name in self.answers else self._answer(method, parts)
        if isinstance(body, Generator):
            self._chunks(handler, status, body)
            return
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header(
            "Content-Type",
            "application/json"
            if not isinstance(body, bytes) or name != "GET /_ping"
            else "text/plain",
        )
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _answer(self, method: str, parts: list[str]) -> Answer:
        match (method, *parts):
            case ("GET", "_ping"):
                return 200, b"OK"
            case ("GET", "version"):
                return 200, self.version
            case ("GET", "info"):
                return 200, self.info
            case ("GET", "containers", "json"):
                return 200, [summary(document) for document in self.containers.values()]
            case ("GET", "containers", any_id, "json") if any_id in self.containers:
                return 200, self.containers[any_id]
            case ("DELETE", "containers", any_id) if any_id in self.containers:
                del self.containers[any_id]
                return 204, b""
            case ("GET", "images", "json"):
                return 200, self.images
            case ("GET", "images", *name, "json"):
                for image in self.images:
                    names = (
                        image["Id"],
                        *(image.get("RepoTags") or ()),
                        *(image.get("RepoDigests") or ()),
                    )
                    if unquote("/".join(name)) in names:
                        return 200, image
        return 404, {"message": f"no such thing: {method} {parts}"}

    def _chunks(
        self, handler: BaseHTTPRequestHandler, status: int, chunks: Generator[bytes, None, None]
    ) -> None:
        handler.send_response(status)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for chunk in chunks:
            handler.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            handler.wfile.flush()
        handler.wfile.write(b"0\r\n\r\n")

    def _events(self, handler: BaseHTTPRequestHandler) -> None:
        waiting: list[bytes] = []
        # Before the answer: a client that has read it counts on every event from then on.
        self._streams.append(waiting)
        try:
            handler.send_response(200)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            while not self._closing.is_set():
                with self._changed:
                    self._changed.wait_for(lambda: waiting or self._closing.is_set(), timeout=1.0)
                while waiting:
                    line = waiting.pop(0)
                    handler.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                    handler.wfile.flush()
        finally:
            self._streams.remove(waiting)
            handler.close_connection = True
            # No last chunk: the stream breaks off, as that of a daemon that dies does.


def summary(document: dict[str, Any]) -> dict[str, Any]:
    """What ``GET /containers/json`` says of a container, out of its inspect document."""
    state, config = document.get("State") or {}, document.get("Config") or {}
    return {
        "Id": document["Id"],
        "Names": [document.get("Name", "")],
        "Image": config.get("Image", ""),
        "ImageID": document.get("Image", ""),
        "Created": 1767323044,
        "Labels": config.get("Labels"),
        "State": "running" if state.get("Running") else "exited",
        "Status": "",
        "HostConfig": {"NetworkMode": (document.get("HostConfig") or {}).get("NetworkMode")},
    }


def container_document(
    any_id: str, name: str = "", sandbox: bool = False, **changes: Any
) -> dict[str, Any]:
    """An inspect document with what the node state reads; ``state`` and ``labels`` among the
    changes are merged in. Without a name it is the sandbox, or a container, of one pod.
    """
    name = name or f"k8s_{'POD' if sandbox else 'main'}_pod_default_uid_0"
    state = {
        "Status": "running",
        "Running": True,
        "Pid": 0,
        "ExitCode": 0,
        "StartedAt": "2026-01-02T03:04:05Z",
        **changes.pop("state", {}),
    }
    labels = {
        "io.kubernetes.docker.type": "podsandbox" if sandbox else "container",
        **changes.pop("labels", {}),
    }
    return {
        "Id": any_id,
        "Name": f"/{name}",
        "Created": "2026-01-02T03:04:04.5Z",
        "Image": "sha256:" + "0" * 64,
        "State": state,
        "Config": {"Labels": labels, "Image": "busybox"},
        "HostConfig": {"NetworkMode": "default"},
        **changes,
    }
