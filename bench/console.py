"""How long a page of the console takes with 100 000 runs kept, and what the console uses while nobody looks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from statistics import median

import httpx

from bench.lab import Lab
from bench.load import admit
from bench.processes import Processes
from bench.servers import HOST, valkey
from bench.system import TRIGGER, System
from bench.table import Missing, Row, Target
from shared import tokens
from tests.support.ports import free_port

RUNS = 100_000
ASKED = 20
IDLE_S = 20
PAGES = {
    "runs": ("/runs", Target(of_ratio=False, limit=100, at_most=True)),
    "runs of a trigger": (f"/runs?trigger={TRIGGER}", Target(of_ratio=False, limit=100, at_most=True)),
    "runs that failed, of which there are none": ("/runs?state=failed", None),
    "overview": ("/", None),
    "triggers": ("/triggers", None),
}
BUSY = Target(of_ratio=False, limit=1, at_most=True)
MEMORY = Target(of_ratio=False, limit=120, at_most=True)


def measure(lab: Lab) -> Sequence[Row | Missing]:
    """Pages, then idling."""
    return lab.rows("console", partial(_asked, lab))


def _asked(lab: Lab) -> list[Row]:
    lab.say(f"console: making {RUNS} runs")
    with valkey(lab.folder(), "none") as (url, _):
        system = System(url, lab.folder())
        system.deploy(1, 1)
        admit(system, RUNS, 1)
        with system.process("dispatch"), system.process("worker"):
            system.wait_until(lambda: system.cell("succeeded") >= RUNS, f"{RUNS} recorded runs", 300)
        port = free_port()
        with system.process("console", HEADRACE_CONSOLE__PORT=str(port)) as pid:
            client = _browser(system, port)
            rows = [
                Row(f"page: {name}, {RUNS} runs kept", "ms", _times_ms(client, path), target=target)
                for name, (path, target) in PAGES.items()
            ]
            lab.say(f"console: idle, {IDLE_S} s")
            time.sleep(2)
            used = Processes({"console": pid})
            rows.append(
                Row(
                    f"idle console, over {IDLE_S} s",
                    "% of a core",
                    list(used.busy_percent(IDLE_S).values()),
                    target=BUSY,
                )
            )
            rows.append(Row("console, memory", "MiB", list(used.memory().values()), target=MEMORY))
            client.close()
        return rows


def _browser(system: System, port: int) -> httpx.Client:
    """Somebody who is logged in."""
    new = tokens.make_token("bench", "admin", "bench", time.time_ns() // 1_000_000, None)
    tokens.create(system.store, new)
    client = httpx.Client(base_url=f"http://{HOST}:{port}", timeout=30)
    system.wait_until(lambda: _answers(client), "the console")
    client.post("/login", data={"token": new.text, "next": "/"})
    return client


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/login").is_success
    except httpx.TransportError:
        return False


def _times_ms(client: httpx.Client, path: str) -> list[float]:
    """Until the whole page is there."""
    times = []
    for _ in range(ASKED + 1):
        begun = time.perf_counter()
        answer = client.get(path)
        times.append((time.perf_counter() - begun) * 1000)
        answer.raise_for_status()
    return [median(times[1:])]
