"""One call of one CNI plugin: its environment, its configuration on stdin, its answer or its error.

Source: CNI specification 1.1, sections 2 (execution protocol) and 5 (results and errors).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import anyio
import anyio.to_thread
import orjson

from asupervisor.errors import (
    MOST_WORDS,
    FailedPrecondition,
    Internal,
    NotFound,
    ServiceError,
    Unavailable,
)
from asupervisor.host.processes import kill_started_with
from asupervisor.host.program import Finished, run_program
from asupervisor.network.cni.config import find_binary

_EXCERPT_CHARACTERS = 600
_END_S = 5.0
_LOOK_AGAIN_S = 0.02
_OURS_ALONE = (
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
)

_ERROR_BY_CODE: dict[int, type[ServiceError]] = {
    1: FailedPrecondition,  # incompatible CNI version
    2: FailedPrecondition,  # unsupported field in the configuration
    3: NotFound,  # container unknown: nothing needs to be cleaned up
    4: FailedPrecondition,  # invalid environment variable
    6: FailedPrecondition,  # configuration cannot be decoded
    7: FailedPrecondition,  # configuration is not valid
    11: Unavailable,  # try again later
    50: Unavailable,  # plugin not available
    51: Unavailable,  # plugin not available, existing pods may have limited connectivity
}


@dataclass(frozen=True, slots=True)
class Attachment:
    """One pod's interface in one network: what the environment of every call about it says.

    Args:
        container_id: the sandbox's id.
        netns: path of the network namespace; empty when it is gone.
        interface: name of the interface in the pod.
        arguments: ``CNI_ARGS`` as pairs.
        capability_arguments: what ``runtimeConfig`` may be filled from, by capability.
    """

    container_id: str
    netns: str
    interface: str = "eth0"
    arguments: tuple[tuple[str, str], ...] = ()
    capability_arguments: Mapping[str, Any] = field(default_factory=dict)


async def call_plugin(
    command: str,
    plugin_type: str,
    document: Mapping[str, Any],
    directories: Sequence[str],
    *,
    attachment: Attachment | None = None,
    deadline_s: float,
) -> dict[str, Any] | None:
    """Call a plugin and wait for its answer.

    Args:
        command: ``ADD``, ``DEL``, ``CHECK``, ``STATUS``, ``GC`` or ``VERSION``.
        plugin_type: name of the binary.
        document: the execution configuration, for stdin.
        directories: where binaries are looked for, also by the plugin itself (``CNI_PATH``).
        attachment: what ADD, DEL and CHECK are about.
        deadline_s: seconds that it may take before its process group is killed.

    Returns:
        The decoded answer, None where the plugin printed nothing.

    Raises:
        ServiceError: by the specification's error code (3: NotFound; 11, 50 and 51: Unavailable; 1,
            2, 4, 6 and 7: FailedPrecondition; others: Internal), DeadlineExceeded, or Internal for
            an answer that is not a JSON object. The message carries the plugin's stderr.
    """
    network = str(document.get("name", ""))
    subject = attachment.container_id if attachment else plugin_type
    path = find_binary(plugin_type, directories)
    if path is None:
        raise FailedPrecondition(
            f'CNI plugin "{plugin_type}" of network "{network}" is missing in'
            f" {', '.join(directories)}",
            subject=subject,
        )
    what = f'CNI plugin "{plugin_type}" (network "{network}", {command})'
    try:
        finished = await run_program(
            [path],
            stdin=json.dumps(document).encode(),
            environment=_environment(command, directories, attachment),
            deadline_s=deadline_s,
        )
    except ServiceError as error:
        raise type(error)(f"{what}: {error.message}", subject=subject) from error
    answer = _object(finished.stdout)
    if finished.returncode != 0:
        raise _failure(what, finished, answer, subject)
    if answer is None and finished.stdout.strip():
        raise Internal(
            f"{what}: its answer is not a JSON object: {_excerpt(finished.stdout)}"
            f"{_stderr(finished)}",
            subject=subject,
        )
    return answer


async def end_plugins(container_id: str) -> None:
    """End the plugins that run for a container. An ADD goes on when the service that called it is
    killed; what it takes after the DEL would never be given back.

    Raises:
        Unavailable: one does not end, since it waits in the kernel.
    """
    kill = partial(kill_started_with, f"CNI_CONTAINERID={container_id}")
    with anyio.move_on_after(_END_S) as scope:
        while await anyio.to_thread.run_sync(kill, abandon_on_cancel=True):  # noqa: ASYNC110 - by /proc
            await anyio.sleep(_LOOK_AGAIN_S)
    if scope.cancelled_caught:
        raise Unavailable(
            f"a CNI plugin of sandbox {container_id[:12]} was killed and does not end",
            subject=container_id,
        )


@cache
def _inherited() -> dict[str, str]:
    """This process' environment, decoded once: that costs nearly as much as a plugin's start."""
    return {key: value for key, value in os.environ.items() if key not in _OURS_ALONE}


def _environment(
    command: str, directories: Sequence[str], attachment: Attachment | None
) -> dict[str, str]:
    environment = {**_inherited(), "CNI_COMMAND": command}
    environment["CNI_PATH"] = os.pathsep.join(directories)
    if attachment is not None:
        environment["CNI_CONTAINERID"] = attachment.container_id
        environment["CNI_NETNS"] = attachment.netns
        environment["CNI_IFNAME"] = attachment.interface
        environment["CNI_ARGS"] = ";".join(f"{key}={value}" for key, value in attachment.arguments)
    return environment


def _failure(
    what: str, finished: Finished, answer: Mapping[str, Any] | None, subject: str
) -> ServiceError:
    code = answer.get("code") if answer else None
    if answer is not None and isinstance(code, int) and not isinstance(code, bool):
        words = (
            "; ".join(
                text
                for key in ("msg", "details")
                if isinstance(text := answer.get(key), str) and text
            )
            or "no message"
        )
        kind = _ERROR_BY_CODE.get(code, Internal)
        words = words[:MOST_WORDS]
        return kind(f"{what} failed: {words} (code {code}){_stderr(finished)}", subject=subject)
    how = (
        f"was killed by signal {-finished.returncode}"
        if finished.returncode < 0
        else f"exited with status {finished.returncode}"
    )
    printed = f"; stdout: {_excerpt(finished.stdout)}" if finished.stdout.strip() else ""
    return Internal(f"{what} {how}{_stderr(finished)}{printed}", subject=subject)


def _object(output: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(output)
        # Refuses what is nested too deeply, since the answer is encoded again for the next plugin,
        # the next call and the cache.
        orjson.dumps(document)
    except (ValueError, TypeError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _excerpt(output: bytes) -> str:
    text = output.decode(errors="replace").strip()
    return text if len(text) <= _EXCERPT_CHARACTERS else text[:_EXCERPT_CHARACTERS] + " …"


def _stderr(finished: Finished) -> str:
    return f"; stderr: {_excerpt(finished.stderr)}" if finished.stderr.strip() else ""
