"""What every runner does, whatever the language of the script. A new language enters itself in LANGUAGES."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.errors import InternalError
from tests.support.eventually import eventually
from tests.support.runners import Bench, answered, call, death, is_broken, is_ready, result, until
from worker.runners import RUNNERS
from worker.runners.base import RunDone, RunEvent, Runner, RunnerBroken, RunnerDied, RunnerLimits, RunnerReady

KIB = 1024


@dataclass(frozen=True)
class Language:
    """The same little scripts in one language. Each takes the payload as raw bytes."""

    suffix: str
    echo: str
    """Returns the payload as text."""
    size: str
    """Returns the number of bytes of the payload."""
    prints: str
    """Writes the payload's text as one line to its output."""
    fails: str
    """Fails with the message `no such tank` when the payload is `fail`."""
    exits: str
    """Writes the line `last words` and ends its own process when the payload is `exit`: a crash."""
    hangs: str
    """Returns at once without a payload; else starts a process that sleeps, writes its id to the file in its scratch
    folder that the payload names, and never returns. Where code may start none, the id is that of its own process."""
    floods: str
    """Has another program, or where code may start none the system itself, write 1 MiB to its standard output."""
    repeats: str
    """Returns text of as many bytes as the payload's number says."""
    unloadable: str
    """Cannot be loaded."""
    exit: tuple[int, str | None, str] = (7, None, "ended itself with exit status 7")
    """How `exits` ends: return code, signal, cause."""


LANGUAGES = {
    "python3": Language(
        suffix=".py",
        echo="def main(payload: bytes): return payload.decode()",
        size="def main(payload: bytes): return len(payload)",
        prints="def main(payload: bytes): print(payload.decode())",
        fails="""
            def main(payload: bytes):
                if payload == b"fail":
                    raise LookupError("no such tank")
        """,
        exits="""
            import os
            def main(payload: bytes):
                if payload == b"exit":
                    print("last words")
                    os._exit(7)
        """,
        hangs="""
            import pathlib, subprocess, time
            def main(payload: bytes):
                if not payload:
                    return
                sleeper = subprocess.Popen(["sleep", "600"])
                pathlib.Path(payload.decode()).write_text(str(sleeper.pid))
                time.sleep(600)
        """,
        floods="""
            import subprocess
            def main():
                subprocess.run(["head", "-c", "1048576", "/dev/zero"], check=True)
        """,
        repeats="""
            def main(payload: bytes):
                return "x" * int(payload)
        """,
        unloadable="import no_such_module",
    ),
    "bash": Language(
        suffix=".sh",
        echo='payload="$1"\nbase64 -d <<<"$payload"',
        size='payload="$1"\nbase64 -d <<<"$payload" | wc -c >result.json',
        prints='payload="$1"\nbase64 -d <<<"$payload"; echo',
        fails="""
            payload="$1"
            if [[ $(base64 -d <<<"$payload") == fail ]]; then
                echo "no such tank" >&2
                exit 1
            fi
        """,
        exits="""
            payload="$1"
            if [[ $(base64 -d <<<"$payload") == exit ]]; then
                echo "last words"
                kill -ABRT $$
            fi
        """,
        hangs="""
            payload="$1"
            [[ -n $payload ]] || exit 0
            sleep 600 &
            echo $! >"$(base64 -d <<<"$payload")"
            wait
        """,
        floods="head -c 1048576 /dev/zero",
        repeats="""
            payload="$1"
            printf "%$(base64 -d <<<"$payload")s" | tr " " x
        """,
        unloadable="if true; no_such_module )",
        exit=(-6, "SIGABRT", "was ended by SIGABRT"),
    ),
    "deno": Language(
        suffix=".ts",
        echo="export function main(payload: string) { return atob(payload); }",
        size="export async function main(payload: string): Promise<number> { return atob(payload).length; }",
        prints="export function main(payload: string) { console.log(atob(payload)); }",
        fails="""
            export async function main(payload: string) {
                if (atob(payload) === "fail") throw new RangeError("no such tank");
            }
        """,
        exits="""
            export function main(payload: string) {
                if (atob(payload) === "exit") {
                    console.log("last words");
                    Deno.exit(7);
                }
            }
        """,
        hangs="""
            export async function main(payload: string) {
                if (payload === "") return;
                Deno.writeTextFileSync(atob(payload), String(Deno.pid));
                await new Promise(() => setInterval(() => {}, 1000));
            }
        """,
        floods="export function main() { Deno.stdout.writeSync(new Uint8Array(1048576)); }",
        repeats="export function main(payload: string) { return 'x'.repeat(Number(atob(payload))); }",
        unloadable='import "./no_such_module.ts"; export function main() {}',
    ),
}


