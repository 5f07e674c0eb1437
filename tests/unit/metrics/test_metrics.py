"""What a scrape shows of the figures that the service keeps."""

from __future__ import annotations

import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from asupervisor.errors import DeadlineExceeded, Unavailable
from asupervisor.metrics import Metrics


def rendered(metrics: Metrics) -> bytes:
    """A scrape's text."""
    return metrics.exposition(list(metrics.collect()))


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(rendered(metrics).decode())
        for sample in family.samples
    }


def test_rpc_counts_errors_latency_and_what_is_in_flight() -> None:
    metrics = Metrics()
    figures = metrics.rpc("ListContainers")
    for seconds in (0.0001, 0.0002, 700.0):
        figures.begin()
        figures.end(seconds)
    figures.begin()
    figures.end(0.002, "NOT_FOUND")
    figures.begin()
    seen = samples(metrics)
    method = ("method", "ListContainers")
    assert seen["asupervisor_rpc_total", (("code", "OK"), method)] == 3
    assert seen["asupervisor_rpc_total", (("code", "NOT_FOUND"), method)] == 1
    assert seen["asupervisor_rpc_errors_total", (("code", "NOT_FOUND"), method)] == 1
    assert ("asupervisor_rpc_errors_total", (("code", "OK"), method)) not in seen
    assert seen["asupervisor_rpc_in_flight", (method,)] == 1
    assert seen["asupervisor_rpc_duration_seconds_bucket", (("le", "0.0001"), method)] == 1, (
        "a bound is inside its bucket"
    )
    assert seen["asupervisor_rpc_duration_seconds_bucket", (("le", "0.00025"), method)] == 2
    assert seen["asupervisor_rpc_duration_seconds_bucket", (("le", "120.0"), method)] == 3
    assert seen["asupervisor_rpc_duration_seconds_bucket", (("le", "+Inf"), method)] == 4
    assert seen["asupervisor_rpc_duration_seconds_sum", (method,)] == pytest.approx(700.0023)
    assert seen["asupervisor_rpc_duration_seconds_count", (method,)] == 4


def test_engine_operations_keep_dockershims_names() -> None:
    metrics = Metrics()
    metrics.engine("inspect_container").end(0.1)
    metrics.engine_operation("inspect_container", 0.1, None)
    metrics.engine_operation("inspect_container", 0.1, None)
    metrics.engine_operation(
        "inspect_container", 1.0, DeadlineExceeded("the engine did not answer within 1 s")
    )
    metrics.engine_operation("inspect_container", 0.1, Unavailable("no engine"))
    metrics.engine_operation("inspect_container", 0.1, DeadlineExceeded("late"))
    seen = samples(metrics)
    label = (("operation_type", "inspect_container"),)
    assert seen["docker_operations_total", label] == 6
    assert seen["docker_operations_errors_total", label] == 3, (
        "a timeout is an error too, a cancelled call is none"
    )
    assert seen["docker_operations_timeout_total", label] == 2
    assert seen["docker_operations_duration_seconds_count", label] == 6


def test_an_events_detail_is_not_exported() -> None:
    metrics = Metrics()
    metrics.event_applied("exec_create: sh -c 'echo $PASSWORD'")
    metrics.event_applied("exec_create: true")
    assert (
        samples(metrics)["asupervisor_engine_events_applied_total", (("action", "exec_create"),)]
        == 2
    )
    assert b"PASSWORD" not in rendered(metrics)


def test_streaming_sessions_count_down_when_they_fail() -> None:
    metrics = Metrics()

    def fail() -> None:
        with metrics.streaming_session("exec"):
            assert samples(metrics)["asupervisor_streaming_sessions", (("kind", "exec"),)] == 1
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        fail()
    seen = samples(metrics)
    assert seen["asupervisor_streaming_sessions", (("kind", "exec"),)] == 0
    assert seen["asupervisor_streaming_sessions_opened_total", (("kind", "exec"),)] == 1


def test_two_supervisors_in_one_process_have_figures_of_their_own() -> None:
    one, other = Metrics(), Metrics()
    one.rpc("Version").begin()
    one.tasks.follow(lambda: 7)
    assert samples(one)["asupervisor_tasks", ()] == 7
    assert samples(other)["asupervisor_tasks", ()] == 0
    assert ("asupervisor_rpc_in_flight", (("method", "Version"),)) not in samples(other)
    assert samples(other)["process_open_fds", ()] > 0


def test_the_client_library_is_not_imported_before_somebody_scrapes() -> None:
    program = (
        "import sys; from asupervisor.metrics import Metrics; Metrics().rpc('Version').begin();"
        " print('prometheus_client' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "False\n"
