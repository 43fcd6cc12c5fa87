"""What scripts in bash get, leave behind, and are stopped from."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from shared import keys
from shared.definitions import Script, encode_definition
from shared.errors import ConfigError
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.processes import HeadraceProcess
from tests.support.runners import CONTEXT, Bench, call, death, is_ready, result, until
from tests.support.workers import FAST, SCRIPT, deploy, last_attempt, queue_runs, states
from worker.runners.base import MIB, Form, Message, RunCall, RunDone, Runner, RunnerLimits, RunnerSettings
from worker.runners.bash import BashRunner

TAKES_THREE = """
    name="$1"
    limits="${2:-none}"
    count="$3"
    printf '%s|' "$#" "$name" "$limits" "$count" >result.out
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Starts bash runners."""
    bench = Bench(tmp_path / "cache", BashRunner, ".sh")
    yield bench
    bench.close()


def with_arguments(**arguments: Any) -> RunCall:
    """A run that no message made."""
    return RunCall("q2-api-1", msgspec.json.encode(arguments), None, dict(CONTEXT), "arguments")


def message(payload: bytes, form: Form, **environment: str) -> RunCall:
    """A run that a message made."""
    return RunCall("q1-abcdefgh-1-1", payload, None, dict(CONTEXT), form, environment)


def only(bench: Bench, runner: Runner, run: RunCall) -> RunDone:
    """What comes of this one."""
    (done,) = bench.answers(runner, run)
    return done


def failure(done: RunDone) -> str:
    """Name and message of its error."""
    assert not done.ok
    assert done.error is not None
    return f"{done.error.name}: {done.error.message}"


def bash_below(runner: Runner) -> psutil.Process | None:
    """The process that executes the run."""
    assert runner.pid is not None
    return next((each for each in psutil.Process(runner.pid).children() if each.name() == "bash"), None)


def test_arguments_are_given_by_name_in_the_order_of_their_numbers(bench: Bench) -> None:
    """Text as it is, everything else as JSON, nothing for what is missing or null."""
    runner = bench.start(TAKES_THREE)

    full = with_arguments(count=3, name="north tank\n", limits={"high": [1, 2]}, other="x")
    partly = with_arguments(name=None, count=True)

    assert result(only(bench, runner, full)) == '3|north tank\n|{"high":[1,2]}|3|'
    assert result(only(bench, runner, partly)) == "3||none|true|"


@pytest.mark.parametrize(
    "form, payload, expected",
    [
        ("windmill", b"\x00\xff", "AP8="),
        ("base64", b"", ""),
        ("text", "Füllstand\n$HOME".encode(), "Füllstand\n$HOME"),
        ("json", b'{"t": 21.50}', '{"t": 21.50}'),
    ],
)
def test_a_payload_comes_in_the_form_that_the_trigger_names(
    bench: Bench, form: Form, payload: bytes, expected: str
) -> None:
    """JSON as it was written."""
    runner = bench.start('payload="$1"\nprintf "%s" "$payload" >result.out')

    assert result(only(bench, runner, message(payload, form))) == expected.removesuffix("\n")


@pytest.mark.parametrize(
    "form, payload, said",
    [("json", b"{", "not JSON"), ("text", b"\xff", "not UTF-8"), ("text", b"a\0b", "U+0000, which bash cannot hold")],
)
def test_a_payload_that_has_no_such_form_fails_its_run(bench: Bench, form: Form, payload: bytes, said: str) -> None:
    """Nothing is executed."""
    runner = bench.start('payload="$1"\necho executed')

    done = only(bench, runner, message(payload, form))

    assert said in failure(done)
    assert done.log == ""


def test_a_script_that_names_no_parameter_gets_the_payload(bench: Bench) -> None:
    """As `$1`."""
    runner = bench.start('echo "$# $1"')

    assert result(only(bench, runner, message(b"21.5", "text"))) == "1 21.5"


def test_parameters_that_no_message_fills_are_told_once(bench: Bench) -> None:
    """In the log of the first run."""
    runner = bench.start('payload="$1"\nsite="$2"')

    first, second = bench.run(runner, b"", b"")

    assert "a message gives only payload: site empty" in first.log
    assert second.log == ""


@pytest.mark.parametrize(
    "source, expected",
    [
        ("""echo one; echo '{"level": [1, NaN]}' >result.json; echo two >result.out""", {"level": [1, None]}),
        ("echo one; printf 'two\\nlines\\n' >result.out", "two\nlines"),
        ("echo one; printf 'the last'", "the last"),
        ("echo one; echo two >&2", "one"),
        ("echo one; echo", ""),
        ("true", None),
    ],
)
def test_a_result_is_json_or_a_file_or_the_last_line(bench: Bench, source: str, expected: Any) -> None:
    """The first of result.json, result.out and the standard output that is there."""
    runner = bench.start(source)

    (done,) = bench.run(runner)

    assert result(done) == expected


@pytest.mark.parametrize(
    "source, said",
    [
        ("echo '{' >result.json", "ResultFault: result.json is not JSON"),
        ("head -c 3000 /dev/zero >result.out", "result.out is 3000 bytes, at most 2000 are kept"),
        ("""echo '{"wm_failure": "too hot"}' >result.json""", "ManualFailure: too hot"),
    ],
)
def test_a_result_may_fail_its_run(bench: Bench, source: str, said: str) -> None:
    """The error says why."""
    runner = bench.start(source, limits=RunnerLimits(max_result_bytes=2000))

    (done,) = bench.run(runner)

    assert said in failure(done)


def test_an_exit_status_fails_the_run_with_the_last_lines_of_stderr(bench: Bench) -> None:
    """Paths in them are those of the workspace; the log has both outputs."""
    runner = bench.start("echo started\necho trying >&2\nsleep 0.05\nno_such_program\nexit 3\n")

    (done,) = bench.run(runner)

    assert failure(done) == "ExitStatus: exit status 3: f/iot/on_temp.sh: line 4: no_such_program: command not found"
    assert done.error is not None
    assert done.error.stack.splitlines()[0] == "trying"
    assert done.error.extra == {"exit_status": 3}
    assert sorted(done.log.splitlines()[:2]) == ["started", "trying"]
    assert "command not found" in done.log
    assert done.result_json is None


def test_each_run_has_an_empty_folder_of_its_own(bench: Bench) -> None:
    """A result that another run left is not taken for this one's."""
    runner = bench.start('payload="$1"\nls >seen\ncp seen result.out\n[[ $payload ]] && echo 1 >result.json; exit 0')

    first, second = bench.run(runner, b"x", b"")

    assert (result(first), result(second)) == (1, "seen")


