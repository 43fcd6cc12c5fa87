"""What does each process use when no message comes?"""

from __future__ import annotations

from bench.end_to_end import pipeline
from bench.lab import Lab
from bench.servers import Unmeasurable, mosquitto
from bench.system import NO_OP
from bench.table import Missing, Row, Target

SECONDS = 10
TARGET = Target(of_ratio=False, limit=1, at_most=True)


def measure(lab: Lab) -> list[Row | Missing]:
    """Processor time and memory, after one message has gone through."""
    lab.say(f"idle, {SECONDS} s")
    try:
        with mosquitto(lab.folder()) as port, pipeline(lab, port, 1, NO_OP) as (_, processes):
            busy = processes.busy_percent(SECONDS)
            memory = processes.memory()
    except Unmeasurable as error:
        return [Missing("idle", str(error))]
    rows: list[Row | Missing] = [
        Row(f"idle {name}, over {SECONDS} s", "% of a core", [value], target=TARGET) for name, value in busy.items()
    ]
    return [*rows, *(Row(f"idle {name}, memory", "MiB", [value]) for name, value in memory.items())]
