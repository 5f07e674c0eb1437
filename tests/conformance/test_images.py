"""ImageService: PullImage, ImageStatus, ListImages, RemoveImage, ImageFsInfo."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import anyio
import anyio.to_thread
import pytest

from asupervisor.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ServiceError,
    Unauthenticated,
    Unavailable,
)
from asupervisor.proto import cri
from tests.conformance.node import Node, Pod, unique
from tests.harness.registry import (
    IDENTITY_TOKEN,
    PASSWORD,
    USERNAME,
    BuiltImage,
    StallingRegistry,
    free_port,
)


def _fresh(node: Node, *tags: str, **config: object) -> tuple[str, BuiltImage]:
    """An image that no other test has; returns its reference by the first tag."""
    name = unique("image")
    image = BuiltImage(config, {"mark": name.encode()}, node.ids_are_manifests)
    return node.registry.push(f"fresh/{name}", tags or ("1",), image), image


async def _absent(node: Node, reference: str) -> bool:
    return not (await node.images.image_status(reference)).HasField("image")


async def test_one_identifier_in_every_call(node: Node) -> None:
    reference, image = _fresh(node)
    image_id = await node.images.pull_image(reference)
    assert image_id == image.id
    status = (await node.images.image_status(reference)).image
    assert status.id == image_id
    assert list(status.repo_tags) == [reference]
    assert list(status.repo_digests) == [f"{reference.rpartition(':')[0]}@{image.digest}"]
    listed = [entry for entry in await node.images.list_images() if entry.id == image_id]
    assert listed == [status]
    assert [
        entry.id for entry in await node.images.list_images(stream=True) if entry.id == image_id
    ] == [image_id]
    assert await node.images.pull_image(reference) == image_id
    await node.images.remove_image(image_id)


async def test_an_image_is_found_by_every_name_that_it_has(node: Node) -> None:
    reference, image = _fresh(node)
    image_id = await node.images.pull_image(reference)
    repository = reference.rpartition(":")[0]
    for name in (
        reference,
        f"{repository}@{image.digest}",
        image_id,
        image_id.removeprefix("sha256:"),
        image_id.removeprefix("sha256:")[:13],
    ):
        assert (await node.images.image_status(name)).image.id == image_id, name
    if node.is_docker:
        for prefix in ("docker://", "docker-pullable://"):
            name = image_id if prefix == "docker://" else f"{repository}@{image.digest}"
            assert (await node.images.image_status(prefix + name)).image.id == image_id
    await node.images.remove_image(reference)


async def test_an_image_that_is_not_there_is_an_empty_answer(node: Node) -> None:
    for name in (
        "localhost/no/such:image",
        "sha256:" + "a" * 64,
        f"localhost/no/such@sha256:{'b' * 64}",
    ):
        assert await _absent(node, name)
        await node.images.remove_image(name)
        if node.is_docker:
            assert (
                await node.images.list_images(cri.ImageFilter(image=cri.ImageSpec(image=name)))
                == []
            )


async def test_list_is_filtered_by_reference(node: Node) -> None:
    node.only_docker("containerd passes over the filter")
    wanted = cri.ImageFilter(image=cri.ImageSpec(image=node.names.busybox))
    assert [
        node.names.busybox in entry.repo_tags for entry in await node.images.list_images(wanted)
    ] == [True]
    assert len(await node.images.list_images(wanted, stream=True)) == 1


async def test_size_user_and_verbose_info(node: Node) -> None:
    for reference, uid, username in (
        (node.names.by_uid, 1002, ""),
        (node.names.by_name, None, "www-data"),
        (node.names.by_uid_gid, 1003, ""),
        (node.names.busybox, 0, ""),
    ):
        await node.have(reference)
        answer = await node.images.image_status(reference, verbose=True)
        assert answer.image.size > 100_000
        assert answer.image.username == username
        if uid is not None and (uid or node.is_docker):
            assert answer.image.uid.value == uid
        assert json.loads(answer.info["info"])["imageSpec"]["config"]
        assert not (await node.images.image_status(reference)).info


async def test_several_tags_are_one_image_and_go_together(node: Node) -> None:
    reference, image = _fresh(node, "1", "2", "3")
    tags = [f"{reference.rpartition(':')[0]}:{tag}" for tag in "123"]
    assert {await node.images.pull_image(tag) for tag in tags} == {image.id}
    assert sorted((await node.images.image_status(tags[0])).image.repo_tags) == tags
    assert len([entry for entry in await node.images.list_images() if entry.id == image.id]) == 1
    if node.is_docker:
        await node.images.remove_image(tags[1])
    else:
        await node.images.remove_image(image.id)
    for name in (*tags, image.id):
        assert await _absent(node, name)


@pytest.mark.parametrize("form", ["tag", "digest", "id", "short id"])
async def test_an_image_is_removed_by_any_reference_and_removing_repeats(
    node: Node, form: str
) -> None:
    reference, image = _fresh(node)
    image_id = await node.images.pull_image(reference)
    digest = f"{reference.rpartition(':')[0]}@{image.digest}"
    name = {
        "tag": reference,
        "digest": digest,
        "id": image_id,
        "short id": image_id.removeprefix("sha256:")[:13],
    }[form]
    if not node.is_docker:
        name = image_id
    for _ in range(2):
        await node.images.remove_image(name)
    assert await _absent(node, image_id)


async def test_removals_at_once_all_succeed(node: Node) -> None:
    reference, image = _fresh(node)
    await node.images.pull_image(reference)
    async with anyio.create_task_group() as tasks:
        for name in (reference, image.id, reference, image.id):
            tasks.start_soon(node.images.remove_image, name)
    assert await _absent(node, image.id)


async def test_an_image_in_use_keeps_all_of_its_names(node: Node, pod: Pod) -> None:
    node.only_docker("containerd removes the names of an image in use")
    reference, image = _fresh(node, "1", "2")
    second = reference[:-1] + "2"
    for tag in (reference, second):
        await node.images.pull_image(tag)
    container_id = await pod.create(image=reference)
    with node.refused(FailedPrecondition, container_id[:12]):
        await node.images.remove_image(reference)
    assert sorted((await node.images.image_status(reference)).image.repo_tags) == [
        reference,
        second,
    ]
    await node.runtime.remove_container(container_id)
    await node.images.remove_image(reference)
    assert await _absent(node, image.id)


async def test_a_digest_is_pulled(node: Node) -> None:
    reference, image = _fresh(node)
    by_digest = f"{reference.rpartition(':')[0]}@{image.digest}"
    assert await node.images.pull_image(by_digest) == image.id
    status = (await node.images.image_status(by_digest)).image
    assert list(status.repo_tags) == []
    assert list(status.repo_digests) == [by_digest]
    await node.images.remove_image(by_digest)
    assert await _absent(node, image.id)


async def test_a_digest_with_a_tag_is_pulled_by_the_digest(node: Node) -> None:
    reference, image = _fresh(node)
    assert await node.images.pull_image(f"{reference}@{image.digest}") == image.id
    assert (await node.images.image_status(f"{reference}@{image.digest}")).image.id == image.id
    await node.images.remove_image(image.id)


async def test_an_image_from_two_registries_has_one_identifier(node: Node) -> None:
    reference, image = _fresh(node)
    other = reference.replace(node.registry.open, node.registry.guarded)
    login = cri.AuthConfig(username=USERNAME, password=PASSWORD)
    assert (
        await node.images.pull_image(reference)
        == await node.images.pull_image(other, login)
        == image.id
    )
    assert sorted((await node.images.image_status(image.id)).image.repo_tags) == sorted(
        [reference, other]
    )
    await node.images.remove_image(image.id)
    assert await _absent(node, reference) and await _absent(node, other)


def _basic() -> str:
    return base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()


@pytest.mark.parametrize("form", ["username", "auth", "auth with server address"])
async def test_a_password_opens_a_registry_in_each_form(node: Node, form: str) -> None:
    reference, image = _fresh(node)
    guarded = reference.replace(node.registry.open, node.registry.guarded)
    login = {
        "username": cri.AuthConfig(username=USERNAME, password=PASSWORD),
        "auth": cri.AuthConfig(auth=_basic()),
        "auth with server address": cri.AuthConfig(
            auth=_basic(), server_address=f"http://{node.registry.guarded}"
        ),
    }[form]
    assert await node.images.pull_image(guarded, login) == image.id
    await node.images.remove_image(image.id)


@pytest.mark.parametrize(
    "login",
    [
        None,
        cri.AuthConfig(username=USERNAME, password="wrong"),
        cri.AuthConfig(username="x", password="y"),
    ],
)
async def test_without_the_password_a_pull_is_unauthenticated(
    node: Node, login: cri.AuthConfig | None
) -> None:
    reference, image = _fresh(node)
    guarded = reference.replace(node.registry.open, node.registry.guarded)
    with node.refused((Unauthenticated, PermissionDenied), guarded.partition(":")[0]):
        await node.images.pull_image(guarded, login)
    assert await _absent(node, image.id)


async def test_identity_token_and_registry_token(node: Node) -> None:
    reference, image = _fresh(node)
    guarded = reference.replace(node.registry.open, node.registry.tokens)
    node.registry.token_requests.clear()
    assert (
        await node.images.pull_image(guarded, cri.AuthConfig(identity_token=IDENTITY_TOKEN))
        == image.id
    )
    if node.is_docker:
        asked = [fields for method, fields in node.registry.token_requests if method == "POST"]
        assert asked and asked[0]["refresh_token"] == IDENTITY_TOKEN
    await node.images.remove_image(image.id)
    if node.is_docker:
        node.registry.token_requests.clear()
        assert (
            await node.images.pull_image(guarded, cri.AuthConfig(registry_token="a-bearer-token"))
            == image.id
        )
        assert node.registry.token_requests == []
        await node.images.remove_image(image.id)
        with node.refused(Unauthenticated, guarded.partition(":")[0]):
            await node.images.pull_image(guarded, cri.AuthConfig(identity_token="wrong"))


async def test_auth_that_is_no_base64_is_refused(node: Node) -> None:
    node.only_docker("containerd reads it when the registry asks")
    reference, _ = _fresh(node)
    with node.refused(InvalidArgument, "base64"):
        await node.images.pull_image(reference, cri.AuthConfig(auth="%%%"))


async def test_what_a_registry_does_not_have_is_not_found(node: Node) -> None:
    reference, _ = _fresh(node)
    repository = reference.rpartition(":")[0]
    for name in (
        f"{repository}:no-such-tag",
        f"{node.registry.open}/no/such/repository:1",
        f"{repository}@sha256:{'c' * 64}",
    ):
        with node.refused(NotFound, name):
            await node.images.pull_image(name)


async def test_a_registry_that_does_not_answer_is_unavailable(node: Node) -> None:
    name = f"127.0.0.1:{free_port()}/any/image:1"
    with node.refused(Unavailable, name):
        await node.images.pull_image(name)


@pytest.mark.parametrize(
    "name", ["", "UPPER/Case:1", "a b", "name:tag:tag", "busybox@sha256:short"]
)
async def test_what_is_no_reference_is_refused(node: Node, name: str) -> None:
    with node.refused(InvalidArgument, name):
        await node.images.pull_image(name)


@pytest.fixture
def slow(node: Node) -> Iterator[StallingRegistry]:
    """A registry that stops in the middle of a layer."""
    server = StallingRegistry(
        BuiltImage({}, {"mark": unique("slow").encode()}, node.ids_are_manifests)
    )
    server.start()
    yield server
    server.release.set()
    server.stop()


async def test_pulls_of_one_reference_at_once_are_joined(
    node: Node, slow: StallingRegistry
) -> None:
    ids: list[str] = []

    async def pull() -> None:
        ids.append(await node.images.pull_image(slow.name))

    node.only_docker(
        "containerd asks by TLS first, and goes on without only from the answer of a server in Go"
    )
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(pull)
        assert await anyio.to_thread.run_sync(slow.stalled.wait, 20)
        slow.release.set()
    assert ids == [slow.image.id] * 3
    if node.is_docker:
        assert slow.layer_requests == 1
    await node.images.remove_image(slow.image.id)


async def test_a_pull_that_its_caller_gives_up_stops_unless_another_waits(
    node: Node, slow: StallingRegistry
) -> None:
    node.only_docker("containerd goes on for a while")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_ignoring, node, slow.name)
        assert await anyio.to_thread.run_sync(slow.stalled.wait, 20)
        with anyio.move_on_after(0.3):
            await node.images.pull_image(slow.name)
        assert not slow.gone.is_set()
        tasks.cancel_scope.cancel()
    assert await anyio.to_thread.run_sync(slow.gone.wait, 20)
    assert await _absent(node, slow.name)


async def _ignoring(node: Node, name: str) -> None:
    try:
        await node.images.pull_image(name)
    except ServiceError:
        raise AssertionError("the pull ended before it was given up") from None


async def test_the_pause_image_is_pinned(node: Node, pod: Pod) -> None:
    node.only_docker(
        "other runtimes need no image for a sandbox, or are told which in their settings"
    )
    assert [entry for entry in await node.images.list_images() if entry.pinned]
    assert not (await node.images.image_status(node.names.busybox)).image.pinned


async def test_image_fs_info_names_a_filesystem_and_its_use(node: Node) -> None:
    info = await node.images.image_fs_info()
    assert info.image_filesystems
    for usage in (*info.image_filesystems, *info.container_filesystems):
        assert usage.fs_id.mountpoint.startswith("/")
        assert usage.timestamp > 0
        assert usage.inodes_used.value > 0
