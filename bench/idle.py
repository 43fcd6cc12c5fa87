"""What each process uses when no message comes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from bench.end_to_end import pipeline
from bench.lab import Lab
from bench.servers import mosquitto
from bench.system import NO_OP
from bench.table import Missing, Row, Target

SECONDS = 10
TARGET = Target(of_ratio=False, limit=1, at_most=True)


def measure(lab: Lab) -> Sequence[Row | Missing]:
    """Processor time and memory, after one message has gone through."""
    return lab.rows("idle", partial(_idle, lab))


def _idle(lab: Lab) -> list[Row]:
    lab.say(f"idle, {SECONDS} s")
    with mosquitto(lab.folder()) as port, pipeline(lab, port, 1, NO_OP) as (_, processes):
        busy = processes.busy_percent(SECONDS)
        memory = processes.memory()
    used = [
        Row(f"idle {name}, over {SECONDS} s", "% of a core", [value], target=TARGET) for name, value in busy.items()
    ]
    return [*used, *(Row(f"idle {name}, memory", "MiB", [value]) for name, value in memory.items())]