def test_what_a_run_has_started_ends_with_it(bench: Bench, tmp_path: Path) -> None:
    """Also where it has left the process group; the run does not wait for it, though it holds the output open."""
    note = tmp_path / "pid"
    runner = bench.start(f"setsid sleep 600 & echo $! >{note}\necho done")

    (done,) = bench.run(runner)

    assert result(done) == "done"
    assert not psutil.pid_exists(int(note.read_text()))


def test_the_environment_tells_of_the_run_and_of_nothing_else(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What headrace.run knows, what differs between runs; nothing of the worker's own, nothing of the run before."""
    monkeypatch.setenv("REDIS_URL", "redis://secret")
    settings = RunnerSettings(interpreter="", environment={"WM_WORKSPACE": "headrace"})
    runner = bench.start("env -0 | sort -z | tr '\\0' '\\n' >result.out", settings=settings)

    first = result(only(bench, runner, message(b"", "text", WM_TOKEN="one", ONCE="1"))).splitlines()
    second = result(only(bench, runner, message(b"", "text", WM_TOKEN="two"))).splitlines()

    assert {"RUN_IDEMPOTENCY_KEY=abcdefgh-1-17", "RUN_ATTEMPT=1", "RUN_TOPIC=plant/7/temp"} <= set(first)
    assert {"RUN_CAPTURE_site=7", "WM_WORKSPACE=headrace", "WM_TOKEN=one", "ONCE=1"} <= set(first)
    assert "WM_TOKEN=two" in second
    assert not [line for line in second if "secret" in line or line.startswith(("ONCE=", "HEADRACE_"))]


def test_memory_is_bounded(bench: Bench) -> None:
    """For the script and what it starts, not for the child that starts it."""
    runner = bench.start(
        'x=$(head -c 200M /dev/zero | tr "\\0" x) && echo "${#x}"', limits=RunnerLimits(None, 64 * MIB)
    )

    (done,) = bench.run(runner)

    assert not done.ok
    assert "annot allocate" in done.log or "exhausted" in done.log


def test_a_closed_pipe_ends_who_writes_to_it(bench: Bench) -> None:
    """As in a terminal: signals that Python ignores are not ignored by scripts."""
    runner = bench.start('yes | head -n 1\necho "${PIPESTATUS[0]}"')

    (done,) = bench.run(runner)

    assert result(done) == str(128 + signal.SIGPIPE)


def test_a_bash_that_is_killed_from_outside_is_a_crash(bench: Bench) -> None:
    """The run that executed is named, with what it had written."""
    runner = bench.start("echo begun\nsleep 600")
    until(runner, is_ready)
    runner.send([call("q2-abcdefgh-1-1"), call("q2-abcdefgh-1-2")])
    bash = eventually(lambda: bash_below(runner))
    eventually(bash.children)

    bash.kill()
    died = death(runner)

    assert (died.signal, died.current) == ("SIGKILL", "q2-abcdefgh-1-1")
    assert died.unanswered == ("q2-abcdefgh-1-1", "q2-abcdefgh-1-2")
    assert died.log == "begun\n"


def test_a_machine_without_bash_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before anything is started."""
    monkeypatch.setenv("PATH", os.fspath(tmp_path))

    with pytest.raises(ConfigError, match="no bash on the PATH"):
        bench.start("true")


def test_a_worker_without_bash_fails_the_run_and_goes_on(
    headrace: Callable[..., HeadraceProcess], redis_url: str, tmp_path: Path
) -> None:
    """Nothing is executed, and the record says what is missing."""
    store = Store.connect(redis_url)
    version, blob = encode_definition(Script(SCRIPT, "bash", "f/t/script.sh", {"f/t/script.sh": "echo executed"}))
    store.command("HSET", keys.DEFINITIONS, version, blob)
    headrace("worker", REDIS_URL=redis_url, PATH=os.fspath(tmp_path), **FAST).wait_ready()
    python = deploy(store, "def main(): return 1")

    queue_runs(store, version, "q2-s-1-1")
    queue_runs(store, python, "q2-s-1-2")
    eventually(lambda: states(store, "q2-s-1-1", "q2-s-1-2") == ["failed", "succeeded"])

    error = last_attempt(store, "q2-s-1-1")["error"]
    assert error["message"].startswith("nothing was executed: there is no bash on the PATH of this worker")


def test_lines_of_a_file_are_published(bench: Bench) -> None:
    """Messages as in Python, an answer where a line names no topic; what cannot be published fails the run."""
    runner = bench.start("""
        payload="$1"
        base64 -d <<<"$payload" >publish.jsonl
        """)
    lines = (
        b'{"topic": "alarm/a", "payload": {"level": 93}, "qos": 0, "retain": true}\n\n'
        b'{"payload": "ok"}\n{"topic": "alarm/b", "user_properties": [["a", "1"]]}'
    )
    asked = dict(CONTEXT) | {"response_topic": "me/answers"}
    (done,) = bench.answers(runner, RunCall("q1-abcdefgh-1-1", lines, None, asked))
    assert done.messages == (
        Message("alarm/a", b'{"level":93}', 0, retain=True),
        Message("me/answers", b"ok", 1, is_reply=True),
        Message("alarm/b", b"", 1, user_properties=(("a", "1"),)),
    )
    for wrong, why in (
        (b"nonsense", "line 1: Expecting value"),
        (b'\n{"topic": "a/+"}', "line 2: 'a/+' is no topic to publish to"),
        (b'{"topc": "a"}', "line 1: reply() got an unexpected keyword argument 'topc'"),
    ):
        (failed,) = bench.run(runner, wrong)
        assert failed.error is not None
        assert (failed.error.name, failed.messages) == ("MessageFault", ())
        assert failed.error.message.startswith(f"publish.jsonl, {why}")
