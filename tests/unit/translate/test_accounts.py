"""Who a container runs as."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asupervisor.errors import FailedPrecondition, InvalidArgument, ServiceError
from asupervisor.proto import cri
from asupervisor.translate.accounts import (
    LARGEST_ID,
    Answer,
    Asked,
    Identity,
    Question,
    asked_identity,
    cri_user,
    engine_id,
    look_up,
)

_PASSWD = b"""root:x:0:0:root:/root:/bin/sh
# a comment:x:1:1
app:x:1000:1001::/:
app:x:7:7::/:
broken:x:many:1

1234:x:0:0::/:
huge:x:5:99999999999999999999::/:
negative:x:6:-1::/:"""
_GROUP = b"""root:x:0:
wheel:x:10:root,app
 staff:x:50:app,other\r
#off:x:51:app
short:x:60
broken:x:many:apple,app2
2000:x:0:
02000:x:0:
+3000:x:0:
"""


def _asked(image_user: str = "", at_hand: bool = False, **fields: Any) -> Asked:
    for key in ("run_as_user", "run_as_group"):
        if key in fields:
            fields[key] = cri.Int64Value(value=fields[key])
    context = cri.LinuxContainerSecurityContext(**fields)
    return asked_identity(context, image_user, at_hand, "container x")


def _identity(image_user: str = "", **fields: Any) -> Identity:
    asked = _asked(image_user, **fields)
    question = asked.question
    return asked.identity(look_up(question, _PASSWD, _GROUP) if question else Answer())


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("0", 0),
        ("1000", 1000),
        ("+1", 1),
        ("-0", 0),
        ("00" * 4000 + "7", 7),
        (str(LARGEST_ID), LARGEST_ID),
        (str(LARGEST_ID + 1), None),
        ("4294967296", None),
        ("9" * 5000, None),
        ("-1", None),
        ("", None),
        ("app", None),
        (" 1", None),
        ("1 ", None),
        ("1\n", None),
        ("1_000", None),
        ("0x10", None),
        ("1.0", None),
        ("\u0661", None),  # digits of other alphabets
        ("\u00b2", None),
        ("\uff11", None),
        ("1\0", None),
    ],
)
def test_what_the_engine_takes_for_an_id(word: str, expected: int | None) -> None:
    assert engine_id(word) == expected


@pytest.mark.parametrize(
    "user", ["", "0", "app", "1000", "1000:60", "app:staff", "1234", "+1", "-1", "\u0661", ":5"]
)
def test_the_images_user_is_left_to_the_engine_and_costs_no_reading(user: str) -> None:
    asked = _asked(user)
    assert asked.question is None
    assert asked.identity(Answer()) == Identity()


@pytest.mark.parametrize(
    ("fields", "user"),
    [
        ({"run_as_user": 1000}, "1000"),
        # The image's line "1234:x:0:0" must not make root of it.
        ({"run_as_user": 1234}, "1234"),
        ({"run_as_username": "app"}, "app"),
        ({"run_as_user": 0}, "0"),
    ],
)
def test_the_requests_user_is_told_as_it_is(fields: dict[str, Any], user: str) -> None:
    asked = _asked("app:staff", **fields)
    assert asked.question is None
    assert asked.identity(Answer()) == Identity(user)


def test_merge_with_a_group_adds_those_of_the_images_user() -> None:
    assert _identity(run_as_user=1000, run_as_group=7) == Identity("1000:7", (10, 50))
    assert _identity(run_as_username="app", run_as_group=7) == Identity("app:7", (10, 50))
    assert _identity(run_as_user=4321, run_as_group=7) == Identity("4321:7")
    # The user of a number is the first whose id it is, never one of that name.
    assert _identity(run_as_user=1234, run_as_group=7) == Identity("1234:7")


@pytest.mark.parametrize(
    ("image_user", "fields", "user"),
    [
        ("", {}, "0:0"),
        ("app", {}, "app:1001"),
        ("", {"run_as_user": 1000}, "1000:1001"),
        ("", {"run_as_user": 4321}, "4321:0"),
        ("", {"run_as_username": "app"}, "app:1001"),
        ("app:staff", {}, ""),
        ("app:staff", {"run_as_user": 1000}, "1000:1001"),
        ("", {"run_as_user": 5, "run_as_group": 6}, "5:6"),
    ],
)
def test_strict_names_the_primary_group_so_that_no_other_is_added(
    image_user: str, fields: dict[str, Any], user: str
) -> None:
    assert _identity(image_user, supplemental_groups_policy=cri.Strict, **fields) == Identity(user)


def test_a_supplementary_group_is_a_number_and_no_name() -> None:
    assert _identity(supplemental_groups=[5, 3000, 5]) == Identity("", (5, 3000))
    assert _identity(run_as_user=1000, run_as_group=1, supplemental_groups=[60]) == Identity(
        "1000:1", (10, 50, 60)
    )


@pytest.mark.parametrize(
    ("fields", "group"),
    [
        ({"supplemental_groups": [5, 2000]}, b"2000:x:0:\n"),
        ({"supplemental_groups": [2000]}, b"2000:x:2000:\n 2000 :x:1:\n2000:x:0:"),
        ({"supplemental_groups": [2000]}, b"2000"),
        ({"run_as_user": 1000, "run_as_group": 1}, b"wheel:x:10:app\n10:x:0:"),
        ({"run_as_user": 1000, "run_as_group": 1}, b"1:x:0:"),
        ({"run_as_user": 5, "run_as_group": 6, "supplemental_groups_policy": 1}, b"6:x:0:"),
    ],
)
def test_a_number_that_is_another_groups_name_is_refused(
    fields: dict[str, Any], group: bytes
) -> None:
    question = _asked(**fields).question
    assert question is not None
    with pytest.raises(FailedPrecondition, match="/etc/group calls group 0"):
        look_up(question, _PASSWD, group)


def test_a_name_is_looked_up_before_where_that_costs_nothing() -> None:
    nobody: list[dict[str, Any]] = [{"run_as_username": "nobody"}, {"image_user": "nobody:5"}]
    for fields in nobody:
        question = _asked(at_hand=True, **fields).question
        assert question == Question("nobody", known=True)
        with pytest.raises(InvalidArgument, match="nobody"):
            look_up(question, _PASSWD, _GROUP)
    numbers: list[dict[str, Any]] = [
        {"run_as_user": 77},
        {"image_user": "77"},
        {"image_user": "-1"},
        {},
    ]
    for fields in numbers:
        assert _asked(at_hand=True, **fields).question is None


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"run_as_group": 1}, "run_as_group"),
        ({"run_as_user": 1, "run_as_username": "app"}, "exclude"),
        ({"run_as_user": -1}, "-1"),
        ({"run_as_user": 2**31}, str(2**31)),
        ({"supplemental_groups": [-7]}, "-7"),
        ({"run_as_username": "app:root"}, "app:root"),
        ({"run_as_username": "app\0"}, "app"),
    ],
)
def test_what_cannot_be_is_named(fields: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidArgument, match=word):
        _asked(**fields)


@pytest.mark.parametrize(
    ("question", "word"),
    [
        (Question("huge", primary_group=True), "9223372036854775807"),
        (Question("negative", primary_group=True), "-1"),
        (Question("broken", member_groups=True), "-3"),
    ],
)
def test_an_id_that_is_none_is_never_handed_on(question: Question, word: str) -> None:
    with pytest.raises(FailedPrecondition, match=word):
        look_up(question, _PASSWD, b"odd:x:-3:broken\n")


def test_a_line_that_no_engine_reads_is_refused() -> None:
    with pytest.raises(FailedPrecondition, match="/etc/group has a line of 2000000 bytes"):
        look_up(Question("0", numbers=(5,)), b"", b"x" * 2_000_000)


@settings(max_examples=300, deadline=None)
@given(
    passwd=st.lists(
        st.sampled_from(
            [
                *(bytes((byte,)) for byte in b"0:x\n\r,#+-\0 \xff"),
                "\u2028".encode(),
                b"9" * 30,
                b"app",
                b"1000",
                b"root:x:0:0\n",
                b"app:x:1000:1000\n",
            ]
        ),
        max_size=40,
    ).map(b"".join),
    group=st.binary(max_size=200) | st.just(b"1000:x:0:app\napp:x:5:root,app"),
    user=st.sampled_from(["app", "0", "1000", "+1000", "root", "\u0661", "#", "x"]),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    numbers=st.lists(st.sampled_from([0, 5, 1000, LARGEST_ID]), max_size=3),
)
def test_whatever_the_files_hold_there_is_an_answer_or_an_error_of_ours(
    passwd: bytes,
    group: bytes,
    user: str,
    flags: tuple[bool, bool, bool],
    numbers: list[int],
) -> None:
    question = Question(user, flags[0], flags[1], None, tuple(numbers), flags[2])
    try:
        answer = look_up(question, passwd, group)
    except ServiceError:
        return
    assert not flags[0] or 0 <= answer.gid <= LARGEST_ID
    assert set(numbers) <= set(answer.groups)


def test_what_the_engine_was_told_in_numbers_is_read_back() -> None:
    told = cri_user(
        {"Config": {"User": "1000:1001"}, "HostConfig": {"GroupAdd": ["003", "10", "+50"]}}
    )
    assert told is not None
    assert (told.linux.uid, told.linux.gid) == (1000, 1001)
    assert list(told.linux.supplemental_groups) == [3, 10, 50, 1001]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"Config": {"User": "app"}},
        {"Config": {"User": "1"}},
        {"Config": {"User": "1:x"}},
        {"Config": {"User": "\u0661:\u0662"}},
        {"Config": {"User": "1:4294967296"}},
        {"Config": {"User": "1:2"}, "HostConfig": {"GroupAdd": ["wheel"]}},
        {"Config": {"User": 7}},
        {"Config": []},
    ],
)
def test_what_is_left_to_the_engine_is_not_guessed(document: dict[str, Any]) -> None:
    assert cri_user(document) is None
