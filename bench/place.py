"""How many runs does one dispatcher place in a second? From an inbox that is full already."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from bench.lab import Lab
from bench.load import admit
from bench.servers import Aof, valkey
from bench.system import System
from bench.table import Missing, Row

COUNT = 50_000
WHAT = f"place, {COUNT:,} QoS 1 messages"


def measure(lab: Lab) -> Sequence[Row | Missing]:
    """With AOF, and beside it without."""

    def rows() -> list[Row]:
        values, beside = lab.each_round(WHAT, partial(_placed, lab, "always"), partial(_placed, lab, "none"))
        return [Row(WHAT, "runs/s", values, "without AOF", beside)]

    return lab.rows(WHAT, rows)


def _placed(lab: Lab, aof: Aof) -> float:
    with valkey(lab.folder(), aof) as (url, _):
        system = System(url, lab.folder())
        system.deploy(1, 1)
        admit(system, COUNT, 1)
        with system.process("dispatch"):
            return system.rate_until(lambda: system.cell("placed"), COUNT, "placed messages")
