"""As whom a container's first process runs: users, groups and the image's own /etc/passwd and
/etc/group.

Docker Engine adds the groups that the image's /etc/group gives a user only where no group is named,
the CRI's Merge wants them always and Strict never. So the identity is resolved here, and the engine
is told numbers only: ``uid:gid`` and every group."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from asupervisor.errors import InvalidArgument
from asupervisor.proto import cri

LARGEST_ID = 2**31 - 1
"""Of a user or group that the engine takes."""


@dataclass(frozen=True, slots=True)
class User:
    """One line of /etc/passwd."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Group:
    """One line of /etc/group."""

    name: str
    gid: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Accounts:
    """The users and groups that an image knows, in the order of its files."""

    users: tuple[User, ...] = ()
    groups: tuple[Group, ...] = ()


@dataclass(frozen=True, slots=True)
class Identity:
    """As whom a process runs.

    Args:
        uid: user id.
        gid: primary group id.
        groups: supplementary group ids, ascending, without the primary one unless it was asked for.
    """

    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    @property
    def user(self) -> str:
        """The engine's ``User``: ``uid:gid``."""
        return f"{self.uid}:{self.gid}"


def parse_accounts(passwd: str, group: str) -> Accounts:
    """Read the two files (passwd(5), group(5)); lines that are none of theirs are passed over, as
    the C library does.
    """
    users = []
    for fields in _lines(passwd, 4):
        if fields[2].isdigit() and fields[3].isdigit():
            users.append(User(fields[0], int(fields[2]), int(fields[3])))
    groups = []
    for fields in _lines(group, 3):
        if fields[2].isdigit():
            members = tuple(
                name for name in (fields[3] if len(fields) > 3 else "").split(",") if name
            )
            groups.append(Group(fields[0], int(fields[2]), members))
    return Accounts(tuple(users), tuple(groups))


def _lines(text: str, least: int) -> Iterable[list[str]]:
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) >= least and not line.startswith("#"):
            yield fields


def resolve_identity(
    context: cri.LinuxContainerSecurityContext, image_user: str, accounts: Accounts, subject: str
) -> Identity:
    """As whom a container runs.

    Args:
        context: its security context.
        image_user: the image's ``User``: empty, or a name or number, with ``:`` and a group or not.
        accounts: the image's users and groups.
        subject: names the container in errors.

    Raises:
        InvalidArgument: a group without a user, a user by number and by name, an id that is none, a
            name that the image does not know.
    """
    by_number, by_group = context.HasField("run_as_user"), context.HasField("run_as_group")
    if by_number and context.run_as_username:
        raise InvalidArgument(f"{subject}: run_as_user and run_as_username exclude each other")
    if by_group and not (by_number or context.run_as_username):
        raise InvalidArgument(
            f"{subject}: run_as_group is given without run_as_user or run_as_username"
        )
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
    if by_number:
        user, group = str(context.run_as_user.value), ""
    elif context.run_as_username:
        user, group = context.run_as_username, ""
    else:
        user, _, group = image_user.partition(":")
    entry = _user(user, accounts, subject)
    gid = (
        context.run_as_group.value
        if by_group
        else _group(group, accounts, subject)
        if group
        else entry.gid
    )
    groups = set(context.supplemental_groups)
    if context.supplemental_groups_policy == cri.Merge:
        groups |= {
            known.gid for known in accounts.groups if entry.name and entry.name in known.members
        }
    return Identity(entry.uid, gid, tuple(sorted(groups)))


def _user(text: str, accounts: Accounts, subject: str) -> User:
    if not text:
        text = "0"
    for user in accounts.users:
        if user.name == text or (text.isdigit() and user.uid == int(text)):
            return user
    if text.isdigit():
        return User("", int(text), 0)
    raise InvalidArgument(f'{subject}: the image has no user "{text}" in its /etc/passwd')


def _group(text: str, accounts: Accounts, subject: str) -> int:
    for group in accounts.groups:
        if group.name == text:
            return group.gid
    if text.isdigit():
        return int(text)
    raise InvalidArgument(f'{subject}: the image has no group "{text}" in its /etc/group')


def cri_user(document: dict[str, Any]) -> cri.ContainerUser | None:
    """The identity that a container was created with, out of its inspect document; None where a
    peer left it to the engine.
    """
    uid, _, gid = str((document.get("Config") or {}).get("User") or "").partition(":")
    groups = (document.get("HostConfig") or {}).get("GroupAdd") or []
    if not (uid.isdigit() and gid.isdigit() and all(group.isdigit() for group in groups)):
        return None
    return cri.ContainerUser(
        linux=cri.LinuxContainerUser(
            uid=int(uid), gid=int(gid), supplemental_groups=sorted({int(gid), *map(int, groups)})
        )
    )
