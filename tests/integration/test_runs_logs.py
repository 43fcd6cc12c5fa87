"""`headrace runs logs`: what the code has printed, of each attempt, and live while it runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared import keys
from shared.config import Settings
from shared.definitions import Variable
from shared.secrets import SecretBox
from shared.store import Store
from tests.support.command_line import CommandLine
from tests.support.eventually import eventually
from tests.support.ingest import deploy_all
from tests.support.processes import ROOT, HeadraceProcess
from tests.support.workers import FAST, deploy, queue_runs, states

StartProcess = Callable[..., HeadraceProcess]
SECRET = "hunter2-hunter2"
KEY = {"HEADRACE_SECRET_KEY": "0123456789abcdef0123456789abcdef"}


@pytest.fixture
def command(redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The command line on that server."""
    return CommandLine(redis_url, monkeypatch, capsys)


@pytest.fixture
def worker(headrace: StartProcess, redis_url: str) -> HeadraceProcess:
    """A worker that is ready."""
    return headrace("worker", REDIS_URL=redis_url, **FAST, **KEY).wait_ready()


@pytest.fixture
def follower(redis_url: str, tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Starts `headrace runs logs -f`; the file that its output goes to."""
    started: list[subprocess.Popen[bytes]] = []

    def start(run_id: str) -> Path:
        path = tmp_path / f"followed-{len(started)}"
        argv = [sys.executable, "-c", "import sys; from shared.cli import main; sys.exit(main())"]
        with path.open("wb") as file:
            environment = {"REDIS_URL": redis_url, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
            argv += ["runs", "logs", "-f", run_id]
            started.append(subprocess.Popen(argv, stdout=file, stderr=file, env=environment, cwd=tmp_path))
        return path

    yield start
    for process in started:
        process.kill()
        process.wait()


def waiting(gate: Path, *lines: str) -> str:
    """A script that prints these lines and then waits for the gate."""
    printing = "\n".join(f"    {line}" for line in lines)
    holding = f"    while not os.path.exists({str(gate)!r}): time.sleep(0.01)"
    return f"import os, sys, time\ndef main():\n{printing}\n{holding}\n    print('over')\n"


def test_a_run_is_followed_while_it_prints(
    store: Store, worker: HeadraceProcess, follower: Callable[[str], Path], tmp_path: Path
) -> None:
    """From its first line to its last, each once; then the command ends by itself."""
    gate = tmp_path / "gate"
    queue_runs(store, deploy(store, waiting(gate, "print('first')", "print('zweite Zeile: ü')")), "q1-s-1-1")
    followed = follower("q1-s-1-1")
    eventually(lambda: followed.read_text() == "first\nzweite Zeile: ü\n")
    gate.touch()

    eventually(lambda: followed.read_text() == "first\nzweite Zeile: ü\nover\n")
    assert states(store, "q1-s-1-1") == ["succeeded"]
    assert worker.running


def test_what_goes_past_the_languages_streams_is_followed_too(
    store: Store, worker: HeadraceProcess, follower: Callable[[str], Path], tmp_path: Path
) -> None:
    """As of programs that the script starts. In the record it stands behind the rest: then all is shown once more."""
    gate = tmp_path / "gate"
    version = deploy(store, waiting(gate, "os.write(1, b'raw\\n')", "print('printed')"))
    queue_runs(store, version, "q1-s-1-1")
    followed = follower("q1-s-1-1")
    eventually(lambda: sorted(followed.read_text().splitlines()) == ["printed", "raw"])
    gate.touch()

    eventually(lambda: followed.read_text().endswith("--- attempt 1, succeeded\nprinted\nover\nraw\n"))
    assert worker.running


def test_a_secret_is_masked_in_what_is_followed_and_never_shown_in_part(
    store: Store, worker: HeadraceProcess, follower: Callable[[str], Path], tmp_path: Path
) -> None:
    """Though it comes in two pieces."""
    gate = tmp_path / "gate"
    half = len(SECRET) // 2 + 1
    lines = [f"print('key', {SECRET[:half]!r}, end='', flush=True)", "time.sleep(1.2)", f"print({SECRET[half:]!r})"]
    box = SecretBox.load(Settings(), create=False, env=KEY)
    deploy_all(store, Variable("f/t/key", box.seal("f/t/key", SECRET), is_secret=True))
    queue_runs(store, deploy(store, waiting(gate, *lines)), "q1-s-1-1")
    followed = follower("q1-s-1-1")
    eventually(lambda: followed.read_text() == "key ")
    eventually(lambda: followed.read_text() == "key ***\n")
    gate.touch()

    eventually(lambda: followed.read_text() == "key ***\nover\n")
    assert worker.running


def test_a_short_run_leaves_no_live_log(store: Store, worker: HeadraceProcess, command: CommandLine) -> None:
    """Its log is in its record alone."""
    queue_runs(store, deploy(store, "def main(): print('hello')"), "q1-s-1-1", "q1-s-1-2")
    eventually(lambda: states(store, "q1-s-1-1", "q1-s-1-2") == ["succeeded", "succeeded"])

    assert store.command("EXISTS", keys.live_log("q1-s-1-1"), keys.live_log("q1-s-1-2")) == 0
    assert command.text("runs", "logs", "q1-s-1-1") == "hello\n"
    assert worker.running


def test_each_attempt_has_its_log(store: Store, worker: HeadraceProcess, command: CommandLine) -> None:
    """Under a line that says which, where there are several."""
    source = """
        import os, headrace
        def main():
            print("attempt", headrace.run.attempt, flush=True)
            if headrace.run.attempt == 1:
                os._exit(3)
        """
    queue_runs(store, deploy(store, source), "q1-s-1-1")
    eventually(lambda: states(store, "q1-s-1-1") == ["succeeded"])

    assert command.text("runs", "logs", "q1-s-1-1") == "attempt 1\n--- attempt 2, succeeded\nattempt 2\n"
    assert command("runs", "logs", "q1-none-1-1").status == 1
    assert worker.running


def test_a_run_that_outlives_its_time_out_has_failed_with_what_it_had_logged(
    store: Store, worker: HeadraceProcess, command: CommandLine
) -> None:
    """The log is that of the moment of its end."""
    source = "import time\ndef main():\n    print('so far')\n    time.sleep(60)"
    queue_runs(store, deploy(store, source), "q2-s-1-1", timeout_s=1)
    eventually(lambda: states(store, "q2-s-1-1") == ["failed"])

    assert command.text("runs", "logs", "q2-s-1-1", "-f") == "so far\n"
    assert [run["id"] for run in command.lines("runs", "--error", "timeouterror")] == ["q2-s-1-1"]
    assert worker.running
