"""How many runs does one dispatcher place in a second? From an inbox that is full already."""

from __future__ import annotations

from bench.lab import Lab
from bench.load import admit
from bench.servers import Aof, valkey
from bench.system import System
from bench.table import Missing, Row

COUNT = 50_000


def measure(lab: Lab) -> list[Row | Missing]:
    """With AOF, and beside it without."""
    what = f"place, {COUNT:,} QoS 1 messages"

    def row() -> Row:
        values, beside = lab.each_round(what, lambda: _placed(lab, "always"), lambda: _placed(lab, "none"))
        return Row(what, "runs/s", values, "without AOF", beside)

    return [lab.row(what, row)]


def _placed(lab: Lab, aof: Aof) -> float:
    with valkey(lab.folder(), aof) as (url, _):
        system = System(url, lab.folder())
        system.deploy(1, 1)
        admit(system, COUNT, 1)
        with system.process("dispatch"):
            return system.rate_until(lambda: system.cell("placed"), COUNT, "placed messages")
