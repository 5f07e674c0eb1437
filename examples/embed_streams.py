"""Exec, attach and port-forward through the listener of an embedding program: ``embed_streams.py
ENGINE DIRECTORY PORT``.

With ``redirect`` on, the node service opens no port of its own. Its URLs are paths below ``/cri/``,
and the program gives connections for them to ``supervisor.stream_handler``. Here every other path
is the program's own."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import anyio.abc

from asupervisor import Config, Supervisor
from asupervisor.config import NetworkConfig, StreamingConfig

HEAD_BYTES = 4096


async def main(engine: str, directory: Path, port: int) -> None:
    config = Config(
        runtime_endpoint=f"unix://{directory}/cri.sock",
        docker_endpoint=engine,
        root_directory=str(directory / "root"),
        pod_infra_container_image="embedded",
        network=NetworkConfig(plugin="no-op"),
        streaming=StreamingConfig(redirect=True),
    )
    async with Supervisor(config) as supervisor:
        print(supervisor.summary)
        await serve(supervisor, port)


async def serve(
    supervisor: Supervisor,
    port: int,
    *,
    task_status: anyio.abc.TaskStatus[int] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """The program's own listener; ``started`` gives its port."""

    async def accept(stream: anyio.abc.SocketStream) -> None:
        beginning = b""
        while b"\n" not in beginning and len(beginning) < HEAD_BYTES:
            try:
                beginning += await stream.receive(HEAD_BYTES)
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                break
        if b" /cri/" in beginning.split(b"\n", 1)[0]:
            # Now the connection belongs to the handler, which gets the bytes that were read, and
            # closes it.
            await supervisor.stream_handler.serve(stream, received=beginning)
            return
        async with stream:
            await stream.send(
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 15\r\n\r\nthe"
                b" program's.\n"
            )

    async with await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port) as listener:
        task_status.started(listener.extra(anyio.abc.SocketAttribute.local_port))
        await listener.serve(accept)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
