"""The client's command line: ``asupervisor VERB …``, for any CRI server, this service's own first
of all.

One file for each verb, ``asupervisor/cli/verbs/<verb>.py``, with ``arguments(parser)`` and ``async
run(client, options) -> int``; it is imported only when its verb is called. A new verb is that file
and a line in :data:`VERBS`."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn, Protocol, cast

from asupervisor.addresses import RUNTIME_ENDPOINT
from asupervisor.cli.failures import sole_failure
from asupervisor.cli.output import FORMS, output_form
from asupervisor.client.endpoint import (
    CRICTL_FILE,
    CRICTL_VARIABLE,
    ENDPOINT_VARIABLES,
    IMAGE_VARIABLE,
    Settings,
    find_settings,
)
from asupervisor.durations import parse_duration
from asupervisor.errors import ConfigError

if TYPE_CHECKING:
    from asupervisor.client import Client

VERBS = {
    "info": "what the runtime says about itself: conditions, features, engine",
    "doctor": "what is wrong with this node, and what to do about it",
    "version": "names and versions of the runtime",
    "pods": "list pods",
    "ps": "list containers",
    "images": "list images",
    "top": "what pods and containers use, live",
    "stats": "what CPU, memory and disk containers use",
    "metrics": "every metric of pods and containers, as the server counts them",
    "events": "what happens to containers, from now on",
    "status": "show a pod and its containers",
    "inspect": "everything about a pod, a container or an image, as JSON",
    "logs": "print a container's log",
    "exec": "run a command in a container",
    "attach": "join the streams of a container",
    "cp": "copy files into a container or out of it",
    "port-forward": "reach a pod's ports from here",
    "pull": "fetch an image",
    "run": "run pods from a manifest (Kubernetes kind: Pod), or one command in an image",
    "runp": "run a sandbox alone, from the CRI's own configuration",
    "create": "make a container in a sandbox, from the CRI's own configuration",
    "start": "start created containers",
    "stop": "stop a pod, or one container of it",
    "rm": "remove a stopped pod, or one container of it",
    "rmi": "remove an image",
    "prune": "remove pods that have ended, and images that nothing uses",
    "update": "change the limits of containers in place",
    "checkpoint": "write the state of a running container to an archive",
    "config": "show which server the client uses, and its deadline",
    "completion": "print what a shell sources to complete verbs and flags",
    "install": "have this node's systemd run the service (a distribution's package does it itself)",
    "uninstall": "remove what install put in place; pods keep running",
}
"""Every verb with one line about it; ``help`` comes on top."""

ALIASES = {
    "stopp": "stop",
    "rmp": "rm",
    "inspectp": "inspect",
    "inspecti": "inspect",
    "image": "images",
    "img": "images",
    "statsp": "stats",
    "metricsp": "metrics",
}
"""crictl's spelling, where it means one thing only."""

ON_THE_NODE = {
    "doctor": "5s",
    "install": "3m",
    "uninstall": "3m",
    "config": "",
    "completion": "",
}
"""Verbs that look at this node themselves, with ``run_here(options) -> int``, and need no server.
The value is the default of ``--timeout``, the deadline of each check or command."""
WITHOUT_ENDPOINT = ("install", "uninstall", "completion")
"""Verbs without ``--endpoint`` and ``--output``: they ask no server and print plain lines."""

_WHOLE = {
    "-r": "--endpoint",
    "--runtime-endpoint": "--endpoint",
    "-i": "--image-endpoint",
    "-o": "--output",
    "-t": "--timeout",
    "-c": "--config",
}
"""Options of the whole command before the verb, by their other names; some short ones mean
something else behind a verb."""


