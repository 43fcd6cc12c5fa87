"""How long the console takes to answer with a page of runs, of a long history; and what it uses when nobody asks."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from functools import partial
from urllib.request import Request, urlopen

from bench.lab import Lab
from bench.processes import Processes
from bench.servers import HOST, READY_S, Unmeasurable, free_port, valkey
from bench.system import System
from bench.table import Missing, Row, Target
from shared import tokens
from shared.clock import iso_utc
from shared.create_runs import make_run
from shared.scripts.operate import create_runs
from shared.store import Store

RUNS = 100_000
AT_ONCE = 500
ASKED = 20
SECONDS = 15
PAGES = {"the page of runs": "/runs", "runs by state": "/runs?state=queued&since=1h", "the overview": "/"}
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
        for _ in range(RUNS // AT_ONCE):
            now_ns = time.time_ns()
            made = [make_run("f/b/x", "0" * 16, 60, b'{"payload": "eyJ0IjoyMS41fQ=="}', "api") for _ in range(AT_ONCE)]
            store.run(create_runs(made, iso_utc(now_ns), now_ns // 1000))
        token = tokens.make_token("bench", "read", "bench", time.time_ns() // 1_000_000, None)
        tokens.create(store, token)
        store.close()
        port = free_port()
        with System(url, lab.folder()).process("console", HEADRACE_CONSOLE__PORT=str(port)) as pid:
            return _rows(f"http://{HOST}:{port}", token.text, pid)


def _rows(root: str, token: str, pid: int) -> list[Row]:
    address = f"{root}/api/w/headrace/headrace"
    _until_ready(address)
    took: dict[str, list[float]] = {"": [], "&state=queued&since=1h": []}
    for _ in range(ASKED):
        for query, values in took.items():
            begun = time.perf_counter()
            page = json.loads(_get(f"{address}/runs?limit=50{query}", token))
            values.append((time.perf_counter() - begun) * 1000)
            if len(page["runs"]) != 50:
                raise Unmeasurable(f"a page held {len(page['runs'])} runs")
    plain, filtered = took.values()
    seen = {name: _times_ms(root + path, token) for name, path in PAGES.items()}
    processes = Processes({"console": pid})
    busy = processes.busy_percent(SECONDS)["console"]
    return [
        Row(f"console, a page of 50 of {RUNS:,} runs", "ms", plain, target=PAGE_TARGET),
        Row("console, the same by state and time", "ms", filtered, target=PAGE_TARGET),
        *(Row(f"console, {name} as HTML", "ms", values, target=PAGE_TARGET) for name, values in seen.items()),
        Row(f"idle console, over {SECONDS} s", "% of a core", [busy], target=BUSY_TARGET),
        Row("idle console, memory", "MiB", [processes.memory()["console"]], target=MEMORY_TARGET),
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
