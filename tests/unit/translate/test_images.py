"""Names and sizes of images, out of documents of engines old and new."""

from __future__ import annotations

from typing import Any

import pytest

from asupervisor.translate.images import cri_image, image_summary

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
