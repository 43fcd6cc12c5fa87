"""Processes that a test starts, signals and kills; none of them outlives the test run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from shared.services.child import die_with_parent
from tests.support.eventually import eventually

ROOT = Path(__file__).resolve().parent.parent.parent
_PACKAGES = {"ingest", "dispatch", "worker", "console"}
_COMMAND = "import sys; from shared.cli import main; sys.exit(main())"


class Child:
    """A process whose output goes to a file.

    It is killed when the thread that started it ends, so start it from the test's own thread.
    """

    def __init__(self, argv: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None, cwd: Path) -> None:
        self.argv = list(argv)
        self.log = log
        self._env = None if env is None else dict(env)
        self._cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it, or start it again once it has ended. What it writes is appended to the log."""
        if self.running:
            raise RuntimeError(f"{self} runs already")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                cwd=self._cwd,
                process_group=0,
                preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - two system calls, nothing that locks
            )
        return self

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that was started last."""
        if self._process is None:
            raise RuntimeError(f"{self} was never started")
        return self._process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def output(self) -> str:
        """All that it has written so far, over all its lives."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def send(self, signum: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(signum)

    def wait(self, timeout_s: float = 20) -> int:
        """Its exit status, negative for the signal that ended it.

        Raises AssertionError with its output if it goes on.
        """
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{self} goes on after {timeout_s:g} s:\n{self.output}") from error

    def sigterm(self, timeout_s: float = 20) -> int:
        """Ask it to end; gives its exit status."""
        self.send(signal.SIGTERM)
        return self.wait(timeout_s)

    def kill9(self) -> None:
        """Kill it at once, in the state that it is in; returns when it is gone."""
        self.process.kill()
        self.wait()

    def sigstop(self) -> None:
        """Freeze it: its connections stay open and nothing answers."""
        self.send(signal.SIGSTOP)

    def sigcont(self) -> None:
        """Let it go on after `sigstop`."""
        self.send(signal.SIGCONT)

    def close(self) -> None:
        """Kill it if it still runs."""
        if self.running:
            self.kill9()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __str__(self) -> str:
        return " ".join(self.argv)


class HeadraceProcess(Child):
    """One of our processes, by its name: `python -m ingest`, or `headrace redis` for what is no package.

    `folder` is where it runs, keeps its data (unless HEADRACE_DATA says otherwise) and where its output goes.
    """

    def __init__(self, name: str, *args: str, folder: Path, env: Mapping[str, str] | None = None) -> None:
        start = ["-m", name] if name in _PACKAGES else ["-c", _COMMAND, name]
        self.name = name
        super().__init__(
            [sys.executable, *start, *args],
            folder / f"{name}-{id(self):x}.log",
            env=headrace_env(env or {}),
            cwd=folder,
        )

    def wait_ready(self, timeout_s: float = 20) -> Self:
        """Wait for the ready line of its present life. Raises AssertionError with its output."""
        wanted = f"headrace {self.name} ready"
        eventually(lambda: not self.running or wanted in self.output[self._lives :], timeout_s)
        if wanted not in self.output[self._lives :]:
            raise AssertionError(f"{self.name} ended with status {self.wait()}:\n{self.output}")
        return self

    def start(self) -> Self:
        """Start it, or start it again once it has ended."""
        self._lives = len(self.output)
        return super().start()


def headrace_env(wanted: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process of ours: nothing that configures Headrace but what is wanted."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    plain.pop("REDIS_URL", None)
    return plain | {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"} | dict(wanted)
