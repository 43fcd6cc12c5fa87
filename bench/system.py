"""Headrace under measurement: a workspace deployed into a Redis, its processes, and what its counters say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.servers import HOST, Unmeasurable
from shared import keys
from shared.definitions import Trigger
from shared.deploy import Options, push, read_current
from shared.store import Store
from shared.workspace import read_workspace

TRIGGER = "f/bench/trigger"
TOPIC = "bench/messages"
NO_OP = "def main(payload: bytes):\n    pass\n"
STOP_S = 20.0
POLL_S = 0.005
_ROOT = Path(__file__).parents[1]


class System:
    """One installation: its Redis, its folder, and the trigger that everything goes through."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.store = Store.connect(url)
        self.trigger: Trigger
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def deploy(self, broker_port: int, qos: int, script: str = NO_OP) -> None:
        """Deploy one trigger that subscribes at this QoS and runs this script."""
        files = self.folder / "workspace" / "f" / "bench"
        files.mkdir(parents=True, exist_ok=True)
        (files / "broker.resource.yaml").write_text(
            f"resource_type: mqtt\nvalue:\n  broker: {HOST}\n  port: {broker_port}\n", encoding="utf-8"
        )
        (files / "script.py").write_text(script, encoding="utf-8")
        (files / "trigger.mqtt_trigger.yaml").write_text(
            f"script_path: f/bench/script\nis_flow: false\nmqtt_resource_path: f/bench/broker\nclient_version: v5\n"
            f"v5_config:\n  session_expiry_interval: 3600\nsubscribe_topics:\n  - topic: {TOPIC}\n    qos: qos{qos}\n",
            encoding="utf-8",
        )
        push(self.store, read_workspace(self.folder / "workspace"), Options(default_timeout_s=60), lambda _: True)
        self.trigger = read_current(self.store, create_id=False).triggers[TRIGGER]

    def cell(self, name: str) -> int:
        """A cell of the trigger's counters."""
        return int(self.store.command("HGET", keys.counters(TRIGGER), name) or 0)

    def session(self, field: str) -> int:
        """A number in the record of the trigger's session."""
        return int(self.store.command("HGET", keys.session(self.trigger.session), field) or 0)

    def is_subscribed(self) -> bool:
        """Whether the broker has granted the subscription."""
        return bool(self.store.command("HEXISTS", keys.session(self.trigger.session), "subscriptions"))

    @contextmanager
    def process(self, name: str, *, may_end: bool = False, **settings: str) -> Iterator[int]:
        """`headrace <name>` until the end of the block, stopped by SIGTERM; its process id.

        `worker-2` is another worker. `may_end`: it is no failure if it ends by itself.
        """
        log = self.folder / f"{name}.log"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("HEADRACE_")}
        environment |= {"REDIS_URL": self.url, "HEADRACE_DATA": str(self.folder / "data"), **settings}
        with log.open("ab") as output, subprocess.Popen(
            [sys.executable, "-m", name.partition("-")[0]], cwd=_ROOT, env=environment, stderr=output
        ) as process:  # fmt: skip
            if not may_end:
                self._running[name] = process
            try:
                yield process.pid
            finally:
                self._running.pop(name, None)
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(STOP_S)
                except subprocess.TimeoutExpired:
                    process.kill()

    def wait_until(self, reached: Callable[[], bool], what: str, timeout_s: float = 60.0) -> float:
        """Poll until it is so; the moment (monotonic seconds).

        Raises Unmeasurable when the time is over or a process has ended by itself.
        """
        until = time.monotonic() + timeout_s
        while not reached():
            self._check_processes()
            if time.monotonic() > until:
                raise Unmeasurable(f"{what}: not within {timeout_s:g} s")
            time.sleep(POLL_S)
        return time.monotonic()

    def rate_until(self, count: Callable[[], int], target: int, what: str) -> float:
        """Events per second from the first one seen until `target` of them, so that starting up does not count."""
        self.wait_until(lambda: count() > 0, f"the first of {target} {what}")
        first, begun = count(), time.monotonic()
        if first >= target:
            raise Unmeasurable(f"{target} {what} were over before they could be measured: take more")
        return (target - first) / (self.wait_until(lambda: count() >= target, f"{target} {what}") - begun)

    def _check_processes(self) -> None:
        for name, process in self._running.items():
            if process.poll() is not None:
                said = (self.folder / f"{name}.log").read_text(errors="replace").splitlines()
                raise Unmeasurable(f"{name} ended by itself: {said[-1] if said else process.returncode}")
