"""A terminal: one shell that keeps its folder, its functions and its background processes from line to line."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from shared.services.child import die_with_parent
from tests.support.eventually import eventually


class Typed(msgspec.Struct, frozen=True):
    """What a line came to; `output` holds stdout and stderr."""

    status: int
    output: str


class Terminal:
    """Bash. All that it started is killed at the end."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._folder = folder
        self._said = folder / "terminal"
        self._shell = subprocess.Popen(
            ["bash", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=dict(env),
            text=True,
            process_group=0,
            preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - two system calls, nothing that locks
        )

    def enter(self, line: str, timeout_s: float = 60) -> Typed:
        """Enter it and wait for the prompt."""
        said, status = self._said.with_suffix(".out"), self._said.with_suffix(".status")
        status.unlink(missing_ok=True)
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"{{ {line}\n}} >{said} 2>&1; echo $? >{status}.new; mv {status}.new {status}\n")
        self._shell.stdin.flush()
        eventually(status.exists, timeout_s)
        return Typed(int(status.read_text()), said.read_text(errors="replace"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.communicate()


def lines_of(text: str) -> Iterator[str]:
    """The lines of a block of commands, those of one compound command together."""
    pending = ""
    for line in text.splitlines(keepends=True):
        pending += line
        if subprocess.run(["bash", "-n", "-c", pending], capture_output=True, check=False).returncode == 0:
            if pending.strip():
                yield pending.strip()
            pending = ""
    if pending:
        raise ValueError(f"not a whole command: {pending}")
