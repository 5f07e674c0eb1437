"""The environment of CDI devices, out of documents of any shape."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asupervisor.errors import InvalidArgument
from asupervisor.translate.cdi import CdiSpec, cdi_environment, cdi_spec, with_environment

GPU = cdi_spec(
    {
        "cdiVersion": "0.6.0",
        "kind": "vendor.com/gpu",
        "containerEdits": {"env": ["DRIVER=1", "SHARED=spec"]},
        "devices": [
            {"name": "0", "containerEdits": {"env": ["GPU_0=yes", "SHARED=zero"]}},
            {"name": "1", "containerEdits": {"env": ["GPU_1=yes"]}},
            {"name": "bare", "containerEdits": {"deviceNodes": [{"path": "/dev/null"}]}},
        ],
    }
)


def test_what_all_devices_bring_comes_once_and_first() -> None:
    names = ["vendor.com/gpu=1", "vendor.com/gpu=0", "vendor.com/gpu=bare"]
    environment, unknown = cdi_environment(names, [[GPU]], "container c")
    assert environment == ["DRIVER=1", "SHARED=spec", "GPU_1=yes", "GPU_0=yes", "SHARED=zero"]
    assert unknown == []


def test_a_later_directory_goes_before_and_two_of_the_same_right_are_none() -> None:
    other = CdiSpec("vendor.com/gpu", (), {"0": ("GPU_0=other",)})
    assert cdi_environment(["vendor.com/gpu=0"], [[GPU], [other]], "c") == (["GPU_0=other"], [])
    assert cdi_environment(["vendor.com/gpu=0"], [[GPU, other]], "c") == ([], ["vendor.com/gpu=0"])


@pytest.mark.parametrize(
    "name", ["vendor.com/gpu=2", "vendor.com/net=0", "other.com/gpu=0", "vendor.com/gpu=all:x"]
)
def test_what_no_specification_has_is_unknown(name: str) -> None:
    assert cdi_environment([name], [[GPU], []], "c") == ([], [name])


@pytest.mark.parametrize("name", ["", "gpu", "vendor.com/gpu", "gpu=0", "a/b=", "a/b=c\n", "/b=c"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="container c"):
        cdi_environment([name], [[GPU]], "container c")


def test_a_key_is_there_once_and_the_devices_value_holds() -> None:
    assert with_environment(["A=1", "B=2", "A=3"], ["B=4", "C=", "C=5"]) == ["A=3", "B=4", "C=5"]


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["kind", "devices", "name", "containerEdits", "env"]), inner
        )
    ),
    max_leaves=20,
)


@given(ANY)
def test_any_document_is_a_specification_of_something_or_nothing(document: Any) -> None:
    spec = cdi_spec(document)
    for entry in (*spec.environment, *(e for found in spec.devices.values() for e in found)):
        assert entry.find("=") > 0 and "\0" not in entry
