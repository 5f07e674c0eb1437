"""The status page of a real service: over HTTP, and in a browser."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from asupervisor.remote import RemoteRuntimeService
from tests.harness.browser import BROWSER, look_at
from tests.harness.pods import until
from tests.harness.service import Service
from tests.integration.observability.conftest import metrics_address, pod_config

HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"


@contextmanager
def answer(service: Service, path: str) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(*metrics_address(service), timeout=30)
    try:
        connection.request("GET", path)
        yield connection.getresponse()
    finally:
        connection.close()


async def test_the_page_shows_a_pod_and_its_hostile_label_as_text(
    runtime: RemoteRuntimeService, service: Service
) -> None:
    config = pod_config("marked")
    config.labels["hostile"] = HOSTILE
    config.annotations["secret"] = "planted-annotation"

    def read() -> str:
        with answer(service, "/") as page:
            assert page.status == 200
            assert "default-src 'none'" in str(page.headers["Content-Security-Policy"])
            assert page.headers["X-Content-Type-Options"] == "nosniff"
            return page.read().decode()

    await runtime.run_pod_sandbox(config)
    text = ""
    while config.metadata.name not in text:
        text = await anyio.to_thread.run_sync(read)
    assert "RunPodSandbox" in text and "create_container" in text and "RuntimeReady" in text
    assert HOSTILE not in text and "&lt;img src=x onerror=" in text
    assert "planted-annotation" not in text


async def test_a_watcher_is_told_of_a_new_pod_and_of_what_doctor_finds(
    runtime: RemoteRuntimeService, service: Service
) -> None:
    config = pod_config("watched")
    name = config.metadata.name
    told: set[str] = set()
    watching = threading.Event()

    def watch() -> None:
        with answer(service, "/stream") as stream:
            assert stream.headers["Content-Type"] == "text/event-stream"
            while not {"pod", "doctor"} <= told:
                line = stream.readline().decode()
                assert line, "the stream ended"
                watching.set()
                if line.startswith("data: "):
                    section = json.loads(line.removeprefix("data: "))
                    if section["name"] == "pods" and name in section["html"]:
                        told.add("pod")
                    if section["name"] == "doctor" and "lines are ok" in section["html"]:
                        told.add("doctor")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, watch)
        await anyio.to_thread.run_sync(watching.wait)
        await runtime.run_pod_sandbox(config)
    assert told == {"pod", "doctor"}


def test_watchers_that_stay_do_not_keep_metrics_away(service: Service) -> None:
    with answer(service, "/stream") as stream:
        assert stream.readline().startswith(b"event: section")
        for path in ("/metrics", "/healthz", "/"):
            with answer(service, path) as page:
                assert page.status == 200 and page.read()


@pytest.mark.skipif(BROWSER is None, reason="there is no browser")
async def test_a_browser_shows_it_live_and_runs_nothing_of_a_label(
    runtime: RemoteRuntimeService, service: Service, tmp_path: Path
) -> None:
    config = pod_config("browsed")
    config.labels["hostile"] = HOSTILE
    host, port = metrics_address(service)

    def pictured() -> bool:
        with answer(service, "/") as page:
            return config.metadata.name in page.read().decode()

    await runtime.run_pod_sandbox(config)
    # The page may be older than the pod by the time between two pictures.
    await until(partial(anyio.to_thread.run_sync, pictured), "the page has the pod")
    shown = await anyio.to_thread.run_sync(
        look_at, f"http://{host}:{port}/", tmp_path, "--dump-dom"
    )
    # What came live has replaced what the document had: it is there once, as text.
    assert '<span id="live">live</span>' in shown
    assert "<img" not in shown and "&lt;img src=x" in shown
    assert "<title>taken</title>" not in shown and ": asupervisor</title>" in shown
