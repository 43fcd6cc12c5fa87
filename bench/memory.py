"""Does memory stay flat over a million messages? Not asked by default: it takes minutes.

The replaying broker feeds as fast as runs are recorded, so that what waits in Redis stays bounded; ended runs are
pruned by the default retention. A process that holds on to something shows it as growth from one tenth to the next.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from bench.admit import replaying
from bench.end_to_end import PROCESSES
from bench.lab import Lab
from bench.processes import Processes
from bench.servers import valkey
from bench.system import System
from bench.table import Missing, Row

COUNT = 1_000_000
WHAT = f"memory, {COUNT:,} messages at QoS 1"
STEP = 5_000
WAITING_MAX = 20_000
TIMEOUT_S = 300.0


def measure(lab: Lab) -> Sequence[Row | Missing]:
    """Memory of each process at the end, and beside it when the default retention has begun to prune."""
    return lab.rows(WHAT, partial(_grown, lab))


def _grown(lab: Lab) -> list[Row]:
    with ExitStack() as stack:
        url, redis_pid = stack.enter_context(valkey(lab.folder(), "none"))
        replay = stack.enter_context(replaying(1))
        system = System(url, lab.folder())
        system.deploy(replay.port, 1)
        pids = {name: stack.enter_context(system.process(name)) for name in PROCESSES}
        replay.connected()
        processes = Processes(pids | {"valkey": redis_pid})
        samples: list[dict[str, float]] = []
        begun = time.monotonic()
        for sent in range(0, COUNT, STEP):
            replay.send(STEP)
            enough = sent + STEP - WAITING_MAX
            system.wait_until(lambda least=enough: system.cell("succeeded") >= least, "recorded runs", TIMEOUT_S)  # type: ignore[misc]
            if (sent + STEP) % (COUNT // 10) == 0:
                samples.append(processes.memory())
                lab.say(", ".join(f"{name} {value:.1f}" for name, value in samples[-1].items()) + " MiB")
        system.wait_until(lambda: system.cell("succeeded") == COUNT, "the last run", TIMEOUT_S)
        rate = COUNT / (time.monotonic() - begun)
    first, last = samples[1], samples[-1]
    flat = [Row(f"{name} at the end", "MiB", [last[name]], "after two tenths", [first[name]]) for name in last]
    return [Row(WHAT, "runs/s", [rate]), *flat]
