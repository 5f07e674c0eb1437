"""PullImage."""

from __future__ import annotations

import base64
import binascii

from asupervisor.dockershim.image.embedded_pause import EMBEDDED_PAUSE_REGISTRY
from asupervisor.dockershim.shim import Shim
from asupervisor.engine.session import Document
from asupervisor.errors import InvalidArgument, NotFound
from asupervisor.proto import cri
from asupervisor.translate.images import Reference, is_image_id, parse_reference


async def pull_image(shim: Shim, request: cri.PullImageRequest) -> cri.PullImageResponse:
    """Pull an image; it is in every list before this answers, under the identifier that is
    answered: the image id.

    Raises:
        ServiceError: by its cause; see Pulls.
    """
    if not request.image.image:
        raise InvalidArgument("PullImage names no image")
    if is_image_id(request.image.image):
        present = shim.store.usable_image(request.image.image)
        if present is None:
            raise InvalidArgument(
                f"{request.image.image} is an image id; a registry knows images by name and tag or"
                " digest"
            )
        return cri.PullImageResponse(image_ref=present.id)
    reference = parse_reference(request.image.image)
    if reference.registry == EMBEDDED_PAUSE_REGISTRY:
        # Otherwise a host of that name could supply the image of every sandbox.
        raise NotFound(
            f"{reference.name} is this service's own pause image, and in no registry",
            subject=reference.name,
        )
    auth = _engine_auth(request.auth, reference) if request.HasField("auth") else None
    shim.engine.health.require("pull an image", reference.name)
    record = await shim.pulls.pull(reference, auth)
    return cri.PullImageResponse(image_ref=record.id)


def _engine_auth(auth: cri.AuthConfig, reference: Reference) -> Document | None:
    """The engine's AuthConfig; ``auth``, base64 of ``user:password``, where neither is given."""
    username, password = auth.username, auth.password
    if auth.auth and not (username or password):
        try:
            username, _, password = (
                base64.b64decode(auth.auth, validate=True).decode().rstrip("\0").partition(":")
            )
        except (binascii.Error, UnicodeDecodeError) as error:
            raise InvalidArgument("the auth of PullImage is not base64 of user:password") from error
    given: Document = {
        "username": username,
        "password": password,
        "identitytoken": auth.identity_token,
        "registrytoken": auth.registry_token,
    }
    if not any(given.values()):
        return None
    given["serveraddress"] = auth.server_address or reference.registry
    return {key: value for key, value in given.items() if value}