@pytest.fixture(params=LANGUAGES)
def language_name(request: pytest.FixtureRequest) -> str:
    """Name of a language, as scripts are deployed with it."""
    return str(request.param)


@pytest.fixture
def language(language_name: str) -> Language:
    """The scripts in that language."""
    return LANGUAGES[language_name]


@pytest.fixture
def bench(tmp_path: Path, language_name: str, language: Language) -> Iterator[Bench]:
    """Starts runners of that language."""
    bench = Bench(tmp_path / "cache", RUNNERS[language_name], language.suffix)
    yield bench
    bench.close()


def state(pid: int) -> str:
    """One letter of proc(5): S sleeps, T is stopped, Z is dead and not reaped, X is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return "X"


def alive(pid: int) -> bool:
    """Whether a process exists and is not merely unreaped."""
    return state(pid) not in "XZ"


def scratch(runner: Runner) -> Path:
    """The folder that the runner's child works in."""
    assert runner.pid is not None
    return Path(f"/proc/{runner.pid}/cwd").resolve()


def test_a_run_gives_its_result_and_the_runner_stays_for_the_next(bench: Bench, language: Language) -> None:
    """One child executes run after run."""
    runner = bench.start(language.echo)

    first = bench.run(runner, b"21.5")
    second = bench.run(runner, b"22.0")

    assert [result(done) for done in first + second] == ["21.5", "22.0"]


def test_ready_comes_first(bench: Bench, language: Language) -> None:
    """Before RunnerReady nothing has started, even when runs were sent."""
    runner = bench.start(language.echo)

    runner.send([call("q1-abcdefgh-1-1", b"a")])
    sent = runner.current
    events = until(runner, answered(1))

    assert sent is None
    assert isinstance(events[0], RunnerReady)


def test_runs_are_answered_in_the_order_of_sending(bench: Bench, language: Language) -> None:
    """Also when they were sent in several batches, while others were still waiting."""
    runner = bench.start(language.echo)
    calls = [call(f"q1-abcdefgh-1-{number}", str(number).encode()) for number in range(200)]

    for start in range(0, 200, 50):
        runner.send(calls[start : start + 50])
    done = [event for event in until(runner, answered(200)) if isinstance(event, RunDone)]

    assert [one.run_id for one in done] == [one.run_id for one in calls]
    assert [result(one) for one in done] == [str(number) for number in range(200)]


def test_current_is_the_run_without_an_answer(bench: Bench, language: Language) -> None:
    """It is the first of those sent, and none once all are answered."""
    runner = bench.start(language.echo)
    until(runner, is_ready)
    before = runner.current
    runner.send([call("q1-abcdefgh-1-1"), call("q1-abcdefgh-1-2")])
    sent = runner.current
    until(runner, answered(2))

    assert (before, sent, runner.current) == (None, "q1-abcdefgh-1-1", None)


def test_a_failing_run_harms_no_other(bench: Bench, language: Language) -> None:
    """Its error says what the script said; the runs around it succeed."""
    runner = bench.start(language.fails)

    before, failed, after = bench.run(runner, b"ok", b"fail", b"ok")

    assert (before.ok, failed.ok, after.ok) == (True, False, True)
    assert failed.error is not None
    assert "no such tank" in failed.error.message
    assert failed.result_json is None


