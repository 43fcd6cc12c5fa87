"""The whole pipeline as processes: started, killed and asked from outside, as an operator would."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from tests.support.eventually import eventually
from tests.support.processes import HeadraceProcess, headrace_env

FAST = {
    "HEADRACE_INGEST__LEASE_TTL_MS": "1500",
    "HEADRACE_WORKER__LEASE_TTL_MS": "1500",
    "HEADRACE_DISPATCH__CLAIM_IDLE_MS": "1000",
    "HEADRACE_INGEST__RECONNECT_MAX_S": "1",
}
"""Short leases, so that a test of take-over takes seconds."""

COMMAND = [sys.executable, "-c", "import sys; from shared.cli import main; sys.exit(main())"]
COMMAND_TIMEOUT_S = 60


class Pipeline:
    """Processes of one Headrace. A label is `ingest`, `worker-2` and so on: the part before the dash is the package."""

    def __init__(self, folder: Path, redis_url: str, *, asked_at: str = "", **env: str) -> None:
        """`asked_at`: where commands reach Redis, if not where the processes do."""
        self.folder = folder
        self._asked_at = asked_at or redis_url
        self.env = FAST | {"REDIS_URL": redis_url, "HEADRACE_DATA": str(folder / "data")} | env
        self.processes: dict[str, HeadraceProcess] = {}

    def start(self, *labels: str) -> None:
        """Start these processes, or start them again; returns at once."""
        for label in labels:
            if label not in self.processes:
                package = label.partition("-")[0]
                self.processes[label] = HeadraceProcess(package, folder=self.folder, env=self.env)
            self.processes[label].start()

    def kill(self, label: str) -> None:
        """Kill -9, and wait until it is gone."""
        self.processes[label].kill9()

    def restart_dead(self) -> None:
        """Start what has ended, as a process manager would."""
        for process in self.processes.values():
            if not process.running:
                process.start()

    def runners(self) -> list[psutil.Process]:
        """The child interpreters of all workers."""
        found = []
        for process in self.processes.values():
            if process.name == "worker" and process.running:
                try:
                    found += psutil.Process(process.pid).children()
                except psutil.NoSuchProcess:
                    continue
        return found

    def headrace(self, *arguments: str, expect: int = 0) -> str:
        """Run a command; what it printed. The exit status has to be as expected."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=headrace_env(self.env | {"REDIS_URL": self._asked_at}),
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        if done.returncode != expect:
            said = f"{done.stdout}\n{done.stderr}"
            raise AssertionError(f"headrace {' '.join(arguments)} ended with status {done.returncode}:\n{said}")
        return done.stdout

    def push(self, workspace: Path) -> None:
        """Deploy a workspace."""
        self.headrace("push", str(workspace), "--yes")

    def status(self) -> dict[str, Any]:
        """`headrace status --json`."""
        status: dict[str, Any] = json.loads(self.headrace("status", "--json"))
        return status

    def runs(self, *options: str, limit: int = 1_000_000) -> list[dict[str, Any]]:
        """`headrace runs --json`, newest first, with those that runs have started."""
        text = self.headrace("runs", "--json", "--steps", "--limit", str(limit), *options)
        return [json.loads(line) for line in text.splitlines()]

    def wait_connected(self, *triggers: str, timeout_s: float = 30) -> None:
        """Until these triggers' sessions are connected."""
        eventually(lambda: set(triggers) <= self.connected(), timeout_s, interval_s=0.2)

    def connected(self) -> set[str]:
        """Triggers whose session is connected."""
        return {session["trigger"] for session in self.status()["sessions"] if session["state"] == "connected"}

    def close(self) -> None:
        """End everything that still runs."""
        for process in self.processes.values():
            process.close()
