"""Metrics: their names, their bounds, what a scraper reads of them."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from prometheus_client import parser as text
from prometheus_client.openmetrics import parser as openmetrics

from shared.config import MetricsSettings
from shared.errors import ConfigError
from shared.metrics import catalogue
from shared.metrics.exposition import render
from shared.metrics.health import is_authorized, readiness
from shared.metrics.installation import Facts, readings
from shared.metrics.instruments import OTHER, SERIES_MAX, Count, Distribution, Family, Gauge, Process, Spec
from shared.scripts.operate import Snapshot
from tests.support.factories import make_trigger
from tests.support.processes import ROOT

SPECS = catalogue.specs()


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_names_follow_the_conventions_of_prometheus(spec: Spec) -> None:
    """https://prometheus.io/docs/practices/naming/: prefix, base unit, `_total` for counters and for nothing else."""
    assert re.fullmatch(r"headrace_[a-z0-9_]+[a-z0-9]", spec.name)
    assert spec.name.endswith("_total") == (spec.kind == "counter")
    assert not spec.name.endswith(("_count", "_sum", "_bucket"))
    assert not re.search(r"_(ms|milliseconds|minutes|kb|mib)(_|$)", spec.name)
    if spec.kind == "histogram":
        assert spec.name.endswith("_seconds")
        assert list(spec.buckets) == sorted(set(spec.buckets))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", label) and label not in {"le", "topic"} for label in spec.labels)
    assert spec.labels.index("trigger") == 0 if "trigger" in spec.labels else True
    assert spec.description.endswith(".")


def test_each_name_is_there_once() -> None:
    """Prometheus knows a metric by its name."""
    assert [name for name, times in Counter(spec.name for spec in SPECS).items() if times > 1] == []


def test_a_process_tells_so_many_triggers_apart_and_the_rest_as_one() -> None:
    """Whatever is deployed and deployed again, what it tells stays bounded."""
    family = Family(Spec("headrace_x_total", "counter", ("worker",), "X.", ("trigger", "outcome")), Count)
    for number in range(SERIES_MAX + 50):
        family.of(f"f/t/{number}", "failed").add()
    assert len(family.series) == SERIES_MAX + 1
    assert family.of(OTHER, "failed").value == 50
    assert family.of("f/t/7", "failed").value == 1


def test_a_distribution_counts_what_is_at_a_bound_below_it() -> None:
    """`le` is less or equal; what is below nothing counts as nothing."""
    spec = Spec("headrace_x_seconds", "histogram", ("worker",), "X.", (), (1.0, 2.0))
    found = Distribution(spec)
    for value in (-3.0, 1.0, 1.5, 2.0, 99.0):
        found.observe(value)
    found.observe(2.0, 10)
    assert found.counts == [2, 12, 1]
    assert found.sum == 1 + 1.5 + 2 + 99 + 20


@pytest.mark.parametrize("process", catalogue.EVERY)
@pytest.mark.parametrize("form", [text, openmetrics])
def test_what_a_process_tells_is_what_the_catalogue_says_it_does(process: Process, form: Any) -> None:
    """No more, and each with its type; figures of the process itself beside it. In both forms that there are."""
    accept = "application/openmetrics-text; version=1.0.0" if form is openmetrics else ""
    body, content_type = render(process, readings(None, None), accept)
    assert content_type.startswith("application/openmetrics-text" if accept else "text/plain")
    found = {family.name: family.type for family in form.text_string_to_metric_families(body.decode())}
    measured = {
        each.spec.name.removesuffix("_total"): each.spec.kind
        for each in catalogue.MEASURED
        if process in each.spec.by and not (isinstance(each, Gauge) and each.read is None)
    }
    ours = {name: kind for name, kind in found.items() if name.startswith("headrace_")}
    assert ours == measured | {"headrace_build_info": "gauge", "headrace_redis_up": "gauge"}
    assert "process_resident_memory_bytes" in found


def test_the_console_tells_the_books_so_that_the_identities_can_be_checked() -> None:
    """Cells that were never counted are 0; triggers that are not deployed any more are told too."""
    cells = {"received": 9, "admitted": 7, "duplicate": 2, "inbox": 1, "placed": 5, "poisoned": 1, "runs": 5}
    cells |= {"succeeded": 3, "failed": 1, "running": 1}
    body, _ = render("console", readings(_snapshot({"f/t/gone": cells}), _facts()))
    value = _values(body.decode())
    assert value["headrace_messages_received_total", "f/t/gone"] == 9
    assert value["headrace_messages_admission_total", "f/t/gone", "outcome=admitted"] == 7
    assert value["headrace_runs", "f/t/gone", "state=failed"] == 1
    assert value["headrace_runs", "f/demo/hello", "state=failed"] == 0
    assert value["headrace_session_state", "f/demo/hello", "state=waiting"] == 1
    assert value["headrace_books_balanced", "identity=place"] == 1


