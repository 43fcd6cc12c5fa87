"""How long the console takes to answer with a page of runs, of a long history; and what it uses when nobody asks."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence
from functools import partial
from urllib.request import Request, urlopen

import msgspec

from bench.lab import Lab
from bench.processes import Processes
from bench.servers import HOST, READY_S, Unmeasurable, free_port, valkey
from bench.system import System
from bench.table import Missing, Row, Target
from shared import tokens
from shared.clock import iso_utc
from shared.create_runs import make_run
from shared.scripts import worker
from shared.scripts.operate import create_runs
from shared.store import Store

WORKER = "bench"
LIMITS = worker.Limits(max_crashes=3, dead_max=1000)
ERROR = '{"name": "ValueError", "message": "a tank cannot hold -5 litres", "stack": ""}'
RESULT = base64.b64encode(msgspec.msgpack.encode({"t": 21.5})).decode()
RUNS = 100_000
AT_ONCE = 500
ASKED = 20
SECONDS = 15
BADLY = 20
"""The oldest ones have failed."""
PAGES = {
    "the page of runs": "/runs",
    "runs by state": "/runs?state=succeeded&since=1h",
    f"the {BADLY} that failed, the oldest of all": "/runs?state=failed",
    f"the same {BADLY} by their error": "/runs?error=tank",
    "runs by a script that has none": "/runs?runnable=f/b/none",
    "the overview": "/",
}
PAGE_TARGET = Target(of_ratio=False, limit=100, at_most=True)
BUSY_TARGET = Target(of_ratio=False, limit=1, at_most=True)
MEMORY_TARGET = Target(of_ratio=False, limit=120, at_most=True)


def measure(lab: Lab) -> Sequence[Row | Missing]:
    """The page of runs, then rest."""
    return lab.rows("console", partial(_console, lab))


def _console(lab: Lab) -> list[Row]:
    lab.say(f"console, {RUNS:,} runs")
    with valkey(lab.folder(), "none") as (url, _):
        store = Store.connect(url)
        store.run(worker.beat(WORKER, 3_600_000))
        for portion in range(RUNS // AT_ONCE):
            now_ns = time.time_ns()
            made = [make_run("f/b/x", "0" * 16, 60, b'{"payload": "eyJ0IjoyMS41fQ=="}', "api") for _ in range(AT_ONCE)]
            store.run(create_runs(made, iso_utc(now_ns), now_ns // 1000))
            _end(store, 0 if portion else BADLY, iso_utc(now_ns), now_ns // 1_000_000)
        token = tokens.make_token("bench", "read", "bench", time.time_ns() // 1_000_000, None)
        tokens.create(store, token)
        store.close()
        port = free_port()
        with System(url, lab.folder()).process("console", HEADRACE_CONSOLE__PORT=str(port)) as pid:
            return _rows(f"http://{HOST}:{port}", token.text, pid)


def _end(store: Store, badly: int, now_iso: str, now_ms: int) -> None:
    """As a worker ends runs: the first ones badly."""
    claims = store.run(worker.claim(WORKER, f"{WORKER}-{now_ms}", AT_ONCE, AT_ONCE * 1024)).claims
    store.run(worker.start(WORKER, now_iso, claims))
    endings = [
        worker.Ending(each.run_id, each.execution, "failed", error=ERROR)
        if number < badly
        else worker.Ending(each.run_id, each.execution, "succeeded", result=RESULT)
        for number, each in enumerate(claims)
    ]
    if len(store.run(worker.finish(WORKER, now_iso, now_ms, LIMITS, 1.0, endings))) != AT_ONCE:
        raise Unmeasurable(f"not all of {AT_ONCE} runs were claimed")


def _rows(root: str, token: str, pid: int) -> list[Row]:
    address = f"{root}/api/w/headrace/headrace"
    _until_ready(address)
    took: dict[str, list[float]] = {"": [], "&state=succeeded&since=1h": []}
    for _ in range(ASKED):
        for query, values in took.items():
            begun = time.perf_counter()
            page = json.loads(_get(f"{address}/runs?limit=50{query}", token))
            values.append((time.perf_counter() - begun) * 1000)
            if len(page["runs"]) != 50:
                raise Unmeasurable(f"a page held {len(page['runs'])} runs")
    plain, filtered = took.values()
    processes = Processes({"console": pid})
    fresh = processes.memory()["console"]
    seen = {name: _times_ms(root + path, token) for name, path in PAGES.items()}
    busy = processes.busy_percent(SECONDS)["console"]
    return [
        Row(f"console, a page of 50 of {RUNS:,} runs", "ms", plain, target=PAGE_TARGET),
        Row("console, the same by state and time", "ms", filtered, target=PAGE_TARGET),
        *(Row(f"console, {name} as HTML", "ms", values, target=PAGE_TARGET) for name, values in seen.items()),
        Row(f"idle console, over {SECONDS} s", "% of a core", [busy], target=BUSY_TARGET),
        Row("idle console, memory", "MiB", [fresh], target=MEMORY_TARGET),
        Row("the same after it was used", "MiB", [processes.memory()["console"]], target=MEMORY_TARGET),
    ]


def _times_ms(url: str, token: str) -> list[float]:
    """Until the whole page is there."""
    times = []
    for _ in range(ASKED):
        begun = time.perf_counter()
        _get(url, token)
        times.append((time.perf_counter() - begun) * 1000)
    return times


def _until_ready(address: str) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        try:
            _get(f"{address}/openapi.json", "")
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise Unmeasurable(f"the console did not answer within {READY_S:g} s")


def _get(url: str, token: str) -> bytes:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urlopen(Request(url, headers=headers), timeout=READY_S) as answer:  # noqa: S310 - the address is ours
        body: bytes = answer.read()
        return body
