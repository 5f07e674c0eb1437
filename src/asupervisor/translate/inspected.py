"""The engine's description of a container, made sound: what the other translations read of it is
there, with the type that the engine's API gives it, whatever the document held.

This is the one place where that is seen to; behind it nothing needs to be asked twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asupervisor.translate.documents import (
    INT32_MAX,
    at,
    document_id,
    flag,
    mapping,
    sequence,
    text,
    text_map,
    texts,
    whole,
)

Reader = Callable[[Any, str], Any]
"""Reads the value of one key of a document."""


def _object(**fields: Reader) -> Reader:
    """An object with these keys, all of them there."""

    def read(document: Any, *path: str) -> dict[str, Any]:
        value = mapping(document, *path)
        return {key: reader(value, key) for key, reader in fields.items()}

    return read


def _objects(element: Reader) -> Reader:
    """A list of objects; anything else is left out."""

    def read(document: Any, *path: str) -> list[Any]:
        entries = sequence(document, *path)
        return [element({"": entry}, "") for entry in entries if isinstance(entry, dict)]

    return read


def _objects_by_name(element: Reader) -> Reader:
    def read(document: Any, *path: str) -> dict[str, Any]:
        entries = mapping(document, *path)
        return {name: element(entries, name) for name in entries if isinstance(name, str)}

    return read


def _int32(document: Any, *path: str) -> int:
    return whole(document, *path, low=-INT32_MAX - 1, high=INT32_MAX)


def _unless_false(document: Any, *path: str) -> bool:
    return at(document, *path) is not False


def _pid(document: Any, *path: str) -> int:
    return whole(document, *path, low=0, high=INT32_MAX)


_CONTAINER = _object(
    Name=text,
    Created=text,
    Image=text,
    LogPath=text,
    ResolvConfPath=text,
    State=_object(
        Status=text,
        Running=flag,
        Paused=flag,
        OOMKilled=flag,
        Pid=_pid,
        ExitCode=_int32,
        Error=text,
        StartedAt=text,
        FinishedAt=text,
    ),
    Config=_object(
        User=text,
        Image=text,
        Labels=text_map,
        Tty=flag,
        OpenStdin=flag,
        StdinOnce=flag,
        StopSignal=text,
    ),
    HostConfig=_object(
        NetworkMode=text,
        IpcMode=text,
        PidMode=text,
        Runtime=text,
        Privileged=flag,
        CgroupParent=text,
        LogConfig=_object(Type=text, Config=text_map),
        GroupAdd=texts,
        CpuPeriod=whole,
        CpuQuota=whole,
        CpuShares=whole,
        CpusetCpus=text,
        CpusetMems=text,
        Memory=whole,
        MemorySwap=whole,
        OomScoreAdj=whole,
        Mounts=_objects(
            _object(
                Type=text,
                Target=text,
                Source=text,
                BindOptions=_object(ReadOnlyForceRecursive=flag),
                ImageOptions=_object(Subpath=text),
            )
        ),
    ),
    Mounts=_objects(
        _object(Type=text, Destination=text, Source=text, RW=_unless_false, Propagation=text)
    ),
    NetworkSettings=_object(
        Networks=_objects_by_name(_object(IPAddress=text, GlobalIPv6Address=text))
    ),
    GraphDriver=_object(Data=_object(UpperDir=text)),
)


def sound_container(document: Any) -> dict[str, Any]:
    """An inspect document (``GET /containers/{id}/json``) with what is read of it and nothing else.

    Raises:
        Internal: it has no id.
    """
    container_id = document_id(document, "container")
    return {"Id": container_id, **_CONTAINER({"": document}, "")}
