"""The page's sections, and the page around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from itertools import pairwise

from asupervisor.observability.page.charts import bar_chart, line_chart
from asupervisor.observability.page.html import Html, join, table, tag
from asupervisor.observability.page.view import Calls, Finding, Pod, Totals, View
from asupervisor.observability.page.words import age, latency, moment, remedy, size

_MOST_LABELS = 20
_TITLES = {
    "conditions": "Conditions",
    "rates": "Calls now",
    "pods": "Pods",
    "doctor": "What doctor found",
    "troubles": "Errors and warnings",
    "events": "Events",
    "calls": "CRI calls since the start",
    "operations": "Engine operations since the start",
    "network": "Network",
    "images": "Images",
}

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing from other hosts and nothing inline: a script in a label would not run."""


def asset(name: str) -> bytes:
    """``page.css`` or ``page.js``."""
    return resources.files("asupervisor.observability.page").joinpath(name).read_bytes()


def sections(
    view: View, history: Sequence[Totals], findings: Sequence[Finding] | None
) -> dict[str, Html]:
    """The inner HTML of every section, by its name.

    Args:
        view: the node now.
        history: figures since the page was opened, the oldest first.
        findings: of doctor; None while it runs for the first time.
    """
    return {
        "top": _top(view),
        "conditions": _conditions(view),
        "rates": _rates(history),
        "pods": _pods(view),
        "troubles": _troubles(view),
        "events": table(
            ("when (UTC)", "what", "of"),
            ((moment(one.at), one.what, one.subject) for one in view.events),
            "nothing has happened since the start",
        ),
        "calls": _calls(view.calls),
        "operations": _calls(view.operations),
        "network": table(("what", "value"), view.network.items(), "there is no pod network"),
        "images": _images(view),
        "doctor": _doctor(findings),
    }


def page(node: str, parts: Mapping[str, Html]) -> bytes:
    """The whole document.

    Args:
        node: the machine's name.
        parts: see :func:`sections`.
    """
    body = join(
        tag("section", tag("h2", title), tag("div", parts[name], id=name))
        for name, title in _TITLES.items()
    )
    head = join(
        (
            Html('<meta charset="utf-8">'),
            Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Html('<meta name="color-scheme" content="light dark">'),
            Html('<noscript><meta http-equiv="refresh" content="10"></noscript>'),
            tag("title", f"{node}: asupervisor"),
            Html('<link rel="icon" href="data:,"><link rel="stylesheet" href="/page.css">'),
            Html('<script src="/page.js" defer></script>'),
        )
    )
    document = tag(
        "html",
        tag("head", head),
        tag("body", tag("header", parts["top"], id="top"), tag("main", body)),
        lang="en",
    )
    return b"<!doctype html>\n" + document.encode()


def _top(view: View) -> Html:
    ready = all(condition.ready for condition, _ in view.conditions)
    return join(
        (
            tag("h1", view.node),
            tag("p", _badge("ready" if ready else "not ready", ready), " ", view.summary),
            tag(
                "p",
                f"asupervisor {view.version}, up since {moment(view.started)} UTC; ",
                tag("span", "live", id="live"),
                class_="quiet",
            ),
        )
    )


def _badge(words: str, good: bool) -> Html:
    return tag("span", words, class_="badge good" if good else "badge bad")


def _conditions(view: View) -> Html:
    return table(
        ("condition", "holds", "since (UTC)", "reason", "what to do"),
        (
            (
                one.kind,
                _badge("yes" if one.ready else "no", one.ready),
                moment(one.since),
                ": ".join(filter(None, (one.reason, one.message))),
                what_to_do,
            )
            for one, what_to_do in view.conditions
        ),
        "there are none",
    )


def _rates(history: Sequence[Totals]) -> Html:
    pairs = list(pairwise(history))
    called = [(after.calls - before.calls) / _span(before, after) for before, after in pairs]
    failed = [(after.failed - before.failed) / _span(before, after) for before, after in pairs]
    took = [
        (after.seconds - before.seconds) / max(1, after.calls - before.calls)
        for before, after in pairs
    ]
    return tag(
        "div",
        _figure("calls a second", called, f"{called[-1]:.1f}" if called else "…"),
        _figure("failed calls a second", failed, f"{failed[-1]:.1f}" if failed else "…"),
        _figure("mean time of a call", took, f"{took[-1] * 1000:.2f} ms" if took else "…"),
        class_="figures",
    )


