"""What outsiders may write, for property tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

_ODD_TEXTS = (
    *(
        "",
        "0",
        "1000",
        "-1",
        "9" * 30,
        "\u0661",
        "\u00b2",
        "\0",
        "\ud800",
        "\n",
        "a:b:c",
        "/",
        "{}",
    ),
    *("k8s_a_b_c_d_0", "k8s_a_b_c_d_" + "9" * 30, "k8s_a_b_c_d_\u0661", "SIGKILL", "SIGRTMIN+99"),
    *("2026-01-02T03:04:05Z", "9999-99-99T99:99:99.9Z", "\u0662026-01-02T03:04:05Z"),
    *("[" * 2000, '{"unified":{"../x":"y"}}', "sha256:" + "a" * 64),
)
_TEXTS = st.text(max_size=8) | st.sampled_from(_ODD_TEXTS)
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**31 - 1, 2**31, 2**32, -(2**31) - 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1]),
    st.sampled_from([0.5, 1e300, float("inf"), float("nan")]),
    _TEXTS,
)


def anything(keys: Sequence[str]) -> st.SearchStrategy[Any]:
    """Whatever JSON can hold, mostly with these keys.

    Args:
        keys: those that the reader under test knows.
    """
    names = st.sampled_from(keys) | _TEXTS
    return st.recursive(
        _SCALARS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=8),
        max_leaves=20,
    )


def damaged(document: Any) -> st.SearchStrategy[Any]:
    """A sound document with one or several of its values replaced by whatever JSON can hold, or
    gone.
    """
    paths = list(_paths(document))
    values = anything(("Id", "Name", "Labels", "Type"))
    return st.lists(st.tuples(st.sampled_from(paths), values), min_size=1, max_size=4).map(
        lambda changes: _changed(document, changes)
    )


def _paths(document: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [prefix]
    if isinstance(document, dict):
        for key, value in document.items():
            found += _paths(value, (*prefix, key))
    elif isinstance(document, list):
        for index, value in enumerate(document):
            found += _paths(value, (*prefix, index))
    return found


def _changed(document: Any, changes: list[tuple[tuple[Any, ...], Any]]) -> Any:
    for path, value in changes:
        document = _put(document, path, value)
    return document


def _put(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(document, dict):
        return {**document, head: _put(document.get(head), rest, value)}
    if isinstance(document, list) and isinstance(head, int) and head < len(document):
        return [*document[:head], _put(document[head], rest, value), *document[head + 1 :]]
    return document
