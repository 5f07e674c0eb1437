"""Tokens in URLs: each stands for a request, for one minute, and can be used once."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from asupervisor.errors import NotFound, ResourceExhausted
from asupervisor.streaming.requests import Request

TOKEN_LENGTH = 8
LIFETIME_S = 60.0
CAPACITY = 1000


class TokenCache:
    """Requests that wait for their client to connect.

    Args:
        lifetime_s: seconds until a token expires.
        capacity: tokens that may wait at once.
        clock: seconds, never going back.
    """

    def __init__(
        self,
        *,
        lifetime_s: float = LIFETIME_S,
        capacity: int = CAPACITY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lifetime_s = lifetime_s
        self._capacity = capacity
        self._clock = clock
        # In the order of expiry, since all have the same lifetime.
        self._waiting: dict[str, tuple[float, Request]] = {}

    def __len__(self) -> int:
        self._expire()
        return len(self._waiting)

    def insert(self, request: Request) -> str:
        """Make a token of 8 URL-safe characters (48 random bits).

        Raises:
            ResourceExhausted: too many wait.
        """
        self._expire()
        if len(self._waiting) >= self._capacity:
            raise ResourceExhausted(f"{self._capacity} streaming requests wait for their clients")
        while True:
            token = secrets.token_urlsafe(TOKEN_LENGTH * 3 // 4)
            if token not in self._waiting:
                break
        self._waiting[token] = (self._clock() + self._lifetime_s, request)
        return token

    def consume(self, token: str, verb: str) -> Request:
        """Take a token's request, which can be taken once.

        Raises:
            NotFound: the token is unknown, used, expired, or for another verb.
        """
        self._expire()
        found = self._waiting.get(token)
        if found is None or found[1].verb != verb:
            raise NotFound("no streaming request waits under this URL")
        del self._waiting[token]
        return found[1]

    def _expire(self) -> None:
        now = self._clock()
        while self._waiting:
            token = next(iter(self._waiting))
            if self._waiting[token][0] > now:
                return
            del self._waiting[token]
