"""How many runs does one worker execute and record in a second? Beside RQ's own SimpleWorker.

Both execute a function that does nothing on a payload of 64 bytes; every run is an RQ job with its record.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

from bench.lab import Lab
from bench.load import admit
from bench.servers import Aof, Unmeasurable, valkey
from bench.system import System
from bench.table import Missing, Row, Target
from shared.envelope import QoS

COUNT: dict[QoS, int] = {0: 20_000, 1: 20_000, 2: 5_000}
TARGET = {qos: Target(of_ratio=True, limit=10 if qos == 2 else 50) for qos in COUNT}
STOCK_COUNT = 1_000
AOFS: tuple[Aof, ...] = ("always", "none")


def measure(lab: Lab) -> list[Row | Missing]:
    """Each QoS, with AOF and without."""
    rows: list[Row | Missing] = []
    for aof in AOFS:
        rows += lab.rows(f"run, AOF {aof}", partial(_beside_rq, lab, aof))
    return rows


def _beside_rq(lab: Lab, aof: Aof) -> list[Row]:
    ours = [partial(_executed, lab, aof, qos) for qos in COUNT]
    stock, *values = lab.each_round(f"run, AOF {aof}", partial(_stock, lab, aof), *ours)
    return [
        Row(f"run QoS {qos}, AOF {aof}", "runs/s", values[qos], "RQ SimpleWorker", stock, TARGET[qos]) for qos in COUNT
    ]


def _executed(lab: Lab, aof: Aof, qos: QoS) -> float:
    count = COUNT[qos]
    with valkey(lab.folder(), aof) as (url, _):
        system = System(url, lab.folder())
        system.deploy(1, qos)
        admit(system, count, qos)
        with system.process("dispatch"):
            system.wait_until(lambda: system.cell("placed") >= count, "placed messages")
        with system.process("worker"):
            return system.rate_until(lambda: system.cell("succeeded"), count, "recorded runs")


def _stock(lab: Lab, aof: Aof) -> float:
    with valkey(lab.folder(), aof) as (url, _):
        argv = [sys.executable, "-m", "bench.stock", url, str(STOCK_COUNT)]
        done = subprocess.run(argv, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unmeasurable(f"RQ's SimpleWorker failed: {done.stderr}")
        return float(done.stdout)
