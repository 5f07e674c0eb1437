"""The operations over a network's chain of plugins (CNI specification 1.1, section 3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import anyio

from asupervisor.errors import Internal, NotFound, ServiceError
from asupervisor.network.cni.config import NetworkList, PluginConfig, find_binary
from asupervisor.network.cni.execute import Attachment, call_plugin
from asupervisor.network.cni.result import in_version


class Chain:
    """Calls the plugins of a list one after the other.

    Args:
        network: the list.
        directories: where the binaries are.
    """

    def __init__(self, network: NetworkList, directories: Sequence[str]) -> None:
        self.network = network
        self._directories = tuple(directories)

    async def add(self, attachment: Attachment, deadline_s: float) -> dict[str, Any]:
        """ADD each plugin in order, handing on the result of the one before.

        Args:
            attachment: the interface to make.
            deadline_s: seconds for the whole chain.

        Returns:
            The last plugin's result.

        Raises:
            ServiceError: of the first plugin that fails; those before it have to be undone by
                :meth:`delete`.
        """
        end = anyio.current_time() + deadline_s
        result: dict[str, Any] | None = None
        for plugin in self.network.plugins:
            document = self._document(plugin, attachment.capability_arguments, result)
            answer = await self._call("ADD", plugin, document, attachment, end)
            if answer is None:
                raise Internal(
                    f'CNI plugin "{plugin.type}" (network "{self.network.name}", ADD) printed no'
                    " result",
                    subject=attachment.container_id,
                )
            result = {"cniVersion": self.network.version, **answer}
        assert result is not None  # a list has at least one plugin
        return result

    async def delete(
        self, attachment: Attachment, result: Mapping[str, Any] | None, deadline_s: float
    ) -> None:
        """DEL each plugin, the last one first. A plugin that does not know the container (code 3)
        has nothing to undo.

        Args:
            attachment: the interface to take away; its netns may be empty.
            result: what ADD returned, where that is known; handed on from version 0.4.0.
            deadline_s: seconds for the whole chain.

        Raises:
            ServiceError: of the first plugin that fails; the call may be repeated.
        """
        end = anyio.current_time() + deadline_s
        previous = (
            in_version(result, self.network.version)
            if result is not None and self.network.speaks("0.4.0")
            else None
        )
        for plugin in reversed(self.network.plugins):
            document = self._document(plugin, attachment.capability_arguments, previous)
            try:
                await self._call("DEL", plugin, document, attachment, end)
            except NotFound:
                continue

    async def check(
        self, attachment: Attachment, result: Mapping[str, Any], deadline_s: float
    ) -> None:
        """CHECK each plugin in order, where the list's version has it (0.4.0) and the list does not
        disable it.

        Args:
            attachment: the interface to look at.
            result: what ADD returned.
            deadline_s: seconds for the whole chain.

        Raises:
            ServiceError: of the first plugin that finds the network of the pod not as it made it.
        """
        if self.network.disable_check or not self.network.speaks("0.4.0"):
            return
        end = anyio.current_time() + deadline_s
        previous = in_version(result, self.network.version)
        for plugin in self.network.plugins:
            document = self._document(plugin, attachment.capability_arguments, previous)
            await self._call("CHECK", plugin, document, attachment, end)

    async def status(self, deadline_s: float) -> None:
        """STATUS of each plugin, where the list's version has it (1.1.0).

        Args:
            deadline_s: seconds for the whole chain.

        Raises:
            ServiceError: of the first plugin that cannot serve ADD now.
        """
        if not self.network.speaks("1.1.0"):
            return
        end = anyio.current_time() + deadline_s
        for plugin in self.network.plugins:
            await self._call("STATUS", plugin, self._document(plugin, {}, None), None, end)

    async def collect_garbage(
        self, valid: Iterable[tuple[str, str]], deadline_s: float
    ) -> list[ServiceError]:
        """GC: tell each plugin which attachments exist; it releases all others. Only where the
        list's version has it (1.1.0).

        Args:
            valid: container id and interface name of each attachment that stays.
            deadline_s: seconds for the whole chain.

        Returns:
            The errors of the plugins that failed; every plugin is called.
        """
        if self.network.disable_gc or not self.network.speaks("1.1.0"):
            return []
        end = anyio.current_time() + deadline_s
        attachments = [
            {"containerID": container_id, "ifname": interface} for container_id, interface in valid
        ]
        errors: list[ServiceError] = []
        for plugin in self.network.plugins:
            # Early plugins were written to the name "cni.dev/attachments"; libcni sends both.
            document = {
                **self._document(plugin, {}, None),
                "cni.dev/valid-attachments": attachments,
                "cni.dev/attachments": attachments,
            }
            try:
                await self._call("GC", plugin, document, None, end)
            except ServiceError as error:
                errors.append(error)
        return errors

    def _document(
        self,
        plugin: PluginConfig,
        capability_arguments: Mapping[str, Any],
        previous: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        """The execution configuration: the plugin's own, with the list's name and version,
        runtimeConfig and prevResult.
        """
        document = {
            **plugin.document,
            "name": self.network.name,
            "cniVersion": self.network.version,
        }
        runtime = {
            key: capability_arguments[key]
            for key in sorted(plugin.capabilities)
            if key in capability_arguments
        }
        if runtime:
            document["runtimeConfig"] = runtime
        if previous is not None:
            document["prevResult"] = previous
        return document

    async def _call(
        self,
        command: str,
        plugin: PluginConfig,
        document: Mapping[str, Any],
        attachment: Attachment | None,
        end: float,
    ) -> dict[str, Any] | None:
        return await call_plugin(
            command,
            plugin.type,
            document,
            self._directories,
            attachment=attachment,
            deadline_s=max(0.0, end - anyio.current_time()),
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
