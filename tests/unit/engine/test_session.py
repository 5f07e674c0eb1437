"""Requests to the engine: each has a deadline, each failure is one of our errors, nothing passes a
closed gate.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from asupervisor.conditions import Reason
from asupervisor.engine.client import EngineClient
from asupervisor.errors import (
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ServiceError,
    Unauthenticated,
    Unavailable,
)
from tests.harness.fake_engine import FakeEngine


@asynccontextmanager
async def client(
    tmp_path: Path, reachable: bool = True
) -> AsyncIterator[tuple[FakeEngine, EngineClient]]:
    with FakeEngine(tmp_path / "docker.sock") as fake:
        engine = EngineClient(fake.endpoint, 5.0)
        await engine.open()
        if reachable:
            engine.health.set_reachable()
        try:
            yield fake, engine
        finally:
            await engine.close()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidArgument),
        (401, Unauthenticated),
        (403, PermissionDenied),
        (404, NotFound),
        (409, FailedPrecondition),
        (500, Internal),
        (501, FailedPrecondition),
        (503, Unavailable),
        (418, Internal),
    ],
)
async def test_a_status_becomes_an_error_with_operation_subject_and_the_engines_words(
    tmp_path: Path, status: int, kind: type[ServiceError]
) -> None:
    async with client(tmp_path) as (fake, engine):
        fake.answers["POST /containers/abc/start"] = lambda: (
            status,
            {"message": "because of this"},
        )
        with pytest.raises(ServiceError) as caught:
            await engine.containers.start("abc")
        assert type(caught.value) is kind
        assert "because of this" in str(caught.value) and "start container abc" in str(caught.value)
        assert (caught.value.operation, caught.value.subject) == ("start_container", "abc")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": 1}, '{"error": 1}'),
        ([1], "[1]"),
        ("text", '"text"'),
        ({"message": {"a": 1}}, "{'a': 1}"),
        (b"", ""),
        (b"{", "{"),
        (b"\xff broken", "\ufffd broken"),
    ],
)
async def test_an_error_without_a_message_keeps_its_status(
    tmp_path: Path, body: Any, words: str
) -> None:
    async with client(tmp_path) as (fake, engine):
        fake.answers["POST /containers/x/start"] = lambda: (404, body)
        with pytest.raises(NotFound) as refused:
            await engine.containers.start("x")
    assert refused.value.message == f"start container x: {words}"


async def test_an_error_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        while True:
            sent += 1 << 20
            yield b"x" * (1 << 20)

    def forever() -> tuple[int, Any]:
        return 500, (chunk for chunk in chunks())

    async with client(tmp_path) as (fake, engine):
        fake.answers["POST /containers/x/start"] = forever
        with pytest.raises(Internal) as refused:
            await engine.containers.start("x")
    assert len(refused.value.message) < 10_000
    assert sent < 64 << 20


@pytest.mark.parametrize("found", ["a b", "é", "../../x?y", "", ".", 5, "x" * 300, "a\n"])
async def test_an_id_that_no_path_could_carry_is_none(tmp_path: Path, found: Any) -> None:
    async with client(tmp_path) as (fake, engine):
        fake.answers["POST /containers/x/exec"] = lambda: (201, {"Id": found})
        with pytest.raises(Internal, match="without its id"):
            await engine.streams.create_exec("x", ["true"])


async def test_a_conflict_of_names_is_told_from_a_conflict_of_states(tmp_path: Path) -> None:
    async with client(tmp_path) as (fake, engine):
        fake.answers["POST /containers/create"] = lambda: (409, {"message": "in use"})
        with pytest.raises(AlreadyExists):
            await engine.containers.create("name", {})


async def test_the_removal_of_what_is_gone_is_done(tmp_path: Path) -> None:
    async with client(tmp_path) as (_fake, engine):
        await engine.containers.remove("gone", force=True)


async def test_an_engine_that_does_not_answer_in_time(tmp_path: Path) -> None:
    async with client(tmp_path) as (fake, engine):
        let_go = threading.Event()

        def frozen() -> tuple[int, Any]:
            let_go.wait(10)
            return 200, {}

        fake.answers["GET /containers/abc/json"] = frozen
        with pytest.raises(
            DeadlineExceeded, match=r"did not answer inspect container abc within 0\.2 s"
        ):
            await engine.containers.inspect("abc", timeout_s=0.2)
        let_go.set()
        # The connection of the call that was given up is not used again.
        fake.containers["abc"] = {"Id": "abc"}
        del fake.answers["GET /containers/abc/json"]
        assert await engine.containers.inspect("abc") == {"Id": "abc"}


async def test_a_closed_gate_lets_only_the_probe_through(tmp_path: Path) -> None:
    async with client(tmp_path, reachable=False) as (fake, engine):
        engine.health.set_unreachable(Reason.ENGINE_NOT_ANSWERING, "it does not answer")
        with pytest.raises(Unavailable, match="cannot inspect container: it does not answer"):
            await engine.containers.inspect("abc")
        assert fake.requests == []
        await engine.system.ping(1.0)
        await engine.identify(1.0)
        assert engine.cgroup_driver == "systemd" and engine.runtimes == ("runc",)


@pytest.mark.parametrize(
    ("theirs", "spoken"),
    [
        ({"ApiVersion": "1.41"}, (1, 41)),
        ({"ApiVersion": "1.45", "MinAPIVersion": "1.12"}, (1, 45)),
        ({"ApiVersion": "1.52", "MinAPIVersion": "1.44"}, (1, 52)),
        ({"ApiVersion": "1.56", "MinAPIVersion": "1.56"}, (1, 56)),
        ({"ApiVersion": "1.60", "MinAPIVersion": "1.56"}, (1, 56)),
        ({"ApiVersion": "2.0", "MinAPIVersion": "1.40"}, (1, 56)),
    ],
)
async def test_the_newest_api_version_that_both_speak_is_spoken(
    tmp_path: Path, theirs: dict[str, str], spoken: tuple[int, int]
) -> None:
    async with client(tmp_path) as (fake, engine):
        fake.version |= theirs
        await engine.identify(1.0)
        assert engine.api_version == spoken


@pytest.mark.parametrize(
    ("theirs", "kind", "words"),
    [
        (
            {"ApiVersion": "1.40"},
            FailedPrecondition,
            r"0\.0 to 1\.40.*1\.41 to 1\.56: up",
        ),
        ({"ApiVersion": "1.9"}, FailedPrecondition, "upgrade the engine"),
        (
            {"ApiVersion": "1.70", "MinAPIVersion": "1.57"},
            FailedPrecondition,
            r"1\.57 to 1\.70.*1\.41 to 1\.56: upgrade this service",
        ),
        ({"ApiVersion": "2.1", "MinAPIVersion": "2.0"}, FailedPrecondition, "this service"),
        ({"ApiVersion": "one"}, Internal, "one"),
        ({"ApiVersion": None}, Internal, "None"),
        ({"MinAPIVersion": "odd"}, Internal, "odd"),
    ],
)
async def test_an_api_that_has_no_version_in_common_is_an_error_that_names_both(
    tmp_path: Path, theirs: dict[str, Any], kind: type[ServiceError], words: str
) -> None:
    async with client(tmp_path) as (fake, engine):
        fake.version |= theirs
        with pytest.raises(kind, match=words):
            await engine.identify(1.0)


async def test_a_client_that_is_closed_says_so(tmp_path: Path) -> None:
    async with client(tmp_path) as (_fake, engine):
        await engine.close()
        await engine.close()
        with pytest.raises(Unavailable, match="closed"):
            await engine.system.ping(1.0)


async def test_a_registrys_words_without_end_are_cut(tmp_path: Path) -> None:
    async with client(tmp_path) as (fake, engine):
        fake.answers["POST /images/create"] = lambda: (404, {"message": "<" * (2 << 20)})
        with pytest.raises(NotFound) as refused:
            async with engine.images.pull("busybox", "1", None):
                pass
        assert len(refused.value.message) < 10_000
        endless = b'{"status":"a"}\n{"error":"' + b"<" * (2 << 20) + b'"}'
        fake.answers["POST /images/create"] = lambda: (200, endless)
        async with engine.images.pull("busybox", "1", None) as progress:
            assert await anext(progress) == {"status": "a"}
            with pytest.raises(Unavailable, match="more than 1048576 bytes in one entry"):
                await anext(progress)


async def test_pull_progress_is_read_in_whatever_pieces_it_comes(tmp_path: Path) -> None:
    async with client(tmp_path) as (fake, engine):
        fake.answers["POST /images/create"] = lambda: (
            200,
            b'{"status":"a"}\r\n{"status":"b"}\n\n{"error":"c"}',
        )
        async with engine.images.pull("busybox", "1", None) as progress:
            assert [step async for step in progress] == [
                {"status": "a"},
                {"status": "b"},
                {"error": "c"},
            ]


async def test_who_wants_a_stream_is_told_why_nobody_listens_like_everybody_else(
    tmp_path: Path,
) -> None:
    def diagnose(endpoint: str) -> tuple[Reason, str]:
        return Reason.ENGINE_STARTING, f"wait for {endpoint}"

    endpoint = f"unix://{tmp_path}/docker.sock"
    engine = EngineClient(endpoint, 5.0, diagnose=diagnose)
    await engine.open()
    engine.health.set_reachable()
    try:
        with pytest.raises(Unavailable) as asked:
            await engine.containers.inspect("c")
        with pytest.raises(Unavailable) as streamed:
            async with engine.streams.attach("c", tty=False, stdin=False, stdout=True, stderr=True):
                pytest.fail("nobody listens")
    finally:
        await engine.close()
    assert asked.value.message == streamed.value.message == f"wait for {endpoint}"


@pytest.mark.parametrize(
    ("told", "firewall"),
    [({"Driver": "nftables", "Info": []}, "nftables"), (None, ""), ({"Driver": 7}, ""), ([], "")],
)
def test_what_the_engine_makes_its_rules_with(told: Any, firewall: str) -> None:
    engine = EngineClient("unix:///none")
    assert engine.firewall == ""
    engine.info = {"FirewallBackend": told}
    assert engine.firewall == firewall


@pytest.mark.parametrize("answer", [None, [], "a text", 5, [None], [[]], {"Id": 5}])
@pytest.mark.parametrize(
    ("request_", "ask"),
    [
        ("GET /containers/json", lambda engine: engine.containers.list_owned()),
        ("GET /containers/x/json", lambda engine: engine.containers.inspect("x")),
        ("POST /containers/create", lambda engine: engine.containers.create("x", {})),
        ("GET /images/json", lambda engine: engine.images.list_all()),
        ("GET /images/x/json", lambda engine: engine.images.inspect("x")),
        ("POST /containers/x/exec", lambda engine: engine.streams.create_exec("x", ["id"])),
        ("GET /exec/x/json", lambda engine: engine.streams.inspect_exec("x")),
        ("GET /info", lambda engine: engine.system.info()),
        ("GET /system/df", lambda engine: engine.system.image_bytes(60.0)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_an_answer_of_another_kind_is_an_error_that_names_the_request(
    tmp_path: Path, request_: str, ask: Callable[[EngineClient], Awaitable[Any]], answer: Any
) -> None:
    async with client(tmp_path) as (fake, engine):
        fake.answers[request_] = lambda: (200, answer)
        wanted = list if request_.endswith("s/json") else dict
        if isinstance(answer, wanted) and answer in ([], {"Id": 5}):
            with suppress(Internal):  # of what has to have an id
                assert await ask(engine) in (answer, 0)
            return
        with pytest.raises(Internal, match=r"Docker Engine answered .* something that is not"):
            await ask(engine)
