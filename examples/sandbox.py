"""Untrusted snippets, each in a pod of its own that waited for it: ``sandbox.py IMAGE COMMAND…``
gives its standard input to the command in a pod.

Read-only root, nobody's user, no capabilities, limits of CPU, memory, time and output; a pod is
used once. The CRI has no word for a pod without a network: run this where pods reach nothing that
matters. gVisor or Kata, where the node has them, are the option ``runtime_handler``."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import anyio

from asupervisor.client import Client, Completed, Pod, PodOptions, Resources

IDLE = ("sh", "-c", "while :; do sleep 3600; done")
OUTPUT = 64 * 1024
OPTIONS: PodOptions = {
    "user": "65534:65534",
    "read_only": True,
    "drop": ("ALL",),
    "no_new_privileges": True,
    "resources": Resources(cpu_cores=0.5, memory_bytes=128 << 20),
}
Run = Callable[[Sequence[str], bytes, float], Awaitable[Completed]]


@asynccontextmanager
async def sandbox(client: Client, image: str, warm: int = 2) -> AsyncIterator[Run]:
    """Run snippets while the block runs; so many pods wait for the next ones."""
    give, take = anyio.create_memory_object_stream[tuple[Pod, anyio.Event]](0)

    async def keep_one_warm() -> None:
        while True:
            async with client.pod(image, IDLE, **OPTIONS) as pod:
                used = anyio.Event()
                await give.send((pod, used))
                await used.wait()

    async def run(command: Sequence[str], snippet: bytes, timeout_s: float) -> Completed:
        pod, used = await take.receive()
        try:
            return await pod.exec(command, input=snippet, timeout_s=timeout_s, limit_bytes=OUTPUT)
        finally:
            used.set()

    with give, take:
        async with anyio.create_task_group() as tasks:
            for _ in range(warm):
                tasks.start_soon(keep_one_warm)
            yield run
            tasks.cancel_scope.cancel()


async def main(image: str, *command: str) -> int:
    async with Client.connect() as client, sandbox(client, image, warm=1) as run:
        done = await run(command, sys.stdin.buffer.read(), 10.0)
    sys.stdout.buffer.write(done.stdout)
    sys.stderr.buffer.write(done.stderr)
    return done.exit_code


if __name__ == "__main__":
    sys.exit(anyio.run(main, sys.argv[1], *sys.argv[2:]))
