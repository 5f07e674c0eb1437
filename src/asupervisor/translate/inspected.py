"""An inspect document of the engine, made sound: every field that the other translations read is
there, with the type that the engine's API gives it, whatever the document held.

This is done only here, so the code that uses the result needs no checks of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asupervisor.translate.documents import (
    INT32_MAX,
    document_id,
    text_map_of,
    text_of,
    texts_of,
    whole_of,
)

Reader = Callable[[Any], Any]
"""Makes a value of a document sound."""


def _object(**fields: Reader) -> Reader:
    """An object with these keys, all of them there."""
    readers = tuple(fields.items())

    def read(value: Any) -> dict[str, Any]:
        value = value if isinstance(value, dict) else {}
        return {key: reader(value.get(key)) for key, reader in readers}

    return read


def _objects(element: Reader) -> Reader:
    """A list of objects; anything else is left out."""

    def read(value: Any) -> list[Any]:
        entries = value if isinstance(value, list) else ()
        return [element(entry) for entry in entries if isinstance(entry, dict)]

    return read


def _objects_by_name(element: Reader) -> Reader:
    def read(value: Any) -> dict[str, Any]:
        entries = value if isinstance(value, dict) else {}
        return {name: element(entry) for name, entry in entries.items() if isinstance(name, str)}

    return read


def _int32(value: Any) -> int:
    return whole_of(value, -INT32_MAX - 1, INT32_MAX)


def _pid(value: Any) -> int:
    return whole_of(value, 0, INT32_MAX)


def _flag(value: Any) -> bool:
    return value is True


def _unless_false(value: Any) -> bool:
    return value is not False


_CONTAINER = _object(
    Name=text_of,
    Created=text_of,
    Image=text_of,
    LogPath=text_of,
    ResolvConfPath=text_of,
    State=_object(
        Status=text_of,
        Running=_flag,
        Paused=_flag,
        OOMKilled=_flag,
        Pid=_pid,
        ExitCode=_int32,
        Error=text_of,
        StartedAt=text_of,
        FinishedAt=text_of,
    ),
    Config=_object(
        User=text_of,
        Image=text_of,
        Tty=_flag,
        OpenStdin=_flag,
        StdinOnce=_flag,
        StopSignal=text_of,
    ),
    HostConfig=_object(
        NetworkMode=text_of,
        IpcMode=text_of,
        PidMode=text_of,
        Runtime=text_of,
        Privileged=_flag,
        CgroupParent=text_of,
        LogConfig=_object(Type=text_of, Config=text_map_of),
        GroupAdd=texts_of,
        CpuPeriod=whole_of,
        CpuQuota=whole_of,
        CpuShares=whole_of,
        CpusetCpus=text_of,
        CpusetMems=text_of,
        Memory=whole_of,
        MemorySwap=whole_of,
        OomScoreAdj=whole_of,
        Mounts=_objects(
            _object(
                Type=text_of,
                Target=text_of,
                Source=text_of,
                BindOptions=_object(ReadOnlyForceRecursive=_flag),
                ImageOptions=_object(Subpath=text_of),
            )
        ),
    ),
    Mounts=_objects(
        _object(
            Type=text_of, Destination=text_of, Source=text_of, RW=_unless_false, Propagation=text_of
        )
    ),
    NetworkSettings=_object(
        Networks=_objects_by_name(_object(IPAddress=text_of, GlobalIPv6Address=text_of))
    ),
    GraphDriver=_object(Data=_object(UpperDir=text_of)),
)


def sound_container(document: Any) -> dict[str, Any]:
    """An inspect document (``GET /containers/{id}/json``) with what is read of it and nothing else.

    Raises:
        Internal: it has no id.
    """
    container_id = document_id(document, "container")
    return {"Id": container_id, **_CONTAINER(document)}
