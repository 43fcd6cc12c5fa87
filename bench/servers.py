"""The servers beside which Headrace is measured: a Valkey and a Mosquitto of our own, on free ports of 127.0.0.1."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from shared.services.broker import find_mosquitto
from shared.services.redis_server import MALLOC, find_valkey

Aof = Literal["always", "none"]
"""`always`: every write is on the disk before it is answered. `none`: nothing is kept."""

HOST = "127.0.0.1"
READY_S = 20.0


class Unmeasurable(Exception):
    """Something that a measurement needs is missing on this machine, or did not do its part."""


def program(name: str) -> str:
    """The path of one of Mosquitto's programs. Raises Unmeasurable where it is not installed."""
    found = find_mosquitto() if name == "mosquitto" else shutil.which(name)
    if found is None:
        raise Unmeasurable(f"{name} is not installed")
    return found


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def valkey(folder: Path, aof: Aof) -> Iterator[tuple[str, int]]:
    """An empty server; (its URL, its process id)."""
    port = free_port()
    keep = ["--appendonly", "yes", "--appendfsync", "always"] if aof == "always" else ["--appendonly", "no"]
    argv = [find_valkey(), "--bind", HOST, "--port", str(port), "--dir", str(folder), "--save", "", *keep]
    argv += ["--maxmemory-policy", "noeviction", "--hash-max-listpack-value", "512"]  # as `headrace redis` has it
    with _serving(argv, port, folder / "log", MALLOC) as pid:
        yield f"redis://{HOST}:{port}/0", pid


@contextmanager
def mosquitto(folder: Path) -> Iterator[int]:
    """A broker with persistence that queues without limit, QoS 0 too, with 1000 messages in flight; its port."""
    port = free_port()
    settings = [
        f"listener {port} {HOST}",
        "allow_anonymous true",
        "persistence true",
        f"persistence_location {folder}/",
        "max_queued_messages 0",
        "max_inflight_messages 1000",
        "queue_qos0_messages true",
        "sys_interval 0",
        "set_tcp_nodelay true",
        "log_type error",
        *(["user root"] if os.geteuid() == 0 else []),
    ]
    file = folder / "mosquitto.conf"
    file.write_text("\n".join(settings) + "\n", encoding="utf-8")
    with _serving([program("mosquitto"), "-c", str(file)], port, folder / "log"):
        yield port


@contextmanager
def _serving(argv: Sequence[str], port: int, log: Path, environment: Mapping[str, str] = {}) -> Iterator[int]:
    env = {**os.environ, **environment}
    with log.open("wb") as output, subprocess.Popen(argv, stdout=output, stderr=output, env=env) as server:
        try:
            _wait_for_port(server, port, log)
            yield server.pid
        finally:
            server.kill()  # what it holds is thrown away


def _wait_for_port(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + READY_S
    while time.monotonic() < until and server.poll() is None:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    said = log.read_text(errors="replace").splitlines()
    raise Unmeasurable(f"{server.args!r} does not serve port {port}: {said[-1] if said else 'it says nothing'}")