def test_each_run_has_its_own_log(bench: Bench, language: Language) -> None:
    """What a run writes stands in its log and in no other, also within one batch."""
    runner = bench.start(language.prints)

    done = bench.run(runner, b"one", b"two", b"three")

    assert [one.log for one in done] == ["one\n", "two\n", "three\n"]


def test_large_payloads_and_results_pass_each_other(bench: Bench, language: Language) -> None:
    """Neither side waits for the other to read: no dead-lock, however full both directions are."""
    runner = bench.start(language.repeats)
    payload = str(256 * KIB).encode().rjust(256 * KIB)

    done = bench.run(runner, *[payload] * 24)

    assert [len(result(one)) for one in done] == [256 * KIB] * 24


def test_a_payload_arrives_byte_for_byte(bench: Bench, language: Language) -> None:
    """Empty, and larger than any buffer on the way."""
    runner = bench.start(language.size)

    done = bench.run(runner, b"", bytes(range(256)) * 16 * KIB)

    assert [result(one) for one in done] == [0, 4096 * KIB]


def test_a_log_is_cut_and_says_so(bench: Bench, language: Language) -> None:
    """The first bytes are kept, the last line counts the rest; the next log is whole again."""
    runner = bench.start(language.prints, limits=RunnerLimits(max_output_bytes=KIB))

    long, short = bench.run(runner, b"x" * 5 * KIB, b"short")

    assert long.log == "x" * KIB + f"\n[log truncated: {4 * KIB + 1} bytes dropped]\n"
    assert short.log == "short\n"


def test_output_that_bypasses_the_script_neither_blocks_nor_floods(bench: Bench, language: Language) -> None:
    """A program that the script starts may write more than a pipe holds; the log keeps its limit."""
    runner = bench.start(language.floods, limits=RunnerLimits(max_output_bytes=64 * KIB))

    first, second = bench.run(runner, b"", b"")

    for done in (first, second):
        assert done.ok
        assert done.log.endswith(f"[log truncated: {(1024 - 64) * KIB} bytes dropped]\n")


def test_a_result_above_the_limit_fails_its_run_only(bench: Bench, language: Language) -> None:
    """The error says how large it was and what is allowed."""
    runner = bench.start(language.repeats, limits=RunnerLimits(max_result_bytes=KIB))

    large, small = bench.run(runner, b"2000", b"20")

    assert large.error is not None
    assert "2002" in large.error.message
    assert "1024" in large.error.message
    assert result(small) == "x" * 20


def test_a_crash_loses_no_answer_and_names_the_run(bench: Bench, language: Language) -> None:
    """What was answered before stays answered; the run that crashed and those behind it are told apart."""
    runner = bench.start(language.exits)
    calls = [call("q1-abcdefgh-1-1"), call("q1-abcdefgh-1-2", b"exit"), call("q1-abcdefgh-1-3")]

    runner.send(calls)
    events: list[RunEvent] = until(runner, lambda events: any(isinstance(event, RunnerDied) for event in events))

    died = events[-1]
    assert [event.run_id for event in events if isinstance(event, RunDone)] == ["q1-abcdefgh-1-1"]
    assert isinstance(died, RunnerDied)
    assert (died.returncode, died.signal, died.cause) == language.exit
    assert not died.killed
    assert died.current == "q1-abcdefgh-1-2"
    assert died.unanswered == ("q1-abcdefgh-1-2", "q1-abcdefgh-1-3")
    assert died.log == "last words\n"
    assert runner.poll(0) == []


def test_a_kill_from_outside_is_told_as_what_it_probably_is(bench: Bench, language: Language) -> None:
    """A SIGKILL that nobody of us sent is taken for the kernel's out-of-memory killer."""
    runner = bench.start(language.echo)
    until(runner, is_ready)
    assert runner.pid is not None

    os.kill(runner.pid, signal.SIGKILL)
    died = death(runner)

    assert (died.signal, died.out_of_memory, died.killed) == ("SIGKILL", True, False)
    assert died.current is None


