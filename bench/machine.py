"""The machine that figures were measured on, without its name."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

import psutil

from bench.servers import Unmeasurable, program
from shared.services.redis_server import find_valkey

FSYNCS = 200


def describe() -> str:
    """Cores, memory, kernel, what a write to the disk costs, and the versions of all that takes part."""
    memory = f"{psutil.virtual_memory().total / 2**30:.0f} GiB"
    system = f"{platform.system()} {platform.release()}"
    libraries = f"redis-py {version('redis')}, RQ {version('rq')}"
    return (
        f"machine: {os.cpu_count()} cores ({_processor()}), {memory}, {system}\n"
        f"disk: {_fsync_ms():.2f} ms for 4 KiB and fdatasync in {tempfile.gettempdir()} (median of {FSYNCS})\n"
        f"software: Python {platform.python_version()}, {_valkey()}, {_mosquitto()}, {libraries}"
    )


def busy_percent() -> float:
    """How busy all cores together are while nothing of ours runs, over one second."""
    return psutil.cpu_percent(interval=1.0)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _fsync_ms() -> float:
    took: list[float] = []
    with tempfile.TemporaryFile(buffering=0) as file:
        for _ in range(FSYNCS):
            begun = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - begun) * 1000)
    return median(took)


def _valkey() -> str:
    said = subprocess.run([find_valkey(), "--version"], capture_output=True, text=True, check=True).stdout
    return "Valkey " + next((word[2:] for word in said.split() if word.startswith("v=")), "of unknown version")


def _mosquitto() -> str:
    try:
        said = subprocess.run([program("mosquitto"), "-h"], capture_output=True, text=True, check=False).stdout
    except Unmeasurable:
        return "no Mosquitto"
    return "Mosquitto " + (said.split("\n", 1)[0].rpartition(" ")[2] or "of unknown version")
