"""Image registries on loopback, made on the spot: the distribution project's own server, and one
that is as slow as a test wants.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import http.client
import http.server
import io
import json
import shutil
import socket
import subprocess
import tarfile
import tempfile
import threading
import urllib.parse
import uuid
from pathlib import Path
from typing import Any

from tests.harness.engine import busybox_archive, eventually

USERNAME, PASSWORD = "kim", "let me in"
_HTPASSWD = f"{USERNAME}:$2b$05$abcdefghijklmnopqrstuu4h2R.N3/mVBA7Xh7aLzKSJDAsK61n52\n"
IDENTITY_TOKEN = "an-identity-token"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def free_port() -> int:
    """A TCP port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class BuiltImage:
    """A busybox image as a registry has it, with a layer of its own: of one that it unpacked from
    another blob, Docker 28 with the containerd store fetches no blob (docs/compatibility.md).

    Args:
        config: changes to the image's config (``User``, ``Env`` …).
        files: further files, content by path.
        by_manifest: whether the runtime's ids are the digests of manifests, as with the containerd
            image store, and not those of configurations.
    """

    def __init__(
        self,
        config: dict[str, Any] | None = None,
        files: dict[str, bytes] | None = None,
        by_manifest: bool = False,
    ) -> None:
        self.by_manifest = by_manifest
        files = {"own": uuid.uuid4().bytes, **(files or {})}
        with tarfile.open(
            fileobj=io.BytesIO(busybox_archive("unused:1", config, files))
        ) as archive:
            layer = archive.extractfile("layer.tar")
            document = archive.extractfile("config.json")
            assert layer is not None and document is not None
            self.layer = gzip.compress(layer.read(), compresslevel=1, mtime=0)
            self.config = document.read()
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": {
                    "mediaType": _CONFIG,
                    "size": len(self.config),
                    "digest": digest(self.config),
                },
                "layers": [
                    {"mediaType": _LAYER, "size": len(self.layer), "digest": digest(self.layer)}
                ],
            }
        ).encode()

    @property
    def digest(self) -> str:
        """By which a registry knows it."""
        return digest(self.manifest)

    @property
    def id(self) -> str:
        """By which a runtime knows it."""
        return self.digest if self.by_manifest else digest(self.config)


