"""The user and groups that a container's first process runs as.

Docker Engine resolves a user itself at the start, by the image's own /etc/passwd and /etc/group.
This service lets it: the engine is told what was asked for, and the result is read from the
process. Only three things cannot be asked of it, so for these the files have to be read before:

- the primary group of a user without the groups that the image gives it (the CRI's Strict);
- the groups that the image gives a user together with another primary group (the CRI's Merge with
  run_as_group): the engine adds them only where no group is named;
- a group by its number alone: engines up to 28, and runc up to 1.1, look up a number among the
  supplementary groups as a name first, so that with a line ``1000:x:0:`` in the image 1000 becomes
  the group of root. A container that asks for such a number is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from asupervisor.errors import FailedPrecondition, InvalidArgument
from asupervisor.proto import cri
from asupervisor.translate.documents import text, texts

LARGEST_ID = 2**31 - 1
"""The largest id of a user or group that the engine takes."""
LARGEST_LINE = 1 << 20
"""Bytes of one line of an account file; no engine reads longer ones (28 ends at 64 KiB)."""
_NUMBER = re.compile(r"[+-]?0*([0-9]{1,10})", re.ASCII)
_DIGITS = re.compile(r"[+-]?[0-9]+", re.ASCII)
"""What at least one version of the engine takes for a number."""
_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
"""What the engine strips off a line's ends (Unicode's White_Space)."""


def engine_id(word: str) -> int | None:
    """The id that a word is to the engine, which takes every decimal number for one, signed or with
    zeros before it; None where it takes the word for a name, or the number is not an id.
    """
    match = _NUMBER.fullmatch(word)
    if match is None:
        return None
    number = int(match.group(1))
    return number if number <= LARGEST_ID and (number == 0 or word[0] != "-") else None


@dataclass(frozen=True, slots=True)
class Question:
    """What has to be known of an image's account files.

    Args:
        user: name or number, as the engine is told; never empty.
        primary_group: whether its primary group is wanted.
        member_groups: whether the groups of which it is a member are wanted.
        group: a primary group that was asked for, which the engine must not take for another.
        numbers: supplementary groups that were asked for, likewise.
        known: whether the image must have the name; else the engine checks that at the start.
    """

    user: str
    primary_group: bool = False
    member_groups: bool = False
    group: int | None = None
    numbers: tuple[int, ...] = ()
    known: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a :class:`Question`.

    Args:
        gid: the primary group; 0, as for the engine, where the image does not know the user.
        groups: the supplementary groups, ascending.
    """

    gid: int = 0
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Identity:
    """The user and groups of a process, as the engine is told.

    Args:
        user: the engine's ``User``; empty for the image's own.
        groups: its ``GroupAdd``.
    """

    user: str = ""
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """The user and groups that a container was asked to run with.

    Args:
        user: the request's user, else the image's; ``0`` where neither has one.
        group: the request's primary group, else the one that the image names; empty for the user's.
        of_image: whether both are the image's.
        question: what has to be known of the image's files; None for nothing.
    """

    user: str
    group: str
    of_image: bool
    question: Question | None

    def identity(self, answer: Answer) -> Identity:
        """What the engine is to be told.

        Args:
            answer: to the question; an empty one where there is none.
        """
        if self.question is not None and self.question.primary_group:
            return Identity(f"{self.user}:{answer.gid}", answer.groups)
        if self.of_image:
            return Identity("", answer.groups)
        return Identity(f"{self.user}:{self.group}" if self.group else self.user, answer.groups)


def asked_identity(
    context: cri.LinuxContainerSecurityContext, image_user: str, at_hand: bool, subject: str
) -> Asked:
    """The user and groups that a container is asked to run with.

    Args:
        context: its security context.
        image_user: the image's ``User``: empty, or a name or number, with ``:`` and a group or not.
        at_hand: whether reading the image's files costs almost nothing: then a name is looked up
            before anything is made.
        subject: names the container in errors.

    Raises:
        InvalidArgument: a group without a user, a user by number and by name, a malformed id, a
            name that cannot be one.
    """
    by_number, by_group = context.HasField("run_as_user"), context.HasField("run_as_group")
    _check(context, subject)
    if by_number or context.run_as_username:
        user = str(context.run_as_user.value) if by_number else context.run_as_username
        group = str(context.run_as_group.value) if by_group else ""
    else:
        user, group = [*image_user.split(":"), ""][:2]
    strict = context.supplemental_groups_policy == cri.Strict
    question = Question(
        user or "0",
        primary_group=strict and not group,
        member_groups=by_group and not strict,
        group=context.run_as_group.value if by_group else None,
        numbers=tuple(sorted(set(context.supplemental_groups))),
        known=at_hand and not _DIGITS.fullmatch(user or "0"),
    )
    needed = question.primary_group or by_group or question.numbers or question.known
    return Asked(
        question.user,
        group,
        of_image=not (by_number or context.run_as_username),
        question=question if needed else None,
    )


