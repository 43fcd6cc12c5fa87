"""paho-mqtt and Celery on the same broker and an equal Redis: how many messages a second become recorded tasks."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis
from uv import find_uv_bin

from bench.lab import Lab
from bench.load import publish
from bench.servers import Aof, Unmeasurable, valkey
from bench.system import TOPIC

COUNT = 2_000
WORKERS = 2
READY_S = 60.0
DONE_S = 120.0
PACKAGES = ("celery[redis]==5.7.*", "paho-mqtt>=2.2,<3")
_HERE = Path(__file__).parent


class CeleryBridge:
    """An environment with Celery, made at its first use. Raises Unmeasurable where it cannot be installed."""

    def __init__(self, lab: Lab, broker_port: int) -> None:
        self._lab = lab
        self._port = broker_port
        self._bin: Path | None = None

    def rate(self, aof: Aof) -> float:
        """Messages published at full speed at QoS 1, until the result of the last task is in Redis; a second."""
        programs = self._bin = self._bin or self._install()
        with ExitStack() as stack:
            url, _ = stack.enter_context(valkey(self._lab.folder(), aof))
            client = stack.enter_context(redis.Redis.from_url(url))
            folder = self._lab.folder()
            shutil.copy(_HERE / "celery_bridge.py", folder)
            environment = {**os.environ, "REDIS_URL": url}
            worker = ["celery", "-A", "celery_bridge", "worker", "-P", "prefork", "-c", str(WORKERS), "-l", "ERROR"]
            bridge = ["python", "celery_bridge.py", str(self._port), TOPIC]
            for program, *arguments in (worker, bridge):
                argv = [str(programs / program), *arguments]
                stack.enter_context(_running(argv, folder, environment))
            _wait(lambda: b"subscribed" in (folder / "python.log").read_bytes(), READY_S, "the bridge")
            publish(self._port, 1, 1)
            _wait(lambda: _results(client) == 1, READY_S, "the first task")
            begun = time.monotonic()
            publish(self._port, COUNT, 1)
            _wait(lambda: _results(client) > COUNT, DONE_S, f"{COUNT} results")
            return COUNT / (time.monotonic() - begun)

    def _install(self) -> Path:
        folder = self._lab.folder()
        uv = os.fspath(find_uv_bin())
        commands = (
            [uv, "venv", "-q", str(folder)],
            [uv, "pip", "install", "-q", "--python", str(folder / "bin/python"), *PACKAGES],
        )
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise Unmeasurable(f"Celery cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
        return folder / "bin"


@contextmanager
def _running(argv: list[str], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    with (folder / f"{Path(argv[0]).name}.log").open("wb") as log, subprocess.Popen(
        argv, cwd=folder, env=environment, stdout=log, stderr=log
    ) as process:  # fmt: skip
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _results(client: redis.Redis) -> int:
    """Each result is a key; everything else of Celery's are a few."""
    return sum(1 for _ in client.scan_iter(match="celery-task-meta-*", count=10_000))


def _wait(reached: Callable[[], bool], within_s: float, what: str) -> None:
    until = time.monotonic() + within_s
    while not reached():
        if time.monotonic() > until:
            raise Unmeasurable(f"{what}: not within {within_s:g} s")
        time.sleep(0.05)
