"""What a step of a flow costs that is kept in Redis before the next begins; how busy a parallel loop keeps workers.

Forty steps one after the other execute a function that does nothing: from the recorded start of the run to its recorded
end, by the number of steps. A thousand iterations of a loop sleep for 20 ms each, in two workers.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from statistics import median

import msgspec

from bench.lab import Lab
from bench.servers import Aof, valkey
from bench.system import System
from bench.table import Missing, Row, Target
from shared import keys
from shared.clock import iso_utc
from shared.create_runs import make_run
from shared.deploy import Options, push, read_now
from shared.scripts.operate import create_runs
from shared.workspace import read_workspace

STEPS = 40
FLOWS = 30
"""Runs of which the median is taken, after as many that warm up."""
STEP_TARGET = Target(of_ratio=False, limit=1.0, at_most=True)
ITEMS = 1000
ITEM_S = 0.02
WORKERS = 2
BUSY_TARGET = Target(of_ratio=False, limit=80.0)
FLOW = "f/bench/steps"

_NO_OP = "def main(x=None):\n    return x\n"
_SLEEP = f"import time\n\ndef main(x=None):\n    time.sleep({ITEM_S})\n"


def measure(lab: Lab) -> list[Row | Missing]:
    """The cost of a step, with AOF and beside it without; the parallel loop."""
    what = f"flow of {STEPS} steps, each kept"
    loop = f"parallel loop of {ITEMS:,} × {ITEM_S * 1000:g} ms, {WORKERS} workers"

    def steps() -> Sequence[Row]:
        values, beside = lab.each_round(what, partial(_step_ms, lab, "always"), partial(_step_ms, lab, "none"))
        return [Row(what, "ms a step", values, "without AOF", beside, STEP_TARGET)]

    def parallel() -> Sequence[Row]:
        values, beside = lab.each_round(
            loop, partial(_busy_percent, lab, "always"), partial(_busy_percent, lab, "none")
        )
        return [Row(loop, "% busy", values, "without AOF", beside, BUSY_TARGET)]

    return [*lab.rows(what, steps), *lab.rows(loop, parallel)]


def _step_ms(lab: Lab, aof: Aof) -> float:
    modules = [_step(f"s{number}") for number in range(STEPS)]
    with valkey(lab.folder(), aof) as (url, _):
        system = System(url, lab.folder())
        version = _deploy(system, modules, _NO_OP)
        with system.process("worker"):
            times = [_duration_s(system, version) for _ in range(2 * FLOWS)]
    return median(times[FLOWS:]) * 1000 / STEPS


def _busy_percent(lab: Lab, aof: Aof) -> float:
    items = {"type": "javascript", "expr": f"Array.from({{length: {ITEMS}}}, (_, i) => i)"}
    loop = {"type": "forloopflow", "iterator": items, "skip_failures": False, "parallel": True, "modules": [_step("a")]}
    with valkey(lab.folder(), aof) as (url, _):
        system = System(url, lab.folder())
        version = _deploy(system, [{"id": "l", "value": loop}], _SLEEP)
        with contextlib.ExitStack() as stack:
            for _ in range(WORKERS):
                stack.enter_context(System(url, lab.folder()).process("worker"))
            _duration_s(system, version)
            took_s = _duration_s(system, version)
    return ITEMS * ITEM_S / WORKERS / took_s * 100


def _step(step_id: str) -> dict[str, object]:
    transforms = {"x": {"type": "javascript", "expr": "flow_input.x"}}
    return {"id": step_id, "value": {"type": "script", "path": "f/bench/script", "input_transforms": transforms}}


def _deploy(system: System, modules: Sequence[object], script: str) -> str:
    """The version of a flow of these steps, which execute this script."""
    folder = system.folder / "workspace" / FLOW
    folder.with_suffix(".flow").mkdir(parents=True)
    folder.with_name("script.py").write_text(script, encoding="utf-8")
    flow = {"summary": "", "value": {"modules": modules}}
    (folder.with_suffix(".flow") / "flow.yaml").write_bytes(msgspec.yaml.encode(flow))
    push(system.store, read_workspace(system.folder / "workspace"), Options(default_timeout_s=60), lambda _: True)
    return read_now(system.store).of_kind("flow")[FLOW]


def _duration_s(system: System, version: str) -> float:
    """One run: from its recorded start to its recorded end."""
    run = make_run(FLOW, version, 60, b'{"x": 1}', "api", is_flow=True)
    now_ns = time.time_ns()
    system.store.run(create_runs([run], iso_utc(now_ns), now_ns // 1000))
    job = keys.job(run.id)
    system.wait_until(lambda: system.store.command("HGET", job, "state") == b"succeeded", "a run of the flow")
    queued, started, ended = system.store.command("HMGET", job, "enqueued_at", "started_at", "ended_at")
    begun = started if int(system.store.command("ZCARD", keys.children(run.id))) == 0 else queued
    return (datetime.fromisoformat(ended.decode()) - datetime.fromisoformat(begun.decode())).total_seconds()
