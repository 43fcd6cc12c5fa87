"""The page of all metrics, from their catalogue."""

from __future__ import annotations

from collections.abc import Iterable

from shared.docs.page import page, table
from shared.metrics.catalogue import BUILD, EVERY, MEASURED, TOLD
from shared.metrics.instruments import OTHER, SERIES_MAX, Spec

_INTRODUCTION = f"""\
# Metrics

Each process answers at three addresses, in the text of Prometheus or OpenMetrics as the scraper asks, and in JSON:

| Address | Answer |
| --- | --- |
| `/metrics` | what stands here |
| `/healthz` | 200: the process lives |
| `/readyz` | 200: it can do its work; 503: it cannot, and `reasons` say why |

The console answers at its own port. Of the others each kind has a hundred ports from
[`metrics.port`](configuration.md#metrics) on (18100): `ingest` 18100 to 18199, `dispatch` 18200 to 18299, `worker`
18300 to 18399. A process takes the first of them that is free, and names it on its ready line: of `worker=8` on one
machine the eight listen on 18300 to 18307. Where none is free the process works all the same, and says so.

[How to monitor](../howto/monitor.md) has a configuration for Prometheus and the alerts that matter.

**Labels are bounded.** `trigger` is the path of a trigger, never a topic; the rest are states and names from the code.
A process tells {SERIES_MAX} triggers apart, what is beyond counts as `{OTHER}`.

**What is in Redis is told by the console alone**, so that it is there once and not once for each process. If several
consoles are scraped, all of them tell the same: take the `max` of it, not the sum. A figure that may become smaller is
a gauge, also among the [counters of the books](../explanation/delivery.md#the-books): a run that was written off and
turns out well moves from one state to another.

Beside these each process tells `process_cpu_seconds_total`, `process_resident_memory_bytes`, `process_open_fds` and the
like of itself."""


def render() -> str:
    """The whole page."""
    return page(
        _INTRODUCTION,
        "## What each process measures of itself",
        _rows([*(each.spec for each in MEASURED), BUILD]),
        "## What the console tells of the whole",
        _rows(TOLD),
    )


def _rows(specs: Iterable[Spec]) -> str:
    rows = [
        (f"`{spec.name}`", spec.kind, ", ".join(f"`{label}`" for label in spec.labels), spec.description, _by(spec))
        for spec in specs
    ]
    return table(["Metric", "Type", "Labels", "Meaning", "Told by"], rows)


def _by(spec: Spec) -> str:
    return "all" if spec.by == EVERY else ", ".join(spec.by)
