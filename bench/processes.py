"""What processes use: memory and processor time, each with its children."""

from __future__ import annotations

import time
from collections.abc import Mapping

import psutil

MIB = 1 << 20


class Processes:
    """Processes by name. The children of the worker, which are its runners, are shown on their own."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids

    def memory(self) -> dict[str, float]:
        """Resident memory in MiB by name."""
        return {name: process.memory_info().rss / MIB for name, process in self._all().items()}

    def busy_percent(self, seconds: float) -> dict[str, float]:
        """Share of one core that each uses over the next seconds."""
        processes = self._all()
        before = {name: sum(process.cpu_times()[:2]) for name, process in processes.items()}
        begun = time.monotonic()
        time.sleep(seconds)
        spent_s = time.monotonic() - begun
        return {
            name: (sum(process.cpu_times()[:2]) - before[name]) / spent_s * 100 for name, process in processes.items()
        }

    def _all(self) -> dict[str, psutil.Process]:
        found = {name: psutil.Process(pid) for name, pid in self._pids.items()}
        runners = found["worker"].children(recursive=True) if "worker" in found else []
        return found | {f"runner {number}": runner for number, runner in enumerate(runners, 1)}
