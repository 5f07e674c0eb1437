"""The flags of ``exec``, ``attach`` and ``port-forward`` that are about streams."""

from __future__ import annotations

import argparse


def arguments(parser: argparse.ArgumentParser, whose: str, tty: str) -> None:
    """Add the flags for standard input, a terminal and the transport.

    Args:
        parser: gets them.
        whose: what gets standard input.
        tty: what ``--tty`` does.
    """
    parser.add_argument(
        "-i", "--stdin", action="store_true", help=f"give standard input to the {whose}"
    )
    tty = f"{tty}; keys and changes of the window's size are passed on"
    parser.add_argument("-t", "--tty", action="store_true", help=tty)
    parser.add_argument("-it", "-ti", dest="interactive", action="store_true", help="-i and -t")
    transport(parser)


def transport(parser: argparse.ArgumentParser) -> None:
    """Add the flag that chooses SPDY or WebSocket."""
    parser.add_argument(
        "--transport",
        choices=("spdy", "websocket"),
        default="spdy",
        help="protocol of the streams (default: spdy)",
    )


def wanted(options: argparse.Namespace) -> tuple[bool, bool]:
    """Whether standard input and a terminal are asked for."""
    return options.stdin or options.interactive, options.tty or options.interactive
