"""Prometheus' text: the one place that knows prometheus-client."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import cast

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder

from shared.metrics.catalogue import BUILD, MEASURED
from shared.metrics.instruments import Count, Distribution, Family, Gauge, Process, Reading, Spec


def render(process: Process, told: Sequence[Reading], accept: str = "") -> tuple[bytes, str]:
    """What this process has measured, what it has to tell besides, and figures of the process itself.

    Returns body and content type, in the format that the Accept header asks for. Takes milliseconds.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Ours(process, told))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Ours:
    """Our metrics, as prometheus-client collects them."""

    def __init__(self, process: Process, told: Sequence[Reading]) -> None:
        self._process = process
        self._told = told

    def collect(self) -> Iterator[Metric]:
        """Each metric once."""
        yield _values(Reading(BUILD, [((self._process, _version(), platform.python_version()), 1)]))
        for each in MEASURED:
            if self._process in each.spec.by:
                yield from _measured(each)
        for reading in self._told:
            yield _values(reading)


def _measured(each: Family[Count] | Family[Distribution] | Gauge) -> Iterable[Metric]:
    if isinstance(each, Gauge):
        return [] if each.read is None else [_values(Reading(each.spec, [((), each.read())]))]
    if each.spec.kind == "histogram":
        return [_histogram(cast("Family[Distribution]", each))]
    counts = cast("Family[Count]", each)
    return [_values(Reading(each.spec, [(values, count.value) for values, count in list(counts.series.items())]))]


def _values(reading: Reading) -> Metric:
    spec = reading.spec
    kind = CounterMetricFamily if spec.kind == "counter" else GaugeMetricFamily
    family = kind(spec.name.removesuffix("_total"), spec.description, labels=spec.labels)
    for values, value in reading.values:
        family.add_metric(values, value)
    return family


def _histogram(each: Family[Distribution]) -> Metric:
    spec = each.spec
    family = HistogramMetricFamily(spec.name, spec.description, labels=spec.labels)
    for values, series in list(each.series.items()):
        family.add_metric(values, _buckets(spec, list(series.counts)), series.sum)
    return family


def _buckets(spec: Spec, counts: list[int]) -> list[tuple[str, float]]:
    """Cumulative, up to +Inf."""
    whole = 0
    buckets = []
    for bound, count in zip([*(f"{each:g}" for each in spec.buckets), "+Inf"], counts, strict=True):
        whole += count
        buckets.append((bound, float(whole)))
    return buckets


def _version() -> str:
    try:
        return version("headrace")
    except PackageNotFoundError:
        return "unknown"
