"""What goes wrong with a call."""

from __future__ import annotations


class CallFailed(Exception):
    """An RPC that was not answered OK.

    Args:
        code: name of the gRPC status.
        words: its message.
    """

    def __init__(self, code: str, words: str) -> None:
        super().__init__(f"{code}: {words}")
        self.code = code
