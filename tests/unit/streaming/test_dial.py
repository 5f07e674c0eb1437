"""A server's word of where to connect to is not believed."""

from __future__ import annotations

import pytest

from asupervisor.errors import InvalidArgument
from asupervisor.streaming.dial import upgrade


@pytest.mark.parametrize(
    "url",
    [
        "",
        "//",
        "ftp://127.0.0.1:1/x",
        "http://[",
        "http://127.0.0.1:99999/x",
        "http://127.0.0.1:x/x",
        "http://é..x/x",
        "https://\ud800/x",
        "http://127.0.0.1:1/a b",
        "http://127.0.0.1:1/é",
        "http://127.0.0.1:1/\r\nHost: y",
    ],
    ids=ascii,
)
async def test_what_is_no_url_is_an_invalid_argument(url: str) -> None:
    with pytest.raises(InvalidArgument, match="is not an http:// or https:// URL"):
        await upgrade(url, ["v5.channel.k8s.io"], websocket=False)