def test_books_that_do_not_balance_are_told_if_it_is_so_for_a_single_trigger() -> None:
    """Two errors that cancel each other out are two errors."""
    found = _snapshot({"a": {"received": 1}, "b": {"duplicate": 1}})
    value = _values(render("console", readings(found, _facts()))[0].decode())
    assert value["headrace_books_balanced", "identity=admit"] == 0
    assert value["headrace_books_balanced", "identity=run"] == 1


def test_triggers_beyond_the_bound_are_counted_together() -> None:
    """Those that are deployed come first, and the sums stay right."""
    found = _snapshot({f"f/old/{number:05}": {"received": 1, "duplicate": 1} for number in range(SERIES_MAX + 9)})
    value = _values(render("console", readings(found, _facts()))[0].decode())
    received = {key[1]: each for key, each in value.items() if key[0] == "headrace_messages_received_total"}
    assert len(received) == SERIES_MAX + 1
    assert (received[OTHER], sum(received.values())) == (10, SERIES_MAX + 9)
    assert value["headrace_books_balanced", "identity=admit"] == 1


def test_without_redis_the_console_says_that_and_nothing_of_the_whole() -> None:
    """A zero would be a lie."""
    value = _values(render("console", readings(None, None))[0].decode())
    assert value["headrace_redis_up",] == 0
    assert not [key for key in value if key[0] == "headrace_inbox_messages"]


def test_an_address_that_others_reach_asks_for_a_token() -> None:
    """The setting is refused before anything listens."""
    with pytest.raises(ConfigError, match="others can reach"):
        MetricsSettings(host="0.0.0.0")  # noqa: S104 - refused
    assert MetricsSettings(host="0.0.0.0", token="x").url(1) == "http://0.0.0.0:1"  # noqa: S104 - only a setting
    assert MetricsSettings(host="0.0.0.0", port=0).port == 0  # noqa: S104 - nothing listens
    assert MetricsSettings(host="::1").url(1) == "http://[::1]:1"


def test_a_token_lets_in_as_a_bearer_alone() -> None:
    """Without one everybody is let in."""
    assert is_authorized("", "")
    assert is_authorized("secret", "Bearer secret")
    assert not any(
        is_authorized("secret", header) for header in ("", "secret", "Basic secret", "Bearer secre", "Bearer ä")
    )


def test_a_process_that_cannot_do_its_work_says_why() -> None:
    """In the status for machines, in words for people."""
    assert readiness("worker", [])[0] == 200
    status, body = readiness("worker", ["Redis cannot be reached"])
    assert (status, body) == (503, b'{"ready":false,"process":"worker","reasons":["Redis cannot be reached"]}')


def test_the_alerts_and_panels_of_the_how_to_ask_for_metrics_that_there_are() -> None:
    """With the suffixes that Prometheus adds to histograms."""
    page = (ROOT / "docs/howto/monitor.md").read_text(encoding="utf-8")
    known = {spec.name for spec in SPECS} | {f"{spec.name}_bucket" for spec in SPECS if spec.kind == "histogram"}
    asked = set(re.findall(r"\bheadrace_[a-z_]+", page))
    assert len(asked) > 20
    assert asked - known == set()


def _snapshot(counters: dict[str, dict[str, int]]) -> Snapshot:
    return Snapshot(1_000_000, counters, {}, [], 0, "", 0, "", 0, 0, {"number": "3"}, {})


def _facts() -> Facts:
    return Facts({"f/demo/hello": make_trigger()}, 0, 0, 0, "full")


def _values(body: str) -> dict[tuple[str, ...], float]:
    """By name, trigger and other labels."""
    found = {}
    for family in text.text_string_to_metric_families(body):
        for sample in family.samples:
            labels = dict(sample.labels)
            trigger = [labels.pop("trigger")] if "trigger" in labels else []
            found[sample.name, *trigger, *(f"{name}={value}" for name, value in labels.items())] = sample.value
    return found
