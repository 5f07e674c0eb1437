"""The client's command line: ``asupervisor VERB …``, for any CRI server, this service's own first
of all.

One file for each verb, ``asupervisor/cli/verbs/<verb>.py``, with ``arguments(parser)`` and ``async
run(client, options) -> int``; it is imported only when its verb is called. A new verb is that file
and a line in :data:`VERBS`."""

from __future__ import annotations

import argparse
import importlib
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn, Protocol, cast

from asupervisor.cli.failures import sole_failure
from asupervisor.client.endpoint import (
    ENDPOINT_VARIABLES,
    Settings,
    default_endpoint,
    find_settings,
)
from asupervisor.durations import parse_duration
from asupervisor.errors import ConfigError

if TYPE_CHECKING:
    from asupervisor.client import Client

VERBS = {
    "info": "what the runtime says of itself: conditions, features, engine",
    "doctor": "what is wrong with this node, and what to do about it",
    "version": "names and versions of the runtime",
    "pods": "list pods",
    "ps": "list containers",
    "images": "list images",
    "pull": "fetch an image",
    "run": "run a pod from a manifest (Kubernetes kind: Pod, the fields that need no cluster)",
    "status": "show a pod and its containers",
    "logs": "print a container's log",
    "exec": "run a command in a container",
    "attach": "join the streams of a container",
    "port-forward": "reach a pod's ports from here",
    "inspect": "everything about a pod, a container or an image, as JSON",
    "stats": "what containers use",
    "stop": "stop a pod, or one container of it",
    "rm": "remove a stopped pod, or one container of it",
    "rmi": "remove an image",
    "install": "make this node's systemd run the service (a distribution's package does it itself)",
    "uninstall": "take away what install laid down; pods keep running",
}
"""Every verb with one line about it; ``help`` comes on top."""

ON_THE_NODE = {"doctor": "5s", "install": "3m", "uninstall": "3m"}
"""Verbs that look at this node themselves, with ``run_here(options) -> int``, and need no server;
with the default of their deadline, which is each check's or each command's."""
WITHOUT_ENDPOINT = ("install", "uninstall")
"""Those for which it does not matter where a server is, and which print lines only."""


class Verb(Protocol):
    """The shape of a verb's module."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add what the verb takes."""

    async def run(self, client: Client, options: argparse.Namespace) -> int:
        """Do it, and return the exit code."""


class NodeVerb(Protocol):
    """The shape of the module of one that needs no server."""

    async def run_here(self, options: argparse.Namespace) -> int:
        """Do it, and return the exit code."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see {self.prog} --help")


def run_client(arguments: list[str]) -> int:
    """Run one verb.

    Args:
        arguments: the verb and what follows it.

    Returns:
        The exit code; a command's own for ``exec``.

    Raises:
        ConfigError: a usage error, one line.
        ServiceError: what the runtime answered.
    """
    name, rest = arguments[0], arguments[1:]
    if name == "help":
        return _help(rest)
    if name not in VERBS:
        raise ConfigError(f'unknown verb "{name}"; asupervisor help lists them')
    verb = _verb(name)
    options = parse_options(name, verb, rest)
    # Failures are raised and printed once; the library's own log of them would be a second line.
    logging.getLogger("asupervisor").addHandler(logging.NullHandler())
    import anyio

    try:
        if name in ON_THE_NODE:
            return anyio.run(cast(NodeVerb, verb).run_here, options)
        return anyio.run(_run, verb, options)
    except BaseExceptionGroup as group:
        failure = sole_failure(group)
        if failure is None:
            raise
        raise failure from group


def parse_options(
    name: str, verb: Verb, arguments: list[str], environment: Mapping[str, str] | None = None
) -> argparse.Namespace:
    """The options of one verb.

    Args:
        name: the verb's.
        verb: its module.
        arguments: what follows the verb; everything after ``--`` is a command's and not looked
            into.
        environment: ``os.environ`` where None.

    Raises:
        ConfigError: a usage error.
        SystemExit: after ``--help``, code 0.
    """
    parser = _parser(name, verb)
    command: list[str] = []
    if "--" in arguments:
        position = arguments.index("--")
        arguments, command = arguments[:position], arguments[position + 1 :]
    options = parser.parse_intermixed_args(arguments)
    if command and not hasattr(options, "command"):
        raise ConfigError(f"{parser.prog} takes nothing after --")
    if command:
        options.command = [*options.command, *command]
    if name not in WITHOUT_ENDPOINT:
        named = options.endpoint
        options.settings = Settings(named) if named else find_settings(environment)
    options.timeout_s = parse_duration(options.timeout, "--timeout") if options.timeout else None
    if options.timeout_s is not None and options.timeout_s <= 0:
        raise ConfigError("--timeout must be longer than 0")
    return options


def verb_parser(name: str) -> argparse.ArgumentParser:
    """What takes the arguments of one verb.

    Args:
        name: one of :data:`VERBS`.
    """
    return _parser(name, _verb(name))


def _parser(name: str, verb: Verb) -> argparse.ArgumentParser:
    parser = _Parser(prog=f"asupervisor {name}", description=VERBS[name], allow_abbrev=False)
    if name not in WITHOUT_ENDPOINT:
        _add_endpoint(parser)
    deadline = ON_THE_NODE.get(name, "")
    parser.add_argument(
        "--timeout",
        default=deadline,
        metavar="DURATION",
        help=(
            "deadline of each request, check or command, such as 10s or 2m (default:"
            f" {deadline or 'that of /etc/crictl.yaml, else 2m'})"
        ),
    )
    verb.arguments(parser)
    return parser


def _add_endpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-r",
        "--endpoint",
        default="",
        metavar="ADDRESS",
        help=(
            f"unix:///path of the CRI server (default: ${ENDPOINT_VARIABLES[0]},"
            f" ${ENDPOINT_VARIABLES[1]}, else {default_endpoint()})"
        ),
    )
    parser.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="default: text"
    )


def _verb(name: str) -> Verb:
    return cast(Verb, importlib.import_module(f"asupervisor.cli.verbs.{name.replace('-', '_')}"))


def _help(rest: list[str]) -> int:
    if rest and rest[0] in VERBS:
        verb_parser(rest[0]).print_help()
        return 0
    if rest:
        raise ConfigError(f'unknown verb "{rest[0]}"; asupervisor help lists them')
    width = max(map(len, VERBS))
    print("Usage: asupervisor [FLAGS]            run the service; its flags: asupervisor --help")
    print(
        "       asupervisor VERB [ARGUMENTS]   talk to a CRI server; a verb's arguments:"
        " asupervisor help VERB\n"
    )
    for name, summary in VERBS.items():
        print(f"  {name:{width}}  {summary}")
    print(
        f"\nThe server is the one of --endpoint, else of ${ENDPOINT_VARIABLES[0]},"
        f" ${ENDPOINT_VARIABLES[1]}, else {default_endpoint()}."
    )
    print(
        "A pod is named by its name, NAMESPACE/NAME or the start of its id; a container by"
        " POD/CONTAINER or the start of its id."
    )
    return 0


async def _run(verb: Verb, options: argparse.Namespace) -> int:
    from asupervisor.client import Client

    async with Client.connect(options.settings, timeout_s=options.timeout_s) as client:
        return await verb.run(client, options)
