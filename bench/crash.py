"""How soon is it noticed that what executed a run is dead? With the settings that everybody has."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import psutil

from bench.lab import Lab
from bench.load import admit
from bench.servers import valkey
from bench.system import System
from bench.table import Missing, Row, Target
from shared.config import WorkerSettings

ENDLESS = "import time\n\ndef main(payload: bytes):\n    open({!r}, 'w').close()\n    time.sleep(600)\n"
LIVING_S = 2 * WorkerSettings().lease_ttl_ms / 1000 + 2
"""A worker settles what others left once it has been in touch for twice the lease time: then the cluster lives."""
BEGUN = "begun"
WORKER, RUNNER = "worker killed, its QoS 2 run interrupted", "interpreter killed, its QoS 2 run interrupted"


def measure(lab: Lab) -> Sequence[Row | Missing]:
    """Of the worker, by another one; of its child interpreter, by itself."""

    def rows() -> list[Row]:
        (worker,) = lab.each_round(WORKER, partial(_seconds, lab, _of_worker))
        (runner,) = lab.each_round(RUNNER, partial(_seconds, lab, _of_runner))
        soon, at_once = Target(of_ratio=False, limit=15, at_most=True), Target(of_ratio=False, limit=1, at_most=True)
        return [Row(WORKER, "s", worker, target=soon), Row(RUNNER, "s", runner, target=at_once)]

    return lab.rows("crash", rows)


def _seconds(lab: Lab, killed: Callable[[System], float]) -> float:
    with valkey(lab.folder(), "always") as (url, _):
        system = System(url, lab.folder())
        system.deploy(1, 2, ENDLESS.format(str(system.folder / BEGUN)))
        admit(system, 1, 2)
        with system.process("dispatch"):
            system.wait_until(lambda: system.cell("placed") == 1, "a placed message")
        return killed(system)


def _of_worker(system: System) -> float:
    with _executing(system) as first, system.process("worker-2"):
        time.sleep(LIVING_S)
        first.kill()
        return _noticed(system)


def _of_runner(system: System) -> float:
    with _executing(system) as worker:
        for child in worker.children():
            child.kill()
        return _noticed(system)


@contextmanager
def _executing(system: System) -> Iterator[psutil.Process]:
    """A worker that executes the run."""
    with system.process("worker", may_end=True) as pid:
        system.wait_until((system.folder / BEGUN).exists, "a run that executes")
        yield psutil.Process(pid)


def _noticed(system: System) -> float:
    begun = time.monotonic()
    return system.wait_until(lambda: system.cell("interrupted") == 1, "a run that is interrupted") - begun
