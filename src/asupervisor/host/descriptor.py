"""A file descriptor with one owner."""

from __future__ import annotations

import os
from typing import Self


class HeldDescriptor:
    """Holds it until it is closed. A context manager.

    Args:
        descriptor: owned from now on.

    Attributes:
        descriptor: -1 once closed.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def close(self) -> None:
        """Close it; may be called again."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
