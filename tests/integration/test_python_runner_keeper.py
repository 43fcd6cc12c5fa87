"""Whatever a script starts ends with it, wherever it went; and nothing of it is left on disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.runners import Bench, call, death, is_ready, result, until
from worker.runners.base import RunnerDied
from worker.runners.process import Scratch, kept, sweep_scratch
from worker.runners.python import PythonRunner

OURS = Path(__file__).resolve().parents[2]

DAEMON = """
    import os, pathlib, subprocess, sys, time
    def main(payload: bytes):
        # Twice forked, in a session of its own, with nothing in its environment: as far away as a program can go.
        script = "echo $$ >$0.new; mv $0.new $0; exec sleep 600"
        subprocess.run(["sh", "-c", 'setsid env -i sh -c "$0" "$1" &', script, {note!r}], check=True)
        while not os.path.exists({note!r}):
            time.sleep(0.01)
        if payload == b"crash":
            os._exit(3)
        if payload == b"hang":
            pathlib.Path({note!r} + ".hangs").touch()
            time.sleep(600)
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Starts Python runners."""
    bench = Bench(tmp_path / "cache", PythonRunner, ".py")
    yield bench
    bench.close()


@pytest.fixture
def note(tmp_path: Path) -> Path:
    """Where the daemon writes its process id."""
    return tmp_path / "note"


def gone(pid: int) -> bool:
    """Whether a process has ended; one that only waits to be reaped by init has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def daemon(note: Path) -> int:
    """The process id that the daemon noted."""
    return int(eventually(lambda: note.exists() and note.read_text()) or 0)


def test_a_daemon_outlives_its_run_and_not_its_runner(bench: Bench, note: Path) -> None:
    """An orderly end of the runner ends it too."""
    runner = bench.start(DAEMON.format(note=str(note)))
    bench.run(runner)
    pid = daemon(note)

    alive = not gone(pid)
    runner.close()

    assert alive
    eventually(lambda: gone(pid))


def test_a_kill_reaches_a_daemon(bench: Bench, note: Path) -> None:
    """As after a time-out."""
    runner = bench.start(DAEMON.format(note=str(note)))
    runner.send([call("q1-s-1-1", b"hang")])
    until(runner, is_ready)
    eventually(note.with_suffix(".hangs").exists)
    pid = daemon(note)

    events = runner.kill()

    assert isinstance(events[-1], RunnerDied)
    assert (events[-1].current, events[-1].signal) == ("q1-s-1-1", "SIGKILL")
    assert not Path(f"/proc/{pid}").exists()  # nor does it wait for somebody to reap it


def test_a_crash_takes_a_daemon_along(bench: Bench, note: Path) -> None:
    """And its exit status is told."""
    runner = bench.start(DAEMON.format(note=str(note)))
    runner.send([call("q1-s-1-1", b"crash")])

    died = death(runner)

    assert (died.returncode, died.current) == (3, "q1-s-1-1")
    eventually(lambda: gone(daemon(note)))


WORKER = """
import sys, time
sys.path.insert(0, {ours!r})
from worker.runners.base import RunCall, RunnerLimits, ScriptFiles
from worker.runners.python import PythonRunner
runner = PythonRunner(ScriptFiles("v", {root!r}, {entry!r}), RunnerLimits())
runner.start()
runner.send([RunCall("q1-a-1-1", b"hang")])
while True:
    runner.poll(20)
"""


def test_a_killed_worker_leaves_no_program_and_no_folder(tmp_path: Path, note: Path) -> None:
    """Kill -9: the daemon of a running script ends too, and the next worker removes the folder."""
    scripts, scratch = tmp_path / "scripts", tmp_path / "scratch"
    scripts.mkdir()
    scratch.mkdir()
    script = scripts / "script.py"
    script.write_text("\n".join(line[4:] for line in DAEMON.format(note=str(note)).splitlines()))
    source = WORKER.format(ours=str(OURS), root=str(scripts), entry=str(script))
    environment = {**os.environ, "TMPDIR": str(scratch)}
    with subprocess.Popen([sys.executable, "-c", source], env=environment) as worker:
        eventually(note.with_suffix(".hangs").exists)
        pid = daemon(note)
        in_use = sweep_scratch(scratch, older_than_s=0)
        worker.send_signal(signal.SIGKILL)
        worker.wait()

    eventually(lambda: gone(pid))
    assert in_use == 0
    assert len(list(scratch.iterdir())) == 1
    eventually(lambda: sweep_scratch(scratch, older_than_s=0) == 1)
    assert list(scratch.iterdir()) == []


def test_a_keeper_that_is_killed_takes_the_code_along(bench: Bench) -> None:
    """It is told as a crash of the run that executed."""
    runner = bench.start("import os, time\ndef main(payload: bytes): time.sleep(600) if payload else None\n")
    bench.run(runner)
    code = runner.pid
    assert code is not None
    keeper = int(Path(f"/proc/{code}/stat").read_text().rsplit(")", 1)[1].split()[1])
    runner.send([call("q1-s-1-1", b"hang")])

    os.kill(keeper, signal.SIGKILL)
    died = death(runner)

    assert died.signal == "SIGKILL"
    eventually(lambda: gone(code))


def test_programs_that_end_are_reaped_whoever_started_them(bench: Bench) -> None:
    """A warm runner collects no dead processes."""
    runner = bench.start("""
        import os, subprocess
        def main():
            subprocess.run(["sh", "-c", "setsid true & (true &) & wait"], check=True)
            return os.getppid()
    """)

    keeper = result(bench.run(runner, *[b""] * 5)[-1])

    def children() -> list[str]:
        states = [path.read_text().rsplit(")", 1)[1].split() for path in Path("/proc").glob("[0-9]*/stat")]
        return [state for state, parent, *_ in states if parent == str(keeper)]

    eventually(lambda: children() == ["S"])


@pytest.mark.parametrize("end,returncode", [("exit 7", 7), ("kill -9 $$", -9), ("kill -TERM $$", -15)])
def test_a_program_of_any_language_can_be_kept(note: Path, end: str, returncode: int) -> None:
    """Its end is told as it was, once everything that it has started has ended."""
    daemon_code = f"echo $$ >{note}.new; mv {note}.new {note}; exec sleep 600"
    wait = f"while [ ! -e {note} ]; do sleep 0.01; done"

    ended = subprocess.run(kept(["sh", "-c", f"setsid env -i sh -c '{daemon_code}' & {wait}; {end}"]), check=False)

    assert ended.returncode == returncode
    eventually(lambda: gone(daemon(note)))


def test_a_program_is_not_started_for_a_worker_that_is_gone() -> None:
    """It would be nobody's."""
    orphan = [part if part != str(os.getpid()) else "1" for part in kept(["true"])]

    assert subprocess.run(orphan, check=False).returncode == 1


def test_a_folder_that_is_young_or_not_ours_is_not_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be on its way to be locked."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    used, left = Scratch(), tmp_path / "headrace-scratch-left"
    left.mkdir()
    (tmp_path / "something-else").mkdir()

    young = sweep_scratch(tmp_path)
    old = sweep_scratch(tmp_path, older_than_s=0)

    assert (young, old) == (0, 1)
    assert Path(used.path).is_dir()
    used.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["something-else"]