def test_a_run_that_had_not_begun_is_not_called_current(bench: Bench, language: Language) -> None:
    """It was sent, and the child died before it came to it: it may be started elsewhere, at any QoS."""
    runner = bench.start(language.echo)
    bench.run(runner, b"before")
    pid = runner.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: state(pid) == "T")

    runner.send([call("q1-abcdefgh-1-1"), call("q1-abcdefgh-1-2")])
    os.kill(pid, signal.SIGKILL)
    died = death(runner)

    assert died.current is None
    assert died.unanswered == ("q1-abcdefgh-1-1", "q1-abcdefgh-1-2")


def test_a_runner_whose_child_is_gone_can_be_closed(bench: Bench, language: Language) -> None:
    """Although nobody has noticed its death."""
    runner = bench.start(language.echo)
    until(runner, is_ready)
    assert runner.pid is not None

    os.kill(runner.pid, signal.SIGKILL)
    runner.close()

    assert runner.pid is None


def test_kill_ends_everything_that_the_run_started(bench: Bench, language: Language) -> None:
    """The whole process group, reaped; the run is named; nothing happens afterwards."""
    runner = bench.start(language.hangs)
    note = scratch(runner) / "pid"
    runner.send([call("q1-abcdefgh-1-1", str(note).encode()), call("q1-abcdefgh-1-2")])
    until(runner, is_ready)
    eventually(lambda: note.exists() and note.read_text() != "")
    sleeper = int(note.read_text())

    events = runner.kill()

    assert isinstance(events[-1], RunnerDied)
    assert (events[-1].signal, events[-1].killed, events[-1].out_of_memory) == ("SIGKILL", True, False)
    assert events[-1].unanswered == ("q1-abcdefgh-1-1", "q1-abcdefgh-1-2")
    eventually(lambda: not alive(sleeper))
    assert runner.kill() == []
    assert runner.poll(0) == []
    with pytest.raises(InternalError):
        runner.send([call("q1-abcdefgh-1-3")])


def test_kill_hands_over_the_answers_that_had_arrived(bench: Bench, language: Language) -> None:
    """A run that ended a moment before the kill is not taken for one that was killed."""
    runner = bench.start(language.hangs)
    until(runner, is_ready)
    note = scratch(runner) / "pid"
    runner.send([call("q1-abcdefgh-1-1"), call("q1-abcdefgh-1-2", str(note).encode())])
    eventually(note.exists)  # so the first run has been answered, and nobody has polled

    done, died = runner.kill()

    assert isinstance(done, RunDone)
    assert done.run_id == "q1-abcdefgh-1-1"
    assert isinstance(died, RunnerDied)
    assert died.current == "q1-abcdefgh-1-2"


def test_close_ends_an_idle_runner(bench: Bench, language: Language) -> None:
    """Twice does no harm, and a closed runner takes no runs."""
    runner = bench.start(language.echo)
    bench.run(runner, b"a")
    pid = runner.pid
    assert pid is not None

    runner.close()
    runner.close()

    assert not alive(pid)
    assert runner.pid is None
    assert runner.poll(0) == []
    with pytest.raises(InternalError):
        runner.send([call("q1-abcdefgh-1-2")])


def test_a_script_that_cannot_be_loaded_answers_every_run_with_its_error(bench: Bench, language: Language) -> None:
    """Those sent before it was known, and those sent later."""
    runner = bench.start(language.unloadable)

    early = bench.answers(runner, call("q1-abcdefgh-1-1"))
    late = bench.answers(runner, call("q1-abcdefgh-1-2"))

    for done in early + late:
        assert not done.ok
        assert done.error is not None
        assert "no_such_module" in done.error.message
    assert runner.current is None
    assert runner.kill() == []


def test_broken_is_told_before_the_answers(bench: Bench, language: Language) -> None:
    """RunnerBroken holds the same error as they do."""
    runner = bench.start(language.unloadable)
    runner.send([call("q1-abcdefgh-1-1")])

    events = until(runner, is_broken)

    assert isinstance(events[0], RunnerBroken)
    assert isinstance(events[1], RunDone)
    assert events[1].error == events[0].error
