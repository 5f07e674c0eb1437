"""Interfaces that a pod names as it likes: the kernel takes all but spaces, ``/`` and ``:``."""

from __future__ import annotations

import os
import subprocess

import pytest

from asupervisor.network.addresses import namespace_addresses
from tests.integration.network.namespaces import Namespace

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace")


def test_an_interface_whose_name_is_no_text_hides_no_address() -> None:
    pod = Namespace()
    try:
        for name in (b"e\xff", b"z\x1f1\x1f1\x1f00\x1f1\x1fa"):
            for command in (
                [b"link", b"add", name, b"type", b"bridge"],
                [b"address", b"add", b"fd00::5/64", b"dev", name, b"nodad"],
            ):
                enter = [b"nsenter", os.fsencode(f"--net={pod.path}"), b"ip", *command]
                subprocess.run(enter, check=True, timeout=30)
        assert set(namespace_addresses(pod.path)) == {"fd00::5"}
    finally:
        pod.close()
