"""Statuses become errors by their code, and repeated ones are logged once in a while."""

from __future__ import annotations

import logging

import grpc
import pytest

from asupervisor import errors
from asupervisor.remote.endpoint import parse_endpoint
from asupervisor.remote.failure import FailureLog, failure

ENDPOINT = parse_endpoint("unix:///nonexistent/cri.sock")


def status(code: grpc.StatusCode, details: str | None = "the details") -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)


def convert(
    code: grpc.StatusCode, details: str | None = "the details", connected: bool = True
) -> errors.ServiceError:
    return failure(
        status(code, details),
        method="RuntimeService/Status",
        endpoint=ENDPOINT,
        connected=connected,
        deadline_s=2.0,
    )


@pytest.mark.parametrize(
    "code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
)
def test_class_by_code(code: grpc.StatusCode) -> None:
    error = convert(code)
    others = {
        "OUT_OF_RANGE": "INVALID_ARGUMENT",
        "ABORTED": "UNAVAILABLE",
        "CANCELLED": "UNAVAILABLE",
        "UNKNOWN": "INTERNAL",
        "DATA_LOSS": "INTERNAL",
    }
    assert error.code == others.get(code.name, code.name)
    assert "RuntimeService/Status at unix:///nonexistent/cri.sock: the details" in error.message
    assert (error.operation, error.subject) == (
        "RuntimeService/Status",
        "unix:///nonexistent/cri.sock",
    )


def test_a_status_without_details_is_named_by_its_code() -> None:
    assert convert(grpc.StatusCode.INTERNAL, None).message.endswith(": INTERNAL")


def test_deadline_is_named() -> None:
    assert convert(grpc.StatusCode.DEADLINE_EXCEEDED).message.endswith("(deadline 2 s)")


def test_no_connection_says_what_to_do() -> None:
    error = convert(grpc.StatusCode.UNAVAILABLE, connected=False)
    assert isinstance(error, errors.Unavailable)
    assert "no CRI server answers at unix:///nonexistent/cri.sock" in error.message
    assert "start the runtime, or correct the endpoint" in error.message


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_identical_error_is_logged_once_in_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    log = FailureLog(clock=clock)
    error = convert(grpc.StatusCode.UNAVAILABLE)
    for _ in range(5):
        log.record(error)
        clock.now += 11.9  # 59.5 s after five
    assert len(caplog.records) == 1
    record = caplog.records[0]
    assert (record.name, record.levelno, record.getMessage()) == (
        "asupervisor.remote",
        logging.WARNING,
        error.message,
    )
    assert (
        vars(record).items()
        >= {
            "cri_method": error.operation,
            "endpoint": error.subject,
            "code": "UNAVAILABLE",
            "repeated": 0,
        }.items()
    )

    clock.now = 1060.0
    log.record(error)
    assert caplog.records[1].getMessage() == f"{error.message} (4 more since it was last logged)"
    assert vars(caplog.records[1])["repeated"] == 4
    log.record(error)
    assert len(caplog.records) == 2, "the minute starts anew"


def test_different_errors_are_logged_each(caplog: pytest.LogCaptureFixture) -> None:
    log = FailureLog(clock=Clock())
    log.record(convert(grpc.StatusCode.UNAVAILABLE, "one"))
    log.record(convert(grpc.StatusCode.UNAVAILABLE, "other"))
    assert len(caplog.records) == 2


def test_what_is_remembered_has_a_size(caplog: pytest.LogCaptureFixture) -> None:
    log = FailureLog(clock=Clock())
    for number in range(300):
        log.record(convert(grpc.StatusCode.INTERNAL, str(number)))
    log.record(convert(grpc.StatusCode.INTERNAL, "299"))
    assert len(caplog.records) == 300, "the latest is still known"
    log.record(convert(grpc.StatusCode.INTERNAL, "0"))
    assert len(caplog.records) == 301, "the oldest is not"


def test_an_unimplemented_method_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "asupervisor.remote"):
        FailureLog().record(convert(grpc.StatusCode.UNIMPLEMENTED))
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]
