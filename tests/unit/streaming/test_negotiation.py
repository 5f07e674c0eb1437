"""Who decides on the protocol, and what the others are told."""

from __future__ import annotations

import pytest

from asupervisor.streaming.negotiation import (
    ACCEPTED_HEADER,
    Refused,
    choose_spdy,
    choose_websocket,
    split_list,
)


def test_lists_come_in_one_header_or_in_several() -> None:
    assert split_list(["a, b", "c", " ,"]) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("offered", "chosen", "version"),
    [
        (["v5.channel.k8s.io", "v4.channel.k8s.io"], "v5.channel.k8s.io", 5),
        (["v4.channel.k8s.io", "v5.channel.k8s.io"], "v4.channel.k8s.io", 4),
        (["v9.channel.k8s.io", "v2.channel.k8s.io"], "v2.channel.k8s.io", 2),
        (["v3.channel.k8s.io"], "v3.channel.k8s.io", 3),
        (["channel.k8s.io"], "channel.k8s.io", 1),
    ],
)
def test_spdy_takes_the_clients_first_that_is_known(
    offered: list[str], chosen: str, version: int
) -> None:
    choice = choose_spdy(offered, port_forward=False)
    assert (choice.transport, choice.name, choice.version) == ("spdy", chosen, version)


def test_spdy_without_an_offer_is_a_bad_request() -> None:
    with pytest.raises(Refused) as caught:
        choose_spdy([], port_forward=False)
    assert caught.value.status == 400


def test_spdy_with_unknown_offers_is_forbidden_and_told_what_is_known() -> None:
    with pytest.raises(Refused) as caught:
        choose_spdy(["v4.channel.k8s.io"], port_forward=True)
    assert (caught.value.status, caught.value.headers) == (
        403,
        ((ACCEPTED_HEADER, "portforward.k8s.io"),),
    )
    with pytest.raises(Refused) as caught:
        choose_spdy(["portforward.k8s.io"], port_forward=False)
    assert (
        next(value for _, value in caught.value.headers) == "v5.channel.k8s.io"
        and len(caught.value.headers) == 5
    )


@pytest.mark.parametrize(
    ("offered", "version", "base64"),
    [
        (["v5.channel.k8s.io"], 5, False),
        (["v4.channel.k8s.io"], 4, False),
        (["v4.base64.channel.k8s.io"], 4, True),
        (["channel.k8s.io"], 1, False),
        (["base64.channel.k8s.io"], 1, True),
        ([], 1, False),
        (["nonsense", "base64.channel.k8s.io"], 1, True),
    ],
)
def test_websocket_commands(offered: list[str], version: int, base64: bool) -> None:
    choice = choose_websocket(offered, port_forward=False)
    assert choice.channels is not None
    assert (choice.transport, choice.version, choice.channels.base64) == (
        "channels",
        version,
        base64,
    )
    assert choice.name in (*offered, "")


def test_websocket_port_forward_is_tunnelled_or_by_channels() -> None:
    assert (
        choose_websocket(["SPDY/3.1+portforward.k8s.io"], port_forward=True).transport == "tunnel"
    )
    assert choose_websocket(["v4.base64.channel.k8s.io"], port_forward=True).transport == "channels"
    assert choose_websocket([], port_forward=True).name == ""


@pytest.mark.parametrize(
    ("offered", "port_forward"),
    [(["v6"], False), (["SPDY/3.1+portforward.k8s.io"], False), (["v5.channel.k8s.io"], True)],
)
def test_websocket_with_unknown_offers_is_forbidden(offered: list[str], port_forward: bool) -> None:
    with pytest.raises(Refused) as caught:
        choose_websocket(offered, port_forward=port_forward)
    assert caught.value.status == 403
