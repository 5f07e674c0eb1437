"""Whatever an entry of a pull's progress holds: an error of ours, or none."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asupervisor.errors import Internal, ServiceError
from asupervisor.translate.pull_errors import PullProgress, pull_error, refused_pull

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
STEP = JSON | st.fixed_dictionaries(
    {},
    optional={
        "error": JSON,
        "errorDetail": JSON | st.fixed_dictionaries({}, optional={"code": JSON, "message": JSON}),
        "status": JSON,
        "id": JSON,
        "progressDetail": JSON | st.fixed_dictionaries({}, optional={"current": JSON}),
    },
)


@given(STEP)
def test_an_entry_is_an_error_of_ours_or_none(step: Any) -> None:
    error = pull_error("busybox:1", step)
    assert error is None or isinstance(error, ServiceError)
    assert isinstance(PullProgress().moved(step), bool)


@given(st.text(max_size=200))
def test_a_refusal_is_an_error_of_ours(words: str) -> None:
    assert isinstance(refused_pull("busybox:1", Internal(words)), ServiceError)


@pytest.mark.parametrize("key", ["error", "errorDetail", "status", "id", "progressDetail"])
def test_deep_nesting_is_no_defect(key: str) -> None:
    step = orjson.loads(b'{"%s":%s%s}' % (key.encode(), b"[" * 1000, b"]" * 1000))
    nested = {"errorDetail": {"message": step[key], "code": step[key]}}
    for one in (step, nested, {"progressDetail": {"current": step[key]}}):
        assert isinstance(pull_error("busybox:1", one), ServiceError | None)
        PullProgress().moved(one)