class Verb(Protocol):
    """The shape of a verb's module; it has one of the two ``run``."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add what the verb takes."""

    async def run(self, client: Client, options: argparse.Namespace) -> int:
        """Do it, and return the exit code."""

    async def run_here(self, options: argparse.Namespace) -> int:
        """The same without a server, for the verbs of :data:`ON_THE_NODE`."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see {self.prog} --help")


def verb_first(arguments: list[str]) -> list[str] | None:
    """A command line of the client with its verb in front; None for the service's, which has none.

    Args:
        arguments: options of the whole command may stand before the verb, as crictl has them.
    """
    before: list[str] = []
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        name, equals, value = rest.pop(0).partition("=")
        name = _WHOLE.get(name, name)
        if name not in _WHOLE.values() or not (equals or rest):
            return None
        before += [name, value if equals else rest.pop(0)]
    return [rest[0], *before, *rest[1:]] if rest else None


def run_client(arguments: list[str]) -> int:
    """Run one verb.

    Args:
        arguments: the verb, or crictl's word for it, and what follows it.

    Returns:
        The exit code; a command's own for ``exec``.

    Raises:
        ConfigError: a usage error, one line.
        ServiceError: what the runtime answered.
    """
    name, rest = ALIASES.get(arguments[0], arguments[0]), arguments[1:]
    if name == "help":
        return _help(rest)
    if name not in VERBS:
        raise ConfigError(f'unknown verb "{name}"; asupervisor help lists them')
    options = parse_options(name, rest)
    # Failures are raised and printed once; the library's own log of them would be a second line.
    logging.getLogger("asupervisor").addHandler(logging.NullHandler())
    import anyio

    verb = _verb(name)
    with sole_failure():
        if name in ON_THE_NODE:
            return anyio.run(verb.run_here, options)
        return anyio.run(_run, verb, options)


def parse_options(
    name: str, arguments: list[str], environment: Mapping[str, str] | None = None
) -> argparse.Namespace:
    """The options of one verb.

    Args:
        name: the verb's.
        arguments: what follows the verb; everything after ``--`` is a command's and not looked
            into.
        environment: ``os.environ`` where None.

    Raises:
        ConfigError: a usage error.
        SystemExit: after ``--help``, code 0.
    """
    parser = verb_parser(name)
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
        options.settings = _settings(options, os.environ if environment is None else environment)
    options.timeout_s = parse_duration(options.timeout, "--timeout") if options.timeout else None
    if options.timeout_s is not None and options.timeout_s <= 0:
        raise ConfigError("--timeout must be longer than 0")
    return options


def _settings(options: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    if options.crictl_file:
        environment = {CRICTL_VARIABLE: options.crictl_file}
    if options.endpoint:
        return Settings(options.endpoint, options.image_endpoint)
    told = find_settings(environment)
    return replace(told, image_endpoint=options.image_endpoint or told.image_endpoint)


def verb_parser(name: str) -> argparse.ArgumentParser:
    """The parser of one verb's arguments.

    Args:
        name: one of :data:`VERBS`.
    """
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
            f" {deadline or 'that of crictl.yaml, else 2m'})"
        ),
    )
    _verb(name).arguments(parser)
    return parser


def _add_endpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-r",
        "--endpoint",
        default="",
        metavar="ADDRESS",
        help=(
            f"unix:///path of the CRI server (default: ${ENDPOINT_VARIABLES[0]},"
            f" ${ENDPOINT_VARIABLES[1]}, else what crictl.yaml says, else {RUNTIME_ENDPOINT})"
        ),
    )
    parser.add_argument(
        "--image-endpoint",
        default="",
        metavar="ADDRESS",
        help=(
            "unix:///path of the image service (default: with --endpoint the same server, else"
            f" ${IMAGE_VARIABLE}, else what crictl.yaml says, else the same server)"
        ),
    )
    parser.add_argument(
        "--config",
        dest="crictl_file",
        default="",
        metavar="FILE",
        help=f"crictl's settings (default: {CRICTL_FILE})",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=output_form,
        default="table",
        metavar="FORM",
        help=f"{', '.join(FORMS)} or jsonpath=TEMPLATE (default: table)",
    )


def _verb(name: str) -> Verb:
    return cast(Verb, importlib.import_module(f"asupervisor.cli.verbs.{name.replace('-', '_')}"))


def _help(rest: list[str]) -> int:
    if rest and (name := ALIASES.get(rest[0], rest[0])) in VERBS:
        verb_parser(name).print_help()
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
        f" ${ENDPOINT_VARIABLES[1]}, {CRICTL_FILE}, else {RUNTIME_ENDPOINT}."
        " Options of the whole command may stand before the verb."
    )
    words = ", ".join(f"{word} ({name})" for word, name in ALIASES.items())
    print(f"crictl's words are understood too: {words}.")
    print(
        "A pod is named by its name, NAMESPACE/NAME or the start of its id; a container by"
        " POD/CONTAINER or the start of its id."
    )
    return 0


async def _run(verb: Verb, options: argparse.Namespace) -> int:
    from asupervisor.client import Client

    logs = {"log_root": options.log_directory} if "log_directory" in options else {}
    async with Client.connect(options.settings, timeout_s=options.timeout_s, **logs) as client:
        return await verb.run(client, options)
