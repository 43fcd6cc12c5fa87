"""uv, the program that resolves and installs packages: the one door to it.

It reads the user's own settings (uv.toml, UV_*, proxies, certificates) as it would in a terminal. Building a package
executes what its author wrote: none of Headrace's own variables is handed on.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from uv import find_uv_bin

from shared.errors import HeadraceError
from shared.services.child import die_with_parent

TIMEOUT_S = 1800
REASON_MAX = 600

_QUIET = ("--quiet", "--color", "never", "--no-progress", "--no-python-downloads")
_WITHHELD = ("HEADRACE_", "REDIS_URL", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX")
_CONCLUSION = re.compile(
    r"^Because |( and you require [^,]+)?, we can conclude that your requirements are unsatisfiable\.?$"
)
_MARKS = re.compile(r"^[\s^~]+$")


class UvFailed(HeadraceError):
    """uv could not do it; the message is its reason, shortened to what helps."""


def resolve(requirements: Sequence[str], python: str) -> str:
    """The versions that these requirements come to, all that they need included: one requirement a line.

    They hold for every platform, and for this version of Python and later ones. Raises UvFailed.
    """
    options = ("--universal", "--no-header", "--no-annotate", "--python", python)
    return _uv("pip", "compile", "-", *options, told="\n".join(requirements)).strip()


def make_environment(folder: Path, python: str, lock: str) -> None:
    """Install exactly what the lock lists into a new virtual environment. Raises UvFailed."""
    _uv("venv", str(folder), "--python", python, "--relocatable", "--no-project")
    if lock:
        options = ("--no-deps", "--compile-bytecode", "--python", str(folder / "bin" / "python"))
        _uv("pip", "install", "-r", "-", *options, told=lock)


def reason(said: str) -> str:
    """What uv says about a failure, in a line: what failed, and the innermost cause."""
    plain = (_MARKS.sub("", line).strip() for line in said.splitlines())
    lines = [line for line in plain if line and not line.startswith(("warning:", "hint:"))]
    if not lines:
        return ""
    headline, *causes = " ".join(lines).removeprefix("error: ").split(" cause: ")
    if headline.startswith("No solution found"):
        return _shortened(_CONCLUSION.sub("", causes[0] if causes else headline))
    cause = lines[-1] if "[stderr]" in lines else causes[-1] if causes else ""
    return _shortened(f"{headline}: {cause}" if cause else headline)


def _shortened(text: str) -> str:
    half = REASON_MAX // 2
    return text if len(text) <= REASON_MAX else f"{text[:half]} … {text[-half:]}"


def _uv(*arguments: str, told: str = "") -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_WITHHELD)}
    try:
        done = subprocess.run(  # noqa: S603 - a program that is installed with Headrace, no shell
            [find_uv_bin(), *arguments, *_QUIET],
            input=told,
            capture_output=True,
            text=True,
            env=environment,
            timeout=TIMEOUT_S,
            check=False,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )
    except FileNotFoundError as error:
        raise UvFailed("the program uv is not installed", hint="install Headrace again, it brings uv") from error
    except subprocess.TimeoutExpired as error:
        raise UvFailed(f"uv was not done within {TIMEOUT_S // 60} minutes") from error
    if done.returncode:
        raise UvFailed(reason(done.stderr or done.stdout) or f"uv ended with status {done.returncode}")
    return done.stdout
