"""How ``exec``, ``attach`` and ``port-forward`` join streams: flags and what they mean."""

from __future__ import annotations

import argparse


def arguments(parser: argparse.ArgumentParser, whose: str, tty: str) -> None:
    """Those of a command's streams.

    Args:
        parser: takes them.
        whose: who gets standard input.
        tty: what a terminal means.
    """
    parser.add_argument(
        "-i", "--stdin", action="store_true", help=f"hand standard input to the {whose}"
    )
    tty = f"{tty}; keys and changes of size go through"
    parser.add_argument("-t", "--tty", action="store_true", help=tty)
    parser.add_argument("-it", "-ti", dest="interactive", action="store_true", help="both")
    transport(parser)


def transport(parser: argparse.ArgumentParser) -> None:
    """SPDY or WebSocket."""
    parser.add_argument(
        "--transport", choices=("spdy", "websocket"), default="spdy", help="default: spdy"
    )


def wanted(options: argparse.Namespace) -> tuple[bool, bool]:
    """Whether standard input and a terminal are asked for."""
    return options.stdin or options.interactive, options.tty or options.interactive
