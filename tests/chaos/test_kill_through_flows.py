"""Invariant: through kill -9 of workers, runners, Redis no finished step of a flow runs again, at QoS 2 none twice."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from shared import keys
from shared.definitions import Runnable
from shared.doctor_runs import differences
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import counters
from tests.support.flows import (
    Modules,
    Tally,
    branch_all,
    branch_one,
    deploy_flow,
    loop,
    queue_flows,
    static,
    step,
    while_loop,
)
from tests.support.processes import HeadraceProcess
from tests.support.valkey import ValkeyServer
from tests.support.workers import claims_left, states

FLOWS = 500
"""Of each shape."""
KILLS = 24
"""Of workers and runners; Redis dies in between."""
REDIS_KILLS = 3
STEP_S = 0.002
"""A step takes a while, so that deaths hit some."""
WORKERS = 3
FAST = {"HEADRACE_WORKER__LEASE_TTL_MS": "800"}
ENDED = {"succeeded", "failed", "interrupted"}
STEP_KEY = re.compile(r"([a-z_]+-1-\d+)(?:-[0-9a-f]{10}-\d+)*/(.+)")
"""What a step is handed as idempotency key: that of the run, or of a part of it, and the step's own."""


class Shape(msgspec.Struct, frozen=True):
    """A flow. `steps` are the keys of what is executed where nothing dies; `fields` are further fields of the flow."""

    modules: Modules
    steps: frozenset[str]
    state: str = "succeeded"
    handles_failures: bool = False
    within: Mapping[str, Modules] = {}
    fields: Mapping[str, Any] = {}


def _keys(text: str) -> frozenset[str]:
    return frozenset(text.split())


INNER = {"s": [step("a"), step("b")]}
A_FLOW = {"id": "s", "value": {"type": "flow", "path": "f/t/inner", "input_transforms": {}}}
PARALLEL = {"parallel": True}
ONCE_MORE = {"constant": {"attempts": 1, "seconds": 1}}
SHAPES: dict[str, Shape] = {
    "sequential": Shape([step("a"), step("b"), step("c")], _keys("a b c")),
    "branch": Shape(
        [step("a"), branch_one("o", {"flow_input.payload != 'eA=='": [step("b")]}, [step("c")])], _keys("a o/0/b")
    ),
    "branches": Shape([branch_all("o", [step("a")], [step("b")]), step("c")], _keys("o/0/a o/1/b c")),
    "branches_at_once": Shape(
        [branch_all("o", [step("a")], [step("b")], value=PARALLEL), step("c")], _keys("o/0/a o/1/b c")
    ),
    "loop": Shape([loop("l", "[1, 2, 3]", step("a"))], _keys("l/0/a l/1/a l/2/a")),
    "while": Shape(
        [while_loop("w", step("a", {"i": "flow_input.iter.index"}, stop_after_if={"expr": "result.i == 2"}))],
        _keys("w/0/a w/1/a w/2/a"),
    ),
    "sleep": Shape([step("a", sleep=static(0.3)), step("b")], _keys("a b")),
    "flow": Shape([A_FLOW, step("c")], _keys("s/a s/b c"), within=INNER),
    "loop_at_once": Shape(
        [loop("l", "[1, 2, 3]", step("a"), value={"parallel": True, "parallelism": static(2)}), step("b")],
        _keys("l/0/a l/1/a l/2/a b"),
    ),
    "nested_at_once": Shape(
        [loop("l", "[1, 2]", loop("m", "[1, 2]", step("a"), value=PARALLEL), value=PARALLEL), step("b")],
        _keys("l/0/m/0/a l/0/m/1/a l/1/m/0/a l/1/m/1/a b"),
    ),
    "flow_at_once": Shape(
        [loop("l", "[1, 2]", A_FLOW, value=PARALLEL)], _keys("l/0/s/a l/0/s/b l/1/s/a l/1/s/b"), within=INNER
    ),
    "skip": Shape(
        [loop("l", "[1, 2]", step("f"), value={"skip_failures": True}), step("b")],
        _keys("l/0/f l/1/f b"),
        handles_failures=True,
    ),
    "retry": Shape(
        [step("a"), step("f", retry=ONCE_MORE), step("never")],
        _keys("a f f~1 failure"),
        "failed",
        handles_failures=True,
        fields={"failure_module": step("failure")},
    ),
}