def _check(context: cri.LinuxContainerSecurityContext, subject: str) -> None:
    by_number, name = context.HasField("run_as_user"), context.run_as_username
    if by_number and name:
        raise InvalidArgument(f"{subject}: run_as_user and run_as_username exclude each other")
    if context.HasField("run_as_group") and not (by_number or name):
        raise InvalidArgument(
            f"{subject}: run_as_group is given without run_as_user or run_as_username"
        )
    if ":" in name or "\0" in name:
        # The engine would take what follows a colon for a group.
        raise InvalidArgument(f"{subject}: run_as_username {name!r} cannot be a user's name")
    for what, number in (
        ("run_as_user", context.run_as_user.value),
        ("run_as_group", context.run_as_group.value),
        *(("supplemental_groups", group) for group in context.supplemental_groups),
    ):
        if not 0 <= number <= LARGEST_ID:
            raise InvalidArgument(
                f"{subject}: {what} {number} is not between 0 and {LARGEST_ID}, as Docker Engine"
                " wants it"
            )


def look_up(question: Question, passwd: bytes, group: bytes) -> Answer:
    """Answer a question by the two files, read as the engine reads them: the first line that fits
    counts, a field that is not a number counts as 0, a number is never a name.

    Takes time and memory in proportion to the files at most; not for the event loop.

    Args:
        question: what is asked.
        passwd, group: the files; empty where the image has none.

    Raises:
        FailedPrecondition: a line that no engine reads, a malformed id, or a number that the
            engine would take for another group.
        InvalidArgument: the image must have the user, and does not.
    """
    name, gid = _user(question.user, passwd)
    if question.known and not name:
        raise InvalidArgument(f'the image has no user "{question.user}" in its /etc/passwd')
    if question.primary_group and not 0 <= gid <= LARGEST_ID:
        raise FailedPrecondition(
            f"the image's /etc/passwd gives user {question.user} the group {gid}, which is not a"
            " valid id"
        )
    wanted = set(question.numbers)
    if question.member_groups and name:
        wanted |= _member_groups(name, group)
    _check_names(wanted | ({question.group} if question.group is not None else set()), group)
    return Answer(gid, tuple(sorted(wanted)))


def _user(user: str, passwd: bytes) -> tuple[bytes, int]:
    """Name and primary group of a user; nothing and 0 where the file does not know it."""
    uid, name = engine_id(user), user.encode(errors="replace")
    for fields in _lines(passwd, "/etc/passwd"):
        found = _atoi(_field(fields, 2))
        if found == uid if uid is not None else fields[0] == name:
            return fields[0], _atoi(_field(fields, 3))
    return b"", 0


def _member_groups(name: bytes, group: bytes) -> set[int]:
    found = set()
    for fields in _lines(group, "/etc/group"):
        # Not split: a list of a million members would take fifty times the size of the line.
        if not fields[0].startswith(b"#") and b",%b," % name in b",%b," % _field(fields, 3):
            gid = _atoi(_field(fields, 2))
            if not 0 <= gid <= LARGEST_ID:
                raise FailedPrecondition(
                    f"the image's /etc/group gives user {name.decode(errors='replace')} the group"
                    f" {gid}, which is not a valid id"
                )
            found.add(gid)
    return found


def _check_names(wanted: set[int], group: bytes) -> None:
    """Refuse numbers that are names of other groups in the image."""
    by_name = {str(number).encode(): number for number in wanted}
    for fields in _lines(group, "/etc/group") if wanted else ():
        number = by_name.get(fields[0])
        if number is not None and _atoi(_field(fields, 2)) != number:
            raise FailedPrecondition(
                f'the image\'s /etc/group calls group {_atoi(_field(fields, 2))} "{number}": Docker'
                f" Engine would take that for group {number}"
            )


def _lines(content: bytes, path: str) -> Iterator[list[bytes]]:
    """The first fields of each line; the last one holds a group's members, or the rest of a user's
    line.
    """
    start = 0
    while start < len(content):
        end = content.find(b"\n", start)
        end = len(content) if end < 0 else end
        if end - start > LARGEST_LINE:
            raise FailedPrecondition(f"the image's {path} has a line of {end - start} bytes")
        line = _strip(content[start:end])
        start = end + 1
        if line:
            yield line.split(b":", 4)


def _strip(line: bytes) -> bytes:
    line = line.strip()
    if line and (line[0] > 127 or line[-1] > 127):
        return line.decode(errors="surrogateescape").strip(_SPACE).encode(errors="surrogateescape")
    return line


def _field(fields: list[bytes], index: int) -> bytes:
    return fields[index] if index < len(fields) else b""


def _atoi(field: bytes) -> int:
    """A number as the engine reads it: 0 where it is not one, the nearest of 64 bits."""
    digits = field[1:] if field[:1] in (b"+", b"-") else field
    if not digits.isdigit():
        return 0
    digits = digits.lstrip(b"0")
    sign = -1 if field[:1] == b"-" else 1
    return sign * min(int(digits or b"0") if len(digits) < 20 else 2**63, 2**63 - (sign > 0))


def cri_user(document: dict[str, Any]) -> cri.ContainerUser | None:
    """The identity that a container was created with, out of its inspect document; None where it is
    the engine that resolves it.
    """
    uid, _, gid = text(document, "Config", "User").partition(":")
    ids = [engine_id(word) for word in (uid, gid, *texts(document, "HostConfig", "GroupAdd"))]
    numbers = [number for number in ids if number is not None]
    if len(numbers) < len(ids):
        return None
    return cri.ContainerUser(
        linux=cri.LinuxContainerUser(
            uid=numbers[0], gid=numbers[1], supplemental_groups=sorted(set(numbers[1:]))
        )
    )
