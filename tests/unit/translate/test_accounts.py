"""Who a container runs as."""

from __future__ import annotations

from typing import Any

import pytest

from asupervisor.errors import InvalidArgument
from asupervisor.proto import cri
from asupervisor.translate.accounts import (
    Accounts,
    Group,
    Identity,
    User,
    cri_user,
    parse_accounts,
    resolve_identity,
)

_ACCOUNTS = parse_accounts(
    "root:x:0:0:root:/root:/bin/sh\n# a"
    " comment:x:1:1\napp:x:1000:1001::/:\nbroken:x:many:1\n\n77:x:5:6::/:\n",
    "root:x:0:\nwheel:x:10:root,app\nstaff:x:50:app,other\nshort:x:60\nbroken:x:many:app\n",
)


def _identity(image_user: str = "", **fields: Any) -> Identity:
    for key in ("run_as_user", "run_as_group"):
        if key in fields:
            fields[key] = cri.Int64Value(value=fields[key])
    return resolve_identity(
        cri.LinuxContainerSecurityContext(**fields), image_user, _ACCOUNTS, "container x"
    )


def test_the_two_files_are_read_and_what_is_none_of_their_lines_is_passed_over() -> None:
    assert (
        Accounts(
            (User("root", 0, 0), User("app", 1000, 1001), User("77", 5, 6)),
            (
                Group("root", 0, ()),
                Group("wheel", 10, ("root", "app")),
                Group("staff", 50, ("app", "other")),
                Group("short", 60, ()),
            ),
        )
        == _ACCOUNTS
    )
    assert parse_accounts("", "") == Accounts()


@pytest.mark.parametrize(
    ("image_user", "expected"),
    [
        ("", Identity(0, 0, (10,))),
        ("0", Identity(0, 0, (10,))),
        ("app", Identity(1000, 1001, (10, 50))),
        ("1000", Identity(1000, 1001, (10, 50))),
        ("1000:60", Identity(1000, 60, (10, 50))),
        ("app:staff", Identity(1000, 50, (10, 50))),
        ("4321", Identity(4321, 0)),
        ("4321:99", Identity(4321, 99)),
        # A name that is a number is a name first, as the C library has it.
        ("77", Identity(5, 6)),
    ],
)
def test_the_images_user(image_user: str, expected: Identity) -> None:
    assert _identity(image_user) == expected


def test_the_requests_user_wins_over_the_images_with_its_group() -> None:
    assert _identity("app:staff", run_as_user=0) == Identity(0, 0, (10,))
    assert _identity("0", run_as_username="app") == Identity(1000, 1001, (10, 50))
    assert _identity("app", run_as_user=1000, run_as_group=7) == Identity(1000, 7, (10, 50))


def test_strict_leaves_the_images_groups_out() -> None:
    fields: dict[str, Any] = {"run_as_user": 1000, "supplemental_groups": [5, 3, 5]}
    assert _identity(**fields) == Identity(1000, 1001, (3, 5, 10, 50))
    assert _identity(**fields, supplemental_groups_policy=cri.Strict) == Identity(
        1000, 1001, (3, 5)
    )


@pytest.mark.parametrize(
    ("image_user", "fields", "word"),
    [
        ("", {"run_as_group": 1}, "run_as_group"),
        ("", {"run_as_user": 1, "run_as_username": "app"}, "exclude"),
        ("", {"run_as_user": -1}, "-1"),
        ("", {"run_as_user": 2**31}, str(2**31)),
        ("", {"supplemental_groups": [-7]}, "-7"),
        ("", {"run_as_username": "nobody"}, "nobody"),
        ("nobody", {}, "nobody"),
        ("app:nogroup", {}, "nogroup"),
    ],
)
def test_what_cannot_be_is_named(image_user: str, fields: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidArgument, match=word):
        _identity(image_user, **fields)


def test_the_engine_is_told_numbers_and_they_are_read_back() -> None:
    identity = _identity("app", supplemental_groups=[3])
    document = {
        "Config": {"User": identity.user},
        "HostConfig": {"GroupAdd": [str(group) for group in identity.groups]},
    }
    told = cri_user(document)
    assert told is not None
    assert (told.linux.uid, told.linux.gid, list(told.linux.supplemental_groups)) == (
        1000,
        1001,
        [3, 10, 50, 1001],
    )


@pytest.mark.parametrize(
    "document",
    [{}, {"Config": {"User": "app"}}, {"Config": {"User": "1"}}, {"Config": {"User": "1:x"}}],
)
def test_what_a_peer_left_to_the_engine_is_not_guessed(document: dict[str, Any]) -> None:
    assert cri_user(document) is None