class Chaos:
    """Flows of all shapes, what dies, and what really ran according to the steps themselves."""

    def __init__(self, folder: Path, redis: ValkeyServer) -> None:
        self.redis = redis
        self.store = Store.connect(redis.url)
        self.tally = Tally(folder)
        self.random = random.Random(7)
        env = {"REDIS_URL": redis.url, **FAST}
        self.workers = [HeadraceProcess("worker", folder=folder, env=env) for _ in range(WORKERS)]
        lasts = f"time.sleep({STEP_S})\n"
        self._sources = {name: self.tally.source(name, f"{lasts}return given") for name in ("a", "b", "c", "failure")}
        self._sources["f"] = self.tally.source("f", f"{lasts}raise ValueError('no')")
        self.flows = {name: self._deploy(name, shape) for name, shape in SHAPES.items()}
        self.runs = {name: [f"q{1 + n % 2}-{name}-1-{n}" for n in range(FLOWS)] for name in SHAPES}
        self.kills = 0

    def _deploy(self, name: str, shape: Shape) -> Runnable:
        within = {
            step_id: deploy_flow(self.store, modules, self._sources, path=f"f/t/{name}_{step_id}")
            for step_id, modules in shape.within.items()
        }
        path = f"f/t/{name}"
        return deploy_flow(self.store, shape.modules, self._sources, path=path, flows=within, **shape.fields)

    @property
    def all_runs(self) -> list[str]:
        """Of all shapes."""
        return [run_id for runs in self.runs.values() for run_id in runs]

    def kill(self) -> None:
        """Again and again, evenly over the work however fast this machine is, whichever it is."""
        for worker in self.workers:
            worker.start()
        every = FLOWS * sum(len(shape.steps) for shape in SHAPES.values()) // (KILLS + REDIS_KILLS + 2)
        victims = [*[self._kill_worker, self._kill_runner] * (KILLS // 2), *[self._kill_redis] * REDIS_KILLS]
        self.random.shuffle(victims)
        for number, kill in enumerate(victims, 1):
            self._wait_for(number * every)
            time.sleep(self.random.uniform(0, 0.05))
            kill()

    def _wait_for(self, steps: int) -> None:
        eventually(lambda: len(self.tally.executed()) >= steps, 60, interval_s=0.1)

    def _kill_worker(self) -> None:
        victim = self.random.choice(self.workers)
        victim.kill9()
        victim.start()
        self.kills += 1

    def _kill_runner(self) -> None:
        runners = psutil.Process(self.random.choice(self.workers).pid).children(recursive=True)
        with suppress(psutil.NoSuchProcess):
            self.random.choice(runners).kill()
        self.kills += 1

    def _kill_redis(self) -> None:
        self.redis.kill9()
        self.redis.start()

    def settled(self) -> bool:
        """All flows have ended."""
        return set(states(self.store, *self.all_runs)) <= ENDED

    def executed(self) -> dict[str, Counter[str]]:
        """How often each step was executed, by run."""
        found: dict[str, Counter[str]] = {run_id[3:]: Counter() for run_id in self.all_runs}
        for key, times in self.tally.by_key().items():
            match = STEP_KEY.fullmatch(key)
            assert match, key
            found[match[1]][match[2]] += times
        return found


@pytest.fixture
def chaos(tmp_path: Path, own_valkey: ValkeyServer) -> Iterator[Chaos]:
    """Flows that are queued."""
    made = Chaos(tmp_path, own_valkey)
    for name, runs in made.runs.items():
        queue_flows(made.store, made.flows[name], *runs)
    yield made
    for worker in made.workers:
        worker.close()


@pytest.mark.timeout(500)
def test_flows_survive_the_death_of_anything(chaos: Chaos) -> None:
    """Redis and the steps' own notes tell the same story."""
    chaos.kill()
    eventually(chaos.settled, timeout_s=250, interval_s=0.5)

    executed = chaos.executed()
    ended = dict(zip(chaos.all_runs, states(chaos.store, *chaos.all_runs), strict=True))
    for name, runs in chaos.runs.items():
        for run_id in runs:
            check_run(run_id, SHAPES[name], ended[run_id], executed[run_id[3:]])
    assert Counter(ended.values())["interrupted"], "some deaths have hit a step at QoS 2"
    again = sum(times - 1 for run in executed.values() for times in run.values())
    assert 0 < again <= chaos.kills, "at QoS 1 a death repeats the step that it has hit, and none that was finished"
    check_books(chaos.store, ended)


def check_run(run_id: str, shape: Shape, state: str, executed: Counter[str]) -> None:
    """One flow. At QoS 1 all is executed, whatever died; at QoS 2 nothing twice, and all of it where it succeeded."""
    is_cut_off = run_id.startswith("q2") and (state == "interrupted" or shape.handles_failures)
    assert state == shape.state or is_cut_off, f"{run_id} {state}"
    assert executed.keys() <= shape.steps, f"{run_id}: {dict(executed)}"
    assert is_cut_off or executed.keys() == shape.steps, f"{run_id} {state}: {dict(executed)}"
    assert run_id.startswith("q1") or max(executed.values(), default=1) == 1, f"{run_id}: {dict(executed)}"


def check_books(store: Store, ended: Mapping[str, str]) -> None:
    """What Redis counts is what there is, and nothing is left over."""
    cells = counters(store)
    by_state = Counter(ended.values())
    assert cells["runs"] == len(ended)
    assert {state: cells.get(state, 0) for state in ENDED} == {state: by_state[state] for state in ENDED}
    assert claims_left(store) == store.command("ZCARD", keys.RQ_STARTED) == 0
    assert store.command("ZCARD", keys.RQ_SCHEDULED) == store.command("LLEN", keys.RQ_QUEUE) == 0
    assert differences(store) == []
