"""Does what a probe or a hook asks for."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import anyio
import h11

from asupervisor import __version__
from asupervisor.client.manifest.actions import Action, Exec, Grpc, HttpGet, Sleep, TcpSocket
from asupervisor.errors import DeadlineExceeded

if TYPE_CHECKING:
    from asupervisor.client.containers import Container

_MOST_REDIRECTS = 10
_OUTPUT_BYTES = 10 * 1024
"""Most of a command's output that is shown, as in kubelet."""


async def failure_of(
    action: Action, container: Container, address: str, timeout_s: float | None
) -> str:
    """Do it, and return why it failed; empty for a success.

    Args:
        action: what to do.
        container: where a command runs.
        address: of the pod; empty for a pod in the node's network.
        timeout_s: seconds; None for no limit.

    Raises:
        ServiceError: the server could not run the command, which says nothing about the container.
    """
    try:
        if isinstance(action, Exec):
            ended = await container.exec(
                action.command, timeout_s=timeout_s, limit_bytes=_OUTPUT_BYTES
            )
            said = (ended.stdout + ended.stderr).decode(errors="replace").strip()
            return "" if ended.exit_code == 0 else f"exit code {ended.exit_code}: {said}"
        with anyio.fail_after(timeout_s):
            return await _over_network(action, address or "127.0.0.1", timeout_s)
    except (DeadlineExceeded, TimeoutError):
        return f"no answer within {timeout_s:g} s" if timeout_s is not None else "no answer"
    except (
        OSError,
        ValueError,  # a redirect to something that is not a URL
        h11.ProtocolError,
        anyio.BrokenResourceError,
        anyio.EndOfStream,
    ) as error:
        return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


async def _over_network(action: Action, address: str, timeout_s: float | None) -> str:
    if isinstance(action, Sleep):
        await anyio.sleep(action.seconds)
    elif isinstance(action, HttpGet):
        return await _http_get(action, action.host or address)
    elif isinstance(action, Grpc):
        from asupervisor.remote.health import health_failure

        return await health_failure(address, action.port, action.service, timeout_s or 60.0)
    elif isinstance(action, TcpSocket):
        await (await anyio.connect_tcp(action.host or address, action.port)).aclose()
    return ""


async def _http_get(action: HttpGet, host: str) -> str:
    """A status from 200 to 399 is a success; redirects to the same host are followed."""
    shown = f"[{host}]" if ":" in host else host
    url = f"{action.scheme.lower()}://{shown}:{action.port}/{action.path.removeprefix('/')}"
    for _ in range(_MOST_REDIRECTS):
        answer = await _request(url, action.headers)
        location = dict(answer.headers).get(b"location", b"").decode(errors="replace")
        if not (300 < answer.status_code < 400 and location):
            break
        target = urljoin(url, location)
        if urlsplit(target).hostname != host or not target.startswith(("http://", "https://")):
            break
        url = target
    else:
        return f"stopped after {_MOST_REDIRECTS} redirects"
    return "" if 200 <= answer.status_code < 400 else f"{url}: HTTP status {answer.status_code}"


async def _request(url: str, headers: tuple[tuple[str, str], ...]) -> h11.Response:
    """The head of the answer; the body is not read."""
    parts = urlsplit(url)
    is_tls = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if is_tls else 80)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    given = {name.lower() for name, _ in headers}
    defaults = (("Host", parts.netloc), ("User-Agent", f"asupervisor/{__version__}"))
    sent = [*headers, *(each for each in defaults if each[0].lower() not in given)]
    connection = h11.Connection(h11.CLIENT)
    request = h11.Request(method="GET", target=target, headers=[*sent, ("Connection", "close")])
    stream = (
        await anyio.connect_tcp(
            host, port, ssl_context=_unverified(), tls_standard_compatible=False
        )
        if is_tls
        else await anyio.connect_tcp(host, port)
    )
    async with stream:
        await stream.send(
            (connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b"")
        )
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                return event
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive())
            elif not isinstance(event, h11.InformationalResponse):
                raise h11.RemoteProtocolError("no answer")


def _unverified() -> ssl.SSLContext:
    """The certificate of a pod is not checked, as in kubelet."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
