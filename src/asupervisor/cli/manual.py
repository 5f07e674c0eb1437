"""Manual pages and shell completion, made from the parsers that ``--help`` shows."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator

from asupervisor import __version__
from asupervisor.cli.command import VERBS, verb_parser
from asupervisor.cli.flags import service_parser

_SECTION = 8
_ENDS = {
    "doctor": "0 where all is well, 1 with warnings, 2 with errors.",
    "exec": "That of the command; 1 where it could not be run, 2 for a usage error.",
}
_END = "0, 1 for a failure, 2 for a usage error."


def manual() -> dict[str, str]:
    """Every page by its file name: one for the service, and one for each verb."""
    service = service_parser()
    pages = {f"asupervisor.{_SECTION}": _page("asupervisor", service, service.description or "")}
    for name, summary in VERBS.items():
        page = _page(f"asupervisor {name}", verb_parser(name), summary)
        pages[f"asupervisor-{name}.{_SECTION}"] = page
    return pages


def completion() -> str:
    """For bash: verbs, flags, and the values of those flags that have a choice."""
    cases = []
    for name in VERBS:
        words = " ".join(_options(verb_parser(name)))
        cases.append(f"        {name}) words={shlex.quote(words)} ;;")
    first = " ".join((*VERBS, "help"))
    flags = " ".join(_options(service_parser()))
    return "\n".join(
        (
            "# bash completion of asupervisor",
            "_asupervisor() {",
            "    local words current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}",
            "    case ${COMP_WORDS[1]} in",
            *cases,
            f"        help) words={shlex.quote(' '.join(VERBS))} ;;",
            f"        *) words={shlex.quote(flags)} ;;",
            "    esac",
            f'    [ "$COMP_CWORD" -gt 1 ] || words="$words {first}"',
            "    case $before in -o | --output) words='table wide json yaml' ;; esac",
            '    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")',
            "}",
            "complete -o default -F _asupervisor asupervisor",
            "",
        )
    )


def _page(title: str, parser: argparse.ArgumentParser, summary: str) -> str:
    name = title.replace(" ", "-")
    verb = title.partition(" ")[2]
    usage = parser.format_usage().removeprefix("usage:")
    lines = [
        f'.TH {name.upper()} {_SECTION} "" "asupervisor {__version__}" "System administration"',
        ".SH NAME",
        f"{_plain(name)} \\- {_plain(summary.rstrip('.'))}",
        ".SH SYNOPSIS",
        _plain(" ".join(usage.split())),
        *_described(parser),
        ".SH EXIT STATUS",
        _ENDS.get(verb, _END),
    ]
    if not verb:
        lines += [".SH VERBS", *_verbs(), ".SH FILES", *_files()]
    also = ["asupervisor"] if verb else [f"asupervisor-{other}" for other in VERBS]
    lines += [".SH SEE ALSO", *(f".BR {_plain(one)} ({_SECTION})" for one in also)]
    return "\n".join(lines) + "\n"


def _described(parser: argparse.ArgumentParser) -> Iterator[str]:
    formatter = parser._get_formatter()
    yield ".SH OPTIONS"
    for action in parser._actions:
        if action.help == argparse.SUPPRESS:
            continue
        value = formatter._format_args(action, formatter._get_default_metavar_for_optional(action))
        yield ".TP"
        if action.option_strings:
            names = ", ".join(f"\\fB{_plain(one)}\\fR" for one in action.option_strings)
            yield f"{names} {_plain(value)}".rstrip()
        else:
            yield f"\\fB{_plain(str(action.metavar or action.dest))}\\fR"
        if action.help:
            yield _plain(formatter._expand_help(action))
    if parser.epilog:
        yield ".SH NOTES"
        yield _plain(parser.epilog)


def _verbs() -> Iterator[str]:
    for name, summary in VERBS.items():
        yield from (".TP", f"\\fBasupervisor {_plain(name)}\\fR", _plain(summary))


def _files() -> Iterator[str]:
    for path, what in (
        ("/etc/default/asupervisor", "settings, which the systemd unit reads"),
        ("/run/asupervisor.sock", "the CRI, as kubelet is told it"),
        ("/var/lib/cri-dockerd", "checkpoints and state"),
    ):
        yield from (".TP", f"\\fI{path}\\fR", _plain(what))


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        yield from (name for name in action.option_strings if name.startswith("--"))


def _plain(text: str) -> str:
    """Text that means nothing to roff."""
    text = " ".join(text.replace("\\", "\\e").replace("-", "\\-").split())
    return f"\\&{text}" if text.startswith((".", "'")) else text
