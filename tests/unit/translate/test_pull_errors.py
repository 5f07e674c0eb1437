"""Why a pull failed, and whether it moves, out of what the engine says."""

from __future__ import annotations

from typing import Any

import pytest

from asupervisor.errors import (
    FailedPrecondition,
    Internal,
    NotFound,
    PermissionDenied,
    ServiceError,
    Unauthenticated,
    Unavailable,
)
from asupervisor.translate.pull_errors import PullProgress, pull_error, refused_pull


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        ({"errorDetail": {"code": 401, "message": "x"}, "error": "x"}, Unauthenticated),
        ({"errorDetail": {"code": 403, "message": "x"}, "error": "x"}, PermissionDenied),
        ({"error": "manifest unknown: manifest unknown"}, NotFound),
        ({"error": "unauthorized: authentication required"}, Unauthenticated),
        ({"error": "denied: requested access to the resource is denied"}, PermissionDenied),
        ({"error": "dial tcp: lookup registry: no such host"}, Unavailable),
    ],
)
def test_why_a_pull_failed(step: dict[str, Any], kind: type[ServiceError]) -> None:
    error = pull_error("team/app:v1", step)
    assert type(error) is kind and "team/app:v1" in str(error)


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        ({"errorDetail": {"message": "odd", "code": 401}}, Unauthenticated),
        ({"errorDetail": {"message": "odd", "code": 403}}, PermissionDenied),
        ({"errorDetail": {"message": "odd", "code": 404}}, NotFound),
        ({"errorDetail": {"message": "odd", "code": 500}}, Unavailable),
        ({"errorDetail": {"message": "denied"}}, PermissionDenied),
        ({"errorDetail": {"message": "status from GET request: 403 Forbidden"}}, PermissionDenied),
        ({"errorDetail": {"message": "x", "code": "odd"}}, Unavailable),
        ({"errorDetail": "odd"}, Unavailable),
        ({"error": "odd", "errorDetail": ["odd"]}, Unavailable),
    ],
)
def test_a_failure_without_the_old_field_is_one_too(
    step: dict[str, Any], kind: type[ServiceError]
) -> None:
    assert type(pull_error("team/app:v1", step)) is kind


def test_words_without_end_are_cut_before_they_are_searched() -> None:
    error = pull_error("team/app:v1", {"error": "[" * 1_000_000 + " denied"})
    assert type(error) is Unavailable and len(error.message) < 10_000


@pytest.mark.parametrize("step", [{"status": "Downloading"}, {}, {"error": ""}, "odd", None, [1]])
def test_an_entry_without_a_failure_is_none(step: object) -> None:
    assert pull_error("team/app:v1", step) is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Unauthenticated("pull image x: no words"), Unauthenticated),
        (PermissionDenied("pull image x: no words"), PermissionDenied),
        (NotFound("pull image x: no words"), NotFound),
        (Internal("pull image x: no words"), Unavailable),
        (FailedPrecondition("pull image x: no words"), Unavailable),
        (Internal("pull image x: unauthorized: go away"), Unauthenticated),
        (NotFound("pull image x: pull access denied"), PermissionDenied),
    ],
)
def test_the_status_stands_where_the_words_say_nothing(
    error: ServiceError, kind: type[ServiceError]
) -> None:
    assert type(refused_pull("team/app:v1", error)) is kind


def _step(layer: str, status: str, current: object) -> dict[str, Any]:
    return {"id": layer, "status": status, "progressDetail": {"current": current, "total": 9}}


def test_only_what_is_new_is_progress() -> None:
    progress = PullProgress()
    assert progress.moved(_step("a", "Downloading", 1))
    assert not progress.moved(_step("a", "Downloading", 1))
    assert progress.moved(_step("b", "Downloading", 1))
    assert not progress.moved(_step("a", "Downloading", 1))
    assert progress.moved(_step("a", "Downloading", 2))
    assert progress.moved(_step("a", "Extracting", 2))
    assert progress.moved({"status": "Pulling from team/app"})
    assert not progress.moved({"status": "Pulling from team/app"})


@pytest.mark.parametrize("step", [None, 1, "odd", [], {"progressDetail": "odd"}, {"id": ["odd"]}])
def test_an_odd_entry_is_progress_once_at_most(step: object) -> None:
    progress = PullProgress()
    progress.moved(step)
    assert not progress.moved(step)


def test_the_layers_are_told_as_far_as_they_are_known() -> None:
    progress = PullProgress()
    for step in (
        {"status": "Pulling from team/app", "id": "1"},
        {"status": "Waiting", "progressDetail": {}, "id": "b" * 12},
        _step("a" * 12, "Downloading", 3),
        _step("a" * 12, "Downloading", 5),
        {"status": "x" * 1000, "progressDetail": {"current": "9" * 5000}, "id": "c" * 12},
        {"status": "Extracting", "progressDetail": {"current": -1, "total": 1.5}, "id": "d" * 12},
        {"status": "Digest: sha256:abc"},
    ):
        progress.moved(step)
    assert progress.layers() == [
        ["b" * 12, "Waiting", 0, 0],
        ["a" * 12, "Downloading", 5, 9],
        ["c" * 12, "x" * 60, 0, 0],
        ["d" * 12, "Extracting", 0, 0],
    ]


def test_a_total_that_changes_is_no_progress() -> None:
    progress = PullProgress()
    step = {"id": "0123456789ab", "status": "Downloading"}
    assert progress.moved({**step, "progressDetail": {"current": 5, "total": 10}})
    assert not progress.moved({**step, "progressDetail": {"current": 5, "total": 11}})
    assert progress.moved({**step, "progressDetail": {"current": 6, "total": 11}})
    assert progress.layers() == [["0123456789ab", "Downloading", 6, 11]]