def _span(before: Totals, after: Totals) -> float:
    return max(1e-3, after.at - before.at)


def _figure(words: str, values: Sequence[float], latest: str) -> Html:
    caption = tag("figcaption", tag("strong", latest), " ", words)
    return tag("figure", caption, line_chart(values, f"{words}, since this page was opened"))


def _pods(view: View) -> Html:
    shown = table(
        ("pod", "state", "address", "age", "containers"),
        (_pod(pod, view.now) for pod in view.pods),
        "no pod is on this node",
    )
    return join((shown, _more(view.pod_count - len(view.pods))))


def _pod(pod: Pod, now: float) -> tuple[Html | str, ...]:
    labels = list(pod.labels.items())
    chips = join(
        tag("span", f"{key}={value}", class_="chip") for key, value in labels[:_MOST_LABELS]
    )
    containers = join(
        tag(
            "div",
            _badge(one.state, one.state == "Running"),
            " ",
            tag("strong", one.name),
            f" {one.image}",
            f" (restarted {one.restarts} times)" if one.restarts else "",
        )
        for one in pod.containers
    )
    name = join(
        (
            tag("strong", f"{pod.namespace}/{pod.name}"),
            tag("div", pod.id[:13], class_="quiet"),
            tag("div", chips, class_="chips"),
        )
    )
    where = ", ".join(pod.addresses)
    return name, _badge(pod.state, pod.ready), where, age(now - pod.since), containers


def _more(hidden: int) -> Html:
    return tag("p", f"and {hidden} more", class_="quiet") if hidden > 0 else Html()


def _troubles(view: View) -> Html:
    return table(
        ("when (UTC)", "level", "what", "what to do"),
        (
            (
                moment(one.at),
                tag("span", one.code or one.level, class_=f"level {one.level}"),
                f"{one.message} ({one.times} times)" if one.times > 1 else one.message,
                remedy(one.code, one.message),
            )
            for one in view.troubles
        ),
        "none since the start",
    )


def _calls(calls: Sequence[Calls]) -> Html:
    return table(
        ("name", "count", "failed", "under way", "half within", "99 % within", "latency"),
        (
            (
                one.name,
                one.count,
                tag("span", one.failed, class_="level error" if one.failed else "quiet"),
                one.under_way,
                latency(one.quantile_s(0.5)),
                latency(one.quantile_s(0.99)),
                bar_chart(
                    one.buckets,
                    f"{one.name}: how many took how long, from {latency(one.bounds_s[0])} to"
                    f" {latency(one.bounds_s[-1])} and longer",
                ),
            )
            for one in calls
        ),
        "none yet",
    )


def _images(view: View) -> Html:
    shown = table(
        ("image", "size", "containers", "kept"),
        (
            (
                join(tag("div", name) for name in one.names),
                size(one.size_bytes),
                one.containers,
                "always" if one.pinned else "",
            )
            for one in view.images
        ),
        "there are no images",
    )
    taken = f"{view.image_count} images"
    if view.images_bytes:
        taken += f" take {size(view.images_bytes)} in {view.images_at}"
    return join((tag("p", taken), shown, _more(view.image_count - len(view.images))))


def _doctor(findings: Sequence[Finding] | None) -> Html:
    if findings is None:
        return tag("p", "doctor is running …", class_="empty")
    wrong = [one for one in findings if one.level != "ok"]
    fine = len(findings) - len(wrong)
    rows = (
        (
            tag("span", one.level, class_=f"level {one.level}"),
            tag("span", one.check, class_="whole"),
            one.message,
            one.remedy,
        )
        for one in sorted(wrong, key=lambda one: one.level != "error")
    )
    return join(
        (
            table(("level", "check", "what", "what to do"), rows, "nothing is wrong"),
            tag("p", f"{fine} lines are ok", class_="quiet"),
        )
    )
