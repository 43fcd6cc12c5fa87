"""`headrace runs cancel`: what waits at once, what runs by signal and then by force, with all that it has started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import redis
from rq.command import send_stop_job_command

from shared import keys
from shared.store import Store
from tests.support.command_line import CommandLine
from tests.support.eventually import eventually
from tests.support.factories import counters, run_fields
from tests.support.processes import HeadraceProcess
from tests.support.workers import FAST, deploy, last_attempt, queue_runs, states
from worker.rq_worker import MsgpackSerializer

StartProcess = Callable[..., HeadraceProcess]


@pytest.fixture
def command(redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The command line on that server."""
    return CommandLine(redis_url, monkeypatch, capsys)


@pytest.fixture
def worker(headrace: StartProcess, redis_url: str) -> HeadraceProcess:
    """A worker that is ready."""
    return headrace("worker", REDIS_URL=redis_url, **FAST).wait_ready()


def stubborn(folder: Path) -> str:
    """A script that ignores SIGTERM, as does the process that it starts; both ids go to a file."""
    return f"""
        import os, signal, subprocess, time
        def main():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            child = subprocess.Popen(["sleep", "600"], start_new_session=True)
            print("waiting", flush=True)
            with open({str(folder / "pids.new")!r}, "w") as file:
                file.write(f"{{os.getpid()}} {{child.pid}}")
            os.rename({str(folder / "pids.new")!r}, {str(folder / "pids")!r})
            time.sleep(600)
        """


def started(folder: Path) -> list[int]:
    """The process ids that the script has written."""
    return [int(pid) for pid in (folder / "pids").read_text().split()]


def gone(pid: int) -> bool:
    """Whether this process has ended."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_runs_that_wait_are_cancelled_at_once(store: Store, command: CommandLine) -> None:
    """By id; what is not there, or over, is an error."""
    queue_runs(store, "v", "q1-s-1-1", "q2-s-1-2")
    done = command("runs", "cancel", "q1-s-1-1", "--reason", "not needed")
    again = command("runs", "cancel", "q1-s-1-1", "q1-none-1-1", "nonsense")

    assert (done.status, done.out) == (0, "q1-s-1-1  cancelled\n")
    assert (again.status, again.out, again.err.count("\n")) == (1, "", 3)
    assert "left alone: it is cancelled" in again.err
    assert states(store, "q1-s-1-1", "q2-s-1-2") == ["cancelled", "queued"]
    assert run_fields(store, "q1-s-1-1")["cancel_reason"] == "not needed"
    assert counters(store)["cancelled"] == 1


def test_what_filters_find_is_cancelled_only_with_consent(store: Store, command: CommandLine) -> None:
    """Only what lives is found; the others are left alone."""
    queue_runs(store, "v", *[f"q1-s-1-{n}" for n in range(5)])
    command("runs", "cancel", "q1-s-1-0")
    asked = command("runs", "cancel", "--state", "queued")
    done = command.lines("runs", "cancel", "--state", "queued", "--yes")

    assert (asked.status, "Cancel 4 runs?" in asked.err, "--yes" in asked.err) == (2, True, True)
    assert {each["was"] for each in done} == {"queued"}
    assert len(done) == 4
    assert command("runs", "cancel").status == 2
    assert command("runs", "cancel", "q1-s-1-1", "--state", "queued").status == 2
    assert command("runs", "cancel", "--state", "failed", "--yes").status == 2
    assert command.text("runs", "cancel", "--runnable", "f/none", "--yes") == "no runs\n"


def test_a_run_that_ignores_the_signal_is_killed_with_what_it_has_started(
    store: Store, worker: HeadraceProcess, command: CommandLine, tmp_path: Path
) -> None:
    """Its log so far is kept."""
    queue_runs(store, deploy(store, stubborn(tmp_path)), "q2-s-1-1")
    code, child = eventually(lambda: started(tmp_path))
    said = command.text("runs", "cancel", "q2-s-1-1")

    assert "stopping" in said
    eventually(lambda: states(store, "q2-s-1-1") == ["cancelled"])
    assert gone(code)
    assert gone(child)
    assert last_attempt(store, "q2-s-1-1")["log"] == "waiting\n"
    assert (run_fields(store, "q2-s-1-1")["status"], counters(store)["cancelled"]) == ("stopped", 1)
    assert worker.running


def test_a_run_can_clean_up_when_it_is_cancelled(
    store: Store, worker: HeadraceProcess, command: CommandLine, tmp_path: Path
) -> None:
    """What it answers then does not count, at QoS 1 neither: it is not run again."""
    source = f"""
        import os, signal, sys, time
        def leave(*_):
            open({str(tmp_path / "cleaned")!r}, "w").close()
            sys.exit(1)
        def main():
            signal.signal(signal.SIGTERM, leave)
            open({str(tmp_path / "ready")!r}, "w").close()
            time.sleep(600)
        """
    queue_runs(store, deploy(store, source), "q1-s-1-1")
    eventually((tmp_path / "ready").exists)
    command.text("runs", "cancel", "q1-s-1-1")

    eventually(lambda: states(store, "q1-s-1-1") == ["cancelled"])
    assert (tmp_path / "cleaned").exists()
    assert run_fields(store, "q1-s-1-1")["attempts"] == "1"
    assert worker.running


def test_a_run_is_stopped_though_rqs_command_was_lost(store: Store, worker: HeadraceProcess, tmp_path: Path) -> None:
    """Its worker looks whether somebody wants it to end."""
    queue_runs(store, deploy(store, stubborn(tmp_path)), "q1-s-1-1")
    eventually(lambda: started(tmp_path))
    store.command("HSET", keys.job("q1-s-1-1"), "cancelled_by", "somebody")

    eventually(lambda: states(store, "q1-s-1-1") == ["cancelled"])
    assert worker.running


def test_rqs_own_command_stops_a_run_too(store: Store, worker: HeadraceProcess, redis_url: str, tmp_path: Path) -> None:
    """With what it has started."""
    queue_runs(store, deploy(store, stubborn(tmp_path)), "q2-s-1-1")
    _, child = eventually(lambda: started(tmp_path))
    with redis.Redis.from_url(redis_url) as client:
        send_stop_job_command(client, "q2-s-1-1", serializer=MsgpackSerializer)

    eventually(lambda: states(store, "q2-s-1-1") == ["cancelled"])
    assert gone(child)
    assert worker.running


def test_the_run_behind_a_cancelled_one_is_executed(
    store: Store, worker: HeadraceProcess, command: CommandLine, tmp_path: Path
) -> None:
    """By a fresh interpreter, once."""
    version = deploy(store, stubborn(tmp_path))
    queue_runs(store, version, "q1-s-1-1")
    eventually(lambda: started(tmp_path))
    queue_runs(store, deploy(store, "def main(): return 1"), "q1-s-1-2")
    command.text("runs", "cancel", "q1-s-1-1")

    eventually(lambda: states(store, "q1-s-1-1", "q1-s-1-2") == ["cancelled", "succeeded"])
    assert run_fields(store, "q1-s-1-2")["attempts"] == "1"
    assert worker.running
