"""Invariant: through kill -9 of workers no finished step of a flow runs again, at QoS 2 none twice; no flow is lost."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import keys
from shared.definitions import Runnable
from shared.doctor_runs import differences
from shared.flow_records import read_ended
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import counters
from tests.support.flows import Modules, Tally, branch_one, deploy_flow, loop, queue_flows, step
from tests.support.processes import HeadraceProcess
from tests.support.workers import claims_left, states

FLOWS = 500
"""Of each shape."""
KILLS = 10
STEPS_BETWEEN = 300
"""Executed before the next death."""
STEP_S = 0.002
"""A step takes a while, so that the deaths of workers hit some."""
WORKERS = 3
FAST = {"HEADRACE_WORKER__LEASE_TTL_MS": "800"}
ENDED = {"succeeded", "failed", "interrupted"}

SHAPES: dict[str, Modules] = {
    "sequential": [step("a"), step("b"), step("c")],
    "branch": [step("a"), branch_one("o", {"flow_input.payload != 'eA=='": [step("b")]}, [step("c")])],
    "loop": [loop("l", "[1, 2, 3]", step("a"))],
    "parallel": [loop("l", "[1, 2, 3]", step("a"), value={"parallel": True}), step("b")],
    "retry": [step("a"), step("f", retry={"constant": {"attempts": 1, "seconds": 1}}), step("never")],
}


class Chaos:
    """Flows of all shapes, workers that die, and what really ran according to the steps themselves."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.store = Store.connect(redis_url)
        self.tally = Tally(folder)
        self.random = random.Random(7)
        self.workers = [
            HeadraceProcess("worker", folder=folder, env={"REDIS_URL": redis_url, **FAST}) for _ in range(3)
        ]
        lasts = f"time.sleep({STEP_S})\n"
        fails = self.tally.source("f", f"{lasts}raise ValueError('no')")
        sources = {name: self.tally.source(name, f"{lasts}return given") for name in ("a", "b", "c", "failure")}
        sources["f"] = fails
        self.flows: dict[str, Runnable] = {
            shape: deploy_flow(
                self.store,
                modules,
                sources,
                path=f"f/t/{shape}",
                **({"failure_module": step("failure")} if shape == "retry" else {}),
            )
            for shape, modules in SHAPES.items()
        }
        self.runs = {shape: [f"q{1 + n % 2}-{shape}-1-{n}" for n in range(FLOWS)] for shape in SHAPES}

    @property
    def all_runs(self) -> list[str]:
        """Of all shapes."""
        return [run_id for runs in self.runs.values() for run_id in runs]

    def kill_workers(self) -> None:
        """Again and again, whichever it is, while there is work: however fast this machine is."""
        for worker in self.workers:
            worker.start()
        for _ in range(KILLS):
            before = len(self.tally.executed())
            eventually(lambda before=before: len(self.tally.executed()) > before + STEPS_BETWEEN, 30)  # type: ignore[misc]
            time.sleep(self.random.uniform(0, 0.1))
            victim = self.random.choice(self.workers)
            victim.kill9()
            victim.start()

    def settled(self) -> bool:
        """All flows have ended."""
        return set(states(self.store, *self.all_runs)) <= ENDED


@pytest.fixture
def chaos(tmp_path: Path, redis_url: str) -> Iterator[Chaos]:
    """Flows that are queued."""
    made = Chaos(tmp_path, redis_url)
    for shape, runs in made.runs.items():
        queue_flows(made.store, made.flows[shape], *runs)
    yield made
    for worker in made.workers:
        worker.close()


@pytest.mark.timeout(300)
def test_flows_survive_the_death_of_workers(chaos: Chaos) -> None:
    """Redis and the steps' own notes tell the same story."""
    chaos.kill_workers()
    eventually(chaos.settled, timeout_s=200, interval_s=0.5)

    executed = chaos.tally.by_key()
    interrupted = 0
    for shape, runs in chaos.runs.items():
        for run_id, state in zip(runs, states(chaos.store, *runs), strict=True):
            check_run(chaos.store, run_id, executed, shape, state)
            interrupted += state == "interrupted"
    for key, times in executed.items():
        assert times == 1 or not is_exactly_once(key), f"{key} was executed {times} times"
    assert interrupted, "some deaths have hit a step"
    cells = counters(chaos.store)
    assert cells["runs"] == len(chaos.all_runs) == sum(cells.get(state, 0) for state in ENDED)
    assert cells.get("interrupted", 0) == interrupted
    assert claims_left(chaos.store) == chaos.store.command("ZCARD", keys.RQ_STARTED) == 0
    assert chaos.store.command("ZCARD", keys.RQ_SCHEDULED) == chaos.store.command("LLEN", keys.RQ_QUEUE) == 0
    assert differences(chaos.store) == []


def check_run(store: Store, run_id: str, executed: dict[str, int], shape: str, state: str) -> None:
    """One flow: what its records say has been done, has been done, and by its own steps."""
    fields = {name.decode(): blob for name, blob in store.command("HGETALL", keys.flow(run_id)).items()}
    names = [name for name in fields if fields[name][:1] == b"{" and not any(mark in name for mark in "?!>")]
    for name in names:
        ended = read_ended(fields[name])
        times = executed[f"{run_id[3:]}/{name}"]
        if ended.ok or (ended.error or {})["name"] == "ValueError":
            assert times == 1 if run_id.startswith("q2") else times >= 1, f"{name} of {run_id}: {times}"
    if run_id.startswith("q1"):
        assert state == ("failed" if shape == "retry" else "succeeded"), run_id
    if shape == "retry" and state == "failed" and run_id.startswith("q2"):
        assert {"a", "f", "f~1", "failure"} <= set(names), run_id
    if state == "succeeded":
        wanted = {"sequential": {"a", "b", "c"}, "branch": {"a", "o/0/b"}, "loop": {"l/0/a", "l/1/a", "l/2/a"}}
        assert wanted.get(shape, set()) <= set(names)


def is_exactly_once(key: str) -> bool:
    """Keys of runs of QoS 2: every second run is one."""
    return int(key.split("/", maxsplit=1)[0].split("-")[2]) % 2 == 1
