"""Names and sizes of images, out of documents of engines old and new."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from asupervisor.errors import Internal, InvalidArgument
from asupervisor.proto import cri
from asupervisor.translate.images import (
    cri_image,
    has_content,
    image_summary,
    is_image_id,
    parse_reference,
)
from tests.harness.documents import anything, damaged

ID = f"sha256:{'a' * 64}"


def test_digests_among_the_tags_are_no_tags() -> None:
    image = cri_image(
        {
            "Id": ID,
            "RepoTags": ["app:1", f"app@{ID}", "<none>:<none>", "app:1"],
            "RepoDigests": [f"app@{ID}", "<none>@<none>", ID],
        },
        pinned=False,
    )
    assert list(image.repo_tags) == ["app:1"]
    assert list(image.repo_digests) == [f"app@{ID}"]


@pytest.mark.parametrize(
    ("document", "listed", "size"),
    [
        ({"Size": 3}, {"Size": 10}, 10),
        ({"Size": 3}, None, 3),
        ({"Size": 3}, {"Size": 0}, 3),
        ({"VirtualSize": 4}, None, 4),
        ({"Size": 3, "Manifests": [{"Size": {"Total": 6}}, {"Size": {"Total": 5}}]}, None, 11),
        ({"Size": 3, "Manifests": [{"Size": {"Total": 6}}]}, {"Size": 10}, 10),
        ({"Size": 0}, {"Size": 0}, 1),
        ({"Size": -1}, None, 1),
        ({}, None, 1),
    ],
)
def test_an_image_has_the_size_that_the_list_gives_and_never_none(
    document: dict[str, Any], listed: dict[str, Any] | None, size: int
) -> None:
    summary = image_summary({"Id": ID, **listed}) if listed is not None else None
    assert cri_image({"Id": ID, **document}, False, summary).size == size


def test_a_summary_is_another_only_where_the_image_changed() -> None:
    entry: dict[str, Any] = {
        "Id": ID,
        "RepoTags": ["b:1", "a:1"],
        "Created": 1,
        "Size": 2,
        "Containers": 3,
        "Manifests": [{"ID": "x", "Available": True, "ImageData": {"Containers": []}}],
    }
    same = entry | {
        "RepoTags": ["a:1", "b:1"],
        "Containers": 4,
        "Manifests": [{"ID": "x", "Available": True, "ImageData": {"Containers": ["c"]}}],
    }
    assert image_summary(entry) == image_summary(same)
    assert image_summary(entry) != image_summary(
        entry | {"Manifests": [{"ID": "x", "Available": False}]}
    )


@pytest.mark.parametrize(
    ("user", "uid", "name"),
    [
        ("", 0, ""),
        ("0", 0, ""),
        ("1000", 1000, ""),
        ("1000:0", 1000, ""),
        ("+1000", 1000, ""),
        ("01000", 1000, ""),
        ("-0", 0, ""),
        (":5", 0, ""),
        ("2147483647", 2147483647, ""),
        ("app", None, "app"),
        ("app:1000", None, "app"),
        # Some engines make root of it, where the image has a line for it.
        ("4294967296", None, "4294967296"),
        ("2147483648", None, "2147483648"),
        ("99999999999999999999", None, "99999999999999999999"),
        ("-1", None, "-1"),
        ("\u0661\u0660", None, "\u0661\u0660"),
        ("\u00b2", None, "\u00b2"),
        (" 1000", None, " 1000"),
        ("1e3", None, "1e3"),
    ],
)
def test_a_uid_is_told_only_where_the_engine_runs_it_as_that(
    user: str, uid: int | None, name: str
) -> None:
    image = cri_image({"Id": ID, "Config": {"User": user}}, pinned=False)
    assert (image.uid.value if image.HasField("uid") else None, image.username) == (uid, name)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"Size": 2**64}, {}),
        ({"Size": "12"}, {}),
        ({"Manifests": [{"Size": {"Total": 2**63}}] * 3}, {"size": 2**64 - 1}),
        ({"Manifests": [None, {"Size": 3}, {"Size": {"Total": "4"}}]}, {}),
        ({"RepoTags": None, "RepoDigests": "x"}, {}),
        ({"RepoTags": ["a:1", 5, None, "<none>:<none>", "\ud800"]}, {"repo_tags": ["a:1", "?"]}),
        ({"Config": None}, {}),
        ({"Config": {"User": ["0"], "Labels": None}}, {}),
    ],
)
def test_what_makes_no_sense_is_left_out(
    document: dict[str, Any], expected: dict[str, Any]
) -> None:
    wanted = cri.Image(id=ID, spec=cri.ImageSpec(image=ID), **{"size": 1, **expected})
    wanted.uid.value = 0
    assert cri_image({"Id": ID, **document}, pinned=False) == wanted


_KEYS = (
    *("Id", "Config", "User", "Labels", "RepoTags", "RepoDigests", "Size", "VirtualSize"),
    *("Manifests", "Kind", "Total", "Descriptor", "Available", "ImageData", "Platform", "os"),
)


_SOUND = {
    "Id": ID,
    "RepoTags": ["a:1"],
    "RepoDigests": [f"a@{ID}"],
    "Size": 3,
    "Created": "2026-01-02T03:04:05Z",
    "Config": {"User": "1000:1000", "Labels": {"a": "b"}},
    "Manifests": [
        {
            "ID": ID,
            "Kind": "image",
            "Available": True,
            "Size": {"Total": 6},
            "ImageData": {"Platform": {"os": "linux", "architecture": "amd64"}},
        }
    ],
}


@settings(max_examples=300, deadline=None)
@given(document=anything(_KEYS) | damaged(_SOUND))
def test_any_document_is_an_image_or_an_error_of_ours(document: Any) -> None:
    summary = image_summary(document)
    assert summary == image_summary(document)
    assert has_content(document, "x86_64") in (True, False)
    try:
        image = cri_image(document, False, summary)
    except Internal:
        return
    assert cri.Image.FromString(image.SerializeToString()) == image


@pytest.mark.parametrize(
    ("architecture", "available", "unpacked", "usable"),
    [
        ("amd64", True, 0, True),
        ("amd64", False, 0, False),
        ("amd64", False, 7, True),
        ("386", True, 0, True),
        ("arm64", True, 7, False),
    ],
)
def test_what_of_an_index_makes_it_usable(
    architecture: str, available: bool, unpacked: int, usable: bool
) -> None:
    manifest = {
        "ID": f"sha256:{'b' * 64}",
        "Kind": "image",
        "Available": available,
        "ImageData": {
            "Platform": {"os": "linux", "architecture": architecture},
            "Size": {"Unpacked": unpacked},
        },
    }
    proof = {"ID": "c", "Kind": "attestation", "Available": True}
    assert has_content({"Id": ID, "Manifests": [proof, manifest]}, "x86_64") is usable


@pytest.mark.parametrize(
    ("document", "usable"),
    [
        ({"Id": ID}, True),
        ({"Id": ID, "Descriptor": {"size": 1}, "Os": "linux"}, True),
        ({"Id": ID, "Descriptor": {"size": 1}, "Os": ""}, False),
    ],
)
def test_an_engine_that_tells_no_manifests(document: dict[str, Any], usable: bool) -> None:
    assert has_content(document, "x86_64") is usable


@pytest.mark.parametrize(
    "text", ["app\n", "app:1\n", f"app@{ID}\n", "app:1\n@" + ID, "a\nb", "app:", "app@", "\n"]
)
def test_a_line_break_ends_no_reference(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_reference(text)
    assert not is_image_id(f"{ID}\n")


def test_a_user_of_any_length_makes_no_list_too_long() -> None:
    for user in ("u" * 20_000_000, "9" * 20_000_000, "ü" * 1000, "u:" + "g" * 20_000_000):
        image = cri_image({"Id": ID, "Config": {"User": user}}, pinned=False)
        assert image.ByteSize() < 1024 and not image.HasField("uid")
        assert user.startswith(image.username)
