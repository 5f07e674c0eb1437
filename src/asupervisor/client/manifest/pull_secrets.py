"""``imagePullSecrets``: credentials of registries, and which of them are for an image.

A place of a credential matches an image by kubelet's rules, which the API documents: the port is
the same; the host has as many parts, each of which may contain ``*``; the path begins with the
place's. Nothing here, errors included, shows a credential."""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import urlsplit

from asupervisor.client.manifest.environment import Surroundings, named_content
from asupervisor.client.manifest.fields import Fields
from asupervisor.errors import ConfigError
from asupervisor.translate.images import parse_reference

KEYS = {
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
    "kubernetes.io/dockercfg": ".dockercfg",
}
"""The key that a Secret of each type must have."""
_DOCKER_HUB = "index.docker.io"
_VERSION = re.compile("^/v[12](?=/)")


class Keyring:
    """User names and passwords by the places they are for; its ``repr`` does not show them."""

    def __init__(self) -> None:
        self._logins: dict[str, list[tuple[str, str]]] = {}

    def add(self, place: str, username: str, password: str) -> None:
        """Add a login.

        Args:
            place: a host or URL, with port and path if they matter.
            username, password: for this place.

        Raises:
            ValueError: the place is neither a host nor a URL.
        """
        self._logins.setdefault(_parsed(place), []).append((username, password))

    def find(self, image: str) -> list[tuple[str, str]]:
        """The logins for an image, in the order in which kubelet tries them: long places first.

        Args:
            image: its reference.

        Raises:
            InvalidArgument: it is not a reference.
        """
        reference = parse_reference(image)
        name = f"{reference.registry}/{reference.path}"
        found = [
            login
            for place in sorted(self._logins, reverse=True)
            if _matches(place, name)
            for login in self._logins[place]
        ]
        is_of_docker_hub = reference.registry == "docker.io"
        return found or (self._logins.get(_DOCKER_HUB, []) if is_of_docker_hub else [])


def read_pull_secrets(spec: Fields, around: Surroundings) -> Keyring:
    """The credentials in the Secrets that a Pod names.

    Args:
        spec: of the Pod; ``imagePullSecrets`` is taken out.
        around: has the Secrets that were given.

    Raises:
        ConfigError: one is missing or malformed; the message names it.
    """
    keyring = Keyring()
    for reference in spec.each("imagePullSecrets"):
        place = reference.place("name")
        for key, raw in (named_content("pullSecret", reference, around, False) or {}).items():
            try:
                document = json.loads(raw)
            except (ValueError, RecursionError):
                raise ConfigError(f"{place}: its {key} is not JSON") from None
            top = Fields(document, f"{place}: its {key}")
            logins = top.below("auths") if key == ".dockerconfigjson" else top
            for host, login in logins.entries():
                if "@" in host:
                    raise ConfigError(f"{place}: its {key} has a place with a user in it")
                _read(host, login, keyring)
    return keyring


def _read(host: str, login: Fields, keyring: Keyring) -> None:
    username, password = login.text("username", ""), login.text("password", "")
    if auth := "".join(login.text("auth", "").split()).rstrip("="):
        try:
            both = base64.b64decode(auth + "=" * (-len(auth) % 4), validate=True).decode()
        except ValueError:
            both = ""
        username, colon, password = both.partition(":")
        if not colon:
            raise ConfigError(f"{login.place('auth')} is not base64 of USER:PASSWORD")
    login.pass_over(("email",))
    login.done()
    if not username:
        raise ConfigError(
            f"{login.where} has neither auth nor username; what docker login gave to a helper is"
            " not in this file"
        )
    try:
        keyring.add(host, username, password)
    except ValueError:
        raise ConfigError(f"{login.where} is not the place of a registry") from None


def _parsed(place: str) -> str:
    """Host with port, and path, without the API's version that Docker Hub's place has."""
    parts = urlsplit(place if place.startswith(("http://", "https://")) else f"https://{place}")
    if not parts.netloc or (parts.port is None and parts.netloc.endswith(":")):
        raise ValueError(place)
    path = _VERSION.sub("", parts.path, count=1)
    return parts.netloc + ("" if path == "/" else path)


def _matches(place: str, image: str) -> bool:
    (host, *path), (its_host, its_path) = place.split("/", 1), image.split("/", 1)
    pattern = re.escape(host).replace(r"\*", "[^.:]*")
    return bool(re.fullmatch(pattern, its_host)) and its_path.startswith("".join(path))