def digest(content: bytes) -> str:
    """``sha256:…``."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


class Registry:
    """One registry with three doors: open to all, open to who knows a password, open to who brings
    a token.

    Attributes:
        open, guarded, tokens: ``127.0.0.1:<port>`` of each door; the images behind them are the
            same.
        token_requests: what was asked of the token server, as ``(method, fields)``.
    """

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="asv-registry-", dir="/var/tmp"))
        self._processes: list[subprocess.Popen[bytes]] = []
        self.token_requests: list[tuple[str, dict[str, str]]] = []
        self._token_server = _TokenServer(self.token_requests)
        self.open = self.guarded = self.tokens = ""

    def start(self) -> None:
        """Start the servers and wait until each answers."""
        (self.root / "htpasswd").write_text(_HTPASSWD)
        self._token_server.start()
        self.open = self._serve("open", "")
        self.guarded = self._serve(
            "guarded", f"auth: {{htpasswd: {{realm: test, path: {self.root}/htpasswd}}}}"
        )
        realm = f"http://127.0.0.1:{self._token_server.port}/token"
        self.tokens = self._serve("tokens", f'auth: {{silly: {{realm: "{realm}", service: test}}}}')

    def _serve(self, name: str, auth: str) -> str:
        port = free_port()
        config = self.root / f"{name}.yml"
        config.write_text(
            "version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory:"
            f" {self.root}/data}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n{auth}\n"
        )
        with (self.root / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                ["docker-registry", "serve", str(config)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        self._processes.append(process)
        eventually(
            lambda: _answers(port),
            f"the registry answers on port {port}; its log: {self.root}/{name}.log",
        )
        return f"127.0.0.1:{port}"

    def push(self, repository: str, tags: tuple[str, ...], image: BuiltImage) -> str:
        """Put an image into it; returns its full name by the first tag, at the open door."""
        for content in (image.layer, image.config):
            _, headers = self._request("POST", f"/v2/{repository}/blobs/uploads/", b"")
            location = headers["Location"]
            path = location[location.index("/v2/") :]
            separator = "&" if "?" in path else "?"
            self._request(
                "PUT",
                f"{path}{separator}digest={urllib.parse.quote(digest(content))}",
                content,
                "application/octet-stream",
            )
        for tag in tags:
            self._request("PUT", f"/v2/{repository}/manifests/{tag}", image.manifest, _MANIFEST)
        return f"{self.open}/{repository}:{tags[0]}"

    def _request(
        self, method: str, path: str, body: bytes, kind: str = "application/json"
    ) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(self.open, timeout=30)
        try:
            connection.request(method, path, body, {"Content-Type": kind})
            response = connection.getresponse()
            content = response.read()
            assert response.status < 300, (method, path, response.status, content)
            return response.status, response.headers
        finally:
            connection.close()

    def __enter__(self) -> Registry:
        try:
            self.start()
        except BaseException:
            self.destroy()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.destroy()

    def destroy(self) -> None:
        """End the servers and remove their files."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(10)
        self._token_server.stop()
        shutil.rmtree(self.root, ignore_errors=True)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class _Server:
    """An HTTP server in a thread."""

    def __init__(self, handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class _PlainHandler(http.server.BaseHTTPRequestHandler):
    """Answers a client that tries TLS first as a server in Go does: clients go on without TLS from
    an answer in HTTP only.
    """

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            if self.connection.recv(1, socket.MSG_PEEK) == b"\x16":
                self.wfile.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
                return
        super().handle()

    def log_message(self, format: str, *args: Any) -> None:
        return


class _TokenServer(_Server):
    """Gives a token to who names the right password or identity token (the registries' token
    protocol).
    """

    def __init__(self, requests: list[tuple[str, dict[str, str]]]) -> None:
        class Handler(_PlainHandler):
            def do_GET(self) -> None:
                kind, _, value = self.headers.get("Authorization", "").partition(" ")
                name, _, password = (
                    base64.b64decode(value).decode().partition(":")
                    if kind == "Basic"
                    else ("", "", "")
                )
                requests.append(("GET", {"username": name, "password": password}))
                self._answer(name == USERNAME and password == PASSWORD)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                fields = {key: values[0] for key, values in urllib.parse.parse_qs(body).items()}
                requests.append(("POST", fields))
                known = fields.get("username") == USERNAME and fields.get("password") == PASSWORD
                self._answer(known or fields.get("refresh_token") == IDENTITY_TOKEN)

            def _answer(self, granted: bool) -> None:
                content = json.dumps(
                    {"token": "t", "access_token": "t", "expires_in": 300}
                    if granted
                    else {"details": "no"}
                ).encode()
                self.send_response(200 if granted else 401)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        super().__init__(Handler)


class StallingRegistry(_Server):
    """A registry with one image whose layer comes a byte at a time until :attr:`release` is set.

    Attributes:
        release: set it to have the rest sent at once.
        stalled: set while somebody is downloading the layer.
        gone: set once somebody hung up during the layer.
        layer_requests: how often the layer was asked for.
    """

    def __init__(self, image: BuiltImage) -> None:
        self.image = image
        self.release, self.stalled, self.gone = (
            threading.Event(),
            threading.Event(),
            threading.Event(),
        )
        self.layer_requests = 0
        outer = self
        blobs = {digest(image.config): image.config, digest(image.layer): image.layer}

        class Handler(_PlainHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                if self.path in ("/v2", "/v2/"):
                    self._send(b"{}", "application/json")
                elif "/manifests/" in self.path:
                    self._send(image.manifest, _MANIFEST)
                elif (blob := self.path.rpartition("/")[2]) in blobs:
                    self._send(
                        blobs[blob], "application/octet-stream", slow=blobs[blob] is image.layer
                    )
                else:
                    self.send_error(404)

            def _send(self, content: bytes, kind: str, slow: bool = False) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Docker-Content-Digest", digest(content))
                self.end_headers()
                if self.command == "HEAD":
                    return
                sent = 0
                if slow:
                    outer.layer_requests += 1
                    while sent < len(content) // 2 and not outer.release.is_set():
                        try:
                            self.wfile.write(content[sent : sent + 1])
                            self.wfile.flush()
                        except OSError:
                            outer.gone.set()
                            self.close_connection = True
                            return
                        sent += 1
                        outer.stalled.set()
                        outer.release.wait(0.05)
                try:
                    self.wfile.write(content[sent:])
                except OSError:
                    outer.gone.set()
                    self.close_connection = True

        super().__init__(Handler)

    @property
    def name(self) -> str:
        """The image's full name."""
        return f"127.0.0.1:{self.port}/slow/busybox:1"
