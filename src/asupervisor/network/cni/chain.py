"""The operations over a network's chain of plugins (CNI specification 1.1, section 3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import anyio

from asupervisor.errors import Internal, NotFound, ServiceError
from asupervisor.network.cni.config import NetworkList, PluginConfig, find_binary
from asupervisor.network.cni.execute import Attachment, call_plugin
from asupervisor.network.cni.result import in_version


class Chain:
    """Calls the plugins of a list one after the other, for one operation.

    Args:
        network: the list.
        directories: where the binaries are.
        deadline_s: seconds, from now, for the whole chain.
    """

    def __init__(self, network: NetworkList, directories: Sequence[str], deadline_s: float) -> None:
        self._network = network
        self._directories = tuple(directories)
        self._end = anyio.current_time() + deadline_s

    async def add(self, attachment: Attachment) -> dict[str, Any]:
        """ADD each plugin in order, handing on the result of the one before.

        Returns:
            The last plugin's result.

        Raises:
            ServiceError: of the first plugin that fails; those before it have to be undone by
                :meth:`delete`.
        """
        result: dict[str, Any] | None = None
        for plugin in self._network.plugins:
            answer = await self._call("ADD", plugin, attachment, result)
            if answer is None:
                raise Internal(
                    f'CNI plugin "{plugin.type}" (network "{self._network.name}", ADD) printed no'
                    " result",
                    subject=attachment.container_id,
                )
            result = {"cniVersion": self._network.version, **answer}
        assert result is not None  # a list has at least one plugin
        return result

    async def delete(self, attachment: Attachment, result: Mapping[str, Any] | None) -> None:
        """DEL each plugin, the last one first. A plugin that does not know the container (code 3)
        has nothing to undo.

        Args:
            attachment: the interface to take away; its netns may be empty.
            result: what ADD returned, where that is known; handed on from version 0.4.0.

        Raises:
            ServiceError: of the first plugin that fails; the call may be repeated.
        """
        previous = (
            in_version(result, self._network.version)
            if result is not None and self._network.speaks("0.4.0")
            else None
        )
        for plugin in reversed(self._network.plugins):
            with suppress(NotFound):
                await self._call("DEL", plugin, attachment, previous)

    async def check(self, attachment: Attachment, result: Mapping[str, Any]) -> None:
        """CHECK each plugin in order, where the list's version has it (0.4.0) and the list does not
        disable it.

        Raises:
            ServiceError: of the first plugin that finds the pod's network changed.
        """
        if self._network.disable_check or not self._network.speaks("0.4.0"):
            return
        previous = in_version(result, self._network.version)
        for plugin in self._network.plugins:
            await self._call("CHECK", plugin, attachment, previous)

    async def status(self) -> None:
        """STATUS of each plugin, where the list's version has it (1.1.0).

        Raises:
            ServiceError: of the first plugin that cannot serve ADD now.
        """
        if not self._network.speaks("1.1.0"):
            return
        for plugin in self._network.plugins:
            await self._call("STATUS", plugin)

    async def collect_garbage(self, valid: Iterable[tuple[str, str]]) -> list[ServiceError]:
        """GC: tell each plugin which attachments exist; it releases all others. Only where the
        list's version has it (1.1.0).

        Args:
            valid: container id and interface name of each attachment that stays.

        Returns:
            The errors of the plugins that failed; every plugin is called.
        """
        if self._network.disable_gc or not self._network.speaks("1.1.0"):
            return []
        attachments = [
            {"containerID": container_id, "ifname": interface} for container_id, interface in valid
        ]
        errors: list[ServiceError] = []
        # Early plugins were written to the name "cni.dev/attachments"; libcni sends both.
        both = {"cni.dev/valid-attachments": attachments, "cni.dev/attachments": attachments}
        for plugin in self._network.plugins:
            try:
                await self._call("GC", plugin, further=both)
            except ServiceError as error:
                errors.append(error)
        return errors

    async def _call(
        self,
        command: str,
        plugin: PluginConfig,
        attachment: Attachment | None = None,
        previous: Mapping[str, Any] | None = None,
        further: Mapping[str, Any] | None = None,
    ) -> dict[str, Any] | None:
        """Call a plugin with its own configuration, the list's name and version, runtimeConfig,
        prevResult, and what a command has ``further``.
        """
        document: dict[str, Any] = {
            **plugin.document,
            "name": self._network.name,
            "cniVersion": self._network.version,
        }
        given = attachment.capability_arguments if attachment is not None else {}
        if runtime := {key: given[key] for key in sorted(plugin.capabilities) if key in given}:
            document["runtimeConfig"] = runtime
        if previous is not None:
            document["prevResult"] = previous
        return await call_plugin(
            command,
            plugin.type,
            {**document, **(further or {})},
            self._directories,
            attachment=attachment,
            deadline_s=max(0.0, self._end - anyio.current_time()),
        )


async def supported_versions(
    plugin_type: str, directories: Sequence[str], version: str, deadline_s: float
) -> tuple[str, ...]:
    """The specification versions that a plugin says it speaks.

    Args:
        plugin_type: name of the binary.
        directories: where binaries are looked for.
        version: the version that the question is put in.
        deadline_s: seconds.

    Raises:
        ServiceError: it does not answer as the specification's VERSION demands.
    """
    answer = await call_plugin(
        "VERSION", plugin_type, {"cniVersion": version}, directories, deadline_s=deadline_s
    )
    listed = answer.get("supportedVersions") if answer else None
    if not isinstance(listed, list):
        path = find_binary(plugin_type, directories)
        raise Internal(
            f'CNI plugin {path} answers VERSION without "supportedVersions"', subject=plugin_type
        )
    return tuple(str(entry) for entry in listed)
