"""Asks bash whether it can read the scripts that are about to be deployed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from shared.definitions import Script
from shared.workspace.problems import Problems

AT_ONCE = 4
TIMEOUT_S = 10.0
_FAULT = re.compile(r"bash: line (\d+): (.+)")


def check_shell(scripts: Iterable[Script]) -> None:
    """Nothing is executed. Raises WorkspaceError that tells the first mistake of each; without a bash on this machine
    there is none to be told.
    """
    bash, shell = shutil.which("bash"), [script for script in scripts if script.language == "bash"]
    if bash is None or not shell:
        return
    problems = Problems()
    with ThreadPoolExecutor(min(AT_ONCE, len(shell))) as pool:
        faults = pool.map(lambda script: _fault(bash, script.modules[script.entry]), shell)
        for script, fault in zip(shell, faults, strict=True):
            if fault is not None:
                problems.error(script.entry, *fault)
    problems.check("bash scripts")


def _fault(bash: str, text: str) -> tuple[int, str, str] | None:
    """Line, no key, and what bash says of it; None for a script that it can read."""
    environment = {"LC_ALL": "C"}
    try:
        done = subprocess.run(  # noqa: S603 - with -n, bash reads and executes nothing
            [bash, "-n"], input=text, capture_output=True, text=True, errors="replace", env=environment,
            timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):  # the worker's bash will tell
        return None
    if done.returncode == 0:
        return None
    match = _FAULT.search(done.stderr)
    return (int(match[1]), "", match[2]) if match else (0, "", "bash cannot read it")
