"""The part of JSONPath that ``-o`` takes."""

from __future__ import annotations

import pytest

from asupervisor.cli.jsonpath import render
from asupervisor.errors import ConfigError

DOCUMENT = [
    {"id": "a", "labels": {"io.kubernetes.pod.uid": "u"}, "metadata": {"attempt": 0}},
    {"id": "b", "labels": {}, "metadata": {"attempt": 1}},
]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{[*].id}", "a b"),
        ("{$[1].id}", "b"),
        ('first: {[0].id}{"\\n"}', "first: a\n"),
        ("{[*].metadata.attempt}", "0 1"),
        ("{[0].labels['io.kubernetes.pod.uid']}", "u"),
        ("{[7].id}{[0].absent.below}", ""),
        ("{[0].metadata}", '{"attempt": 0}'),
        ("", ""),
    ],
)
def test_what_a_template_gives(template: str, text: str) -> None:
    assert render(template, DOCUMENT) == text


@pytest.mark.parametrize("template", ["{", "}", "{[*].id", "{id}", "{[x]}", '{"open}'])
def test_a_malformed_template_is_refused(template: str) -> None:
    with pytest.raises(ConfigError, match="jsonpath"):
        render(template, DOCUMENT)
