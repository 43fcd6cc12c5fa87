"""Python scripts in real child interpreters: what user code may do, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import msgspec
import pytest

from shared.event import mqtt_event
from tests.support.factories import make_envelope
from tests.support.runners import Bench, answered, call, is_broken, result, until
from worker.runners.base import RunDone, RunErrorInfo, RunnerBroken
from worker.runners.python import PythonRunner


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Starts Python runners."""
    bench = Bench(tmp_path / "cache", PythonRunner, ".py")
    yield bench
    bench.close()


def one(bench: Bench, source: str, payload: bytes = b"21.5", **options: Any) -> RunDone:
    """The only run of a script."""
    return bench.run(bench.start(source, **options), payload)[0]


def error_of(done: RunDone) -> RunErrorInfo:
    """What a failed run says."""
    assert not done.ok
    assert done.error is not None
    return done.error


# --- results --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body,expected",
    [
        ("return None", None),
        ("return {'t': float('nan'), 'b': b'\\x00', 'n': 'a\\x00b'}", {"t": None, "b": "AA==", "n": "ab"}),
        ("import decimal; return [decimal.Decimal('1.5'), object]", ["1.5", "<class 'object'>"]),
        ("return (str(n) for n in range(3))", "012"),
        ("return 'Grüße \\ud800'", "Grüße ?"),
    ],
)
def test_results_follow_windmills_rules(bench: Bench, body: str, expected: Any) -> None:
    """End to end: what arrives is JSON, whatever the script returns."""
    assert result(one(bench, f"def main(payload): {body}")) == expected


def test_an_async_main_is_awaited(bench: Bench) -> None:
    """Run after run, each in its own event loop."""
    runner = bench.start("""
        import asyncio
        async def main(payload: bytes):
            await asyncio.sleep(0)
            return payload.decode() or None
    """)

    done = bench.run(runner, b"a", b"b", b"")

    assert [result(one) for one in done] == ["a", "b", None]
    assert done[2].result_json is None


def test_a_result_may_declare_its_run_failed(bench: Bench) -> None:
    """`wm_failure` fails the run and keeps the result, with the error in it; `wm_labels` are its labels."""
    done = one(bench, "def main(payload): return {'wm_failure': 'too hot', 't': 99, 'wm_labels': ['alarm']}")

    assert error_of(done) == RunErrorInfo("ManualFailure", "too hot")
    assert done.labels == ("alarm",)
    assert done.result_json is not None
    assert msgspec.json.decode(done.result_json) == {
        "error": {"name": "ManualFailure", "message": "too hot"},
        "wm_failure": "too hot",
        "t": 99,
        "wm_labels": ["alarm"],
    }


def test_a_result_without_json_fails_its_run(bench: Bench) -> None:
    """And no other."""
    runner = bench.start("""
        def main(payload: bytes):
            return {(1, 2): 3} if payload == b"bad" else 1
    """)

    bad, good = bench.run(runner, b"bad", b"good")

    assert error_of(bad).name == "TypeError"
    assert result(good) == 1


# --- preprocessors --------------------------------------------------------------------------------------------------

PREPROCESSED = """
    import base64, json
    from datetime import datetime
    def preprocessor(event: dict):
        body = json.loads(base64.b64decode(event["payload"]))
        at = datetime.fromisoformat(body["at"])
        return {"site": event["topic"].split("/")[1], "at": at, "until": body["at"], "raw": b"1", "unused": event["v5"]}
    def main(site: str, at: datetime, until: datetime, scale: float = 2.0):
        return [site, at.year, until, scale]
"""


def test_a_preprocessor_makes_mains_arguments(bench: Bench) -> None:
    """It runs first, in the same process; main gets what it returned as it is, and it is told beside the result."""
    runner = bench.start(PREPROCESSED)
    event = mqtt_event(make_envelope(topic="plant/7/temp"))

    (done,) = bench.answers(runner, call("q1-abcdefgh-1-1", b'{"at": "2026-01-02T03:04:05"}', event))

    assert result(done) == ["7", 2026, "2026-01-02T03:04:05", 2.0]
    assert done.arguments_json is not None
    assert msgspec.json.decode(done.arguments_json) == {
        "site": "7",
        "at": "2026-01-02 03:04:05",
        "until": "2026-01-02T03:04:05",
        "raw": "MQ==",
        "unused": None,
    }


@pytest.mark.parametrize(
    "source,message",
    [
        ("def preprocessor(event): return [1]", "preprocessor returned list"),
        ("def preprocessor(event): return None", "preprocessor returned NoneType"),
        ("def preprocessor(event): raise KeyError('t')", "'t'"),
        ("", "the script defines no function preprocessor"),
    ],
)
def test_a_preprocessor_that_gives_no_arguments_fails_the_run(bench: Bench, source: str, message: str) -> None:
    """Main is not called; the message says what a preprocessor must do."""
    runner = bench.start(f"{source}\ndef main(at=None): return 'called'")

    (done,) = bench.answers(runner, call("q1-abcdefgh-1-1", b"", mqtt_event(make_envelope())))

    assert message in error_of(done).message


def test_the_arguments_are_told_when_main_fails(bench: Bench) -> None:
    """They are what one needs to find out why."""
    runner = bench.start("""
        async def preprocessor(event): return {"topic": event["topic"]}
        def main(topic): raise ValueError(topic)
    """)

    (done,) = bench.answers(runner, call("q1-abcdefgh-1-1", b"", mqtt_event(make_envelope(topic="a/b"))))

    assert error_of(done).message == "a/b"
    assert done.arguments_json == b'{"topic":"a/b"}'


# --- errors ---------------------------------------------------------------------------------------------------------


def test_an_error_starts_at_the_users_own_lines(bench: Bench) -> None:
    """Paths are relative to the workspace, attributes are kept, nothing of the runner shows."""
    source = """
        from f.lib.tanks import find
        def main(payload):
            return find(payload)
    """
    library = """
        class NoTank(LookupError):
            pass
        def find(name):
            error = NoTank("no such tank")
            error.code = 404
            raise error
    """

    error = error_of(one(bench, source, beside={"f/lib/tanks.py": library}))

    lines = error.stack.splitlines()
    assert (error.name, error.message, error.extra) == ("NoTank", "no such tank", {"code": 404})
    assert lines[1] == '  File "f/iot/on_temp.py", line 4, in main'
    assert any(line.startswith('  File "f/lib/tanks.py", line 7, in find') for line in lines)
    assert "headrace_child" not in error.stack


@pytest.mark.parametrize(
    "body,name,message",
    [
        ("import sys; sys.exit(3)", "SystemExit", "3"),
        ("exit()", "SystemExit", "None"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", ""),
        ("main(payload)", "RecursionError", "maximum recursion depth"),
        ("raise BaseException('all')", "BaseException", "all"),
    ],
)
def test_no_way_of_raising_ends_the_runner(bench: Bench, body: str, name: str, message: str) -> None:
    """Not even those that end a Python program."""
    runner = bench.start(f"def main(payload):\n    if payload == 'YmFk': {body}")

    bad, good = bench.run(runner, b"bad", b"good")

    assert error_of(bad).name == name
    assert message in error_of(bad).message
    assert good.ok


def test_an_interrupt_from_the_terminal_is_not_for_user_code(bench: Bench) -> None:
    """SIGINT is ignored: Ctrl-C lets the worker finish what it runs."""
    done = one(bench, "import os, signal\ndef main(payload): os.kill(os.getpid(), signal.SIGINT); return 'here'")

    assert result(done) == "here"


@pytest.mark.parametrize(
    "source,name,message",
    [
        ("import no_such_module", "ModuleNotFoundError", "no_such_module"),
        ("def main(: pass", "SyntaxError", "on_temp.py"),
        ("main = 3", "NoMain", "defines no function main"),
        ("import sys; sys.exit(1)", "SystemExit", "1"),
        ("def helper(): pass", "NoMain", "def main(payload)"),
    ],
)
def test_a_script_that_cannot_be_loaded_says_why(bench: Bench, source: str, name: str, message: str) -> None:
    """With the user's traceback and what it had printed."""
    runner = bench.start(f"print('loading')\n{source}")

    event = until(runner, is_broken)[0]

    assert isinstance(event, RunnerBroken)
    assert event.error.name == name
    assert message in event.error.message
    assert "headrace_child" not in event.error.stack
    assert event.log in ("loading\n", "")


# --- headrace.run ---------------------------------------------------------------------------------------------------


def test_a_script_can_ask_about_its_run(bench: Bench) -> None:
    """From main, from the preprocessor, and from threads that they start."""
    runner = bench.start("""
        import threading
        import headrace
        def preprocessor(event):
            return {"before": headrace.run.id}
        def main(before):
            run = headrace.run
            seen = []
            thread = threading.Thread(target=lambda: seen.append(headrace.run.topic))
            thread.start()
            thread.join()
            return [before, run.idempotency_key, run.attempt, run.trigger, seen, run.qos, run.captures,
                    run.received_at.isoformat(timespec="milliseconds"), repr(run)]
    """)

    (done,) = bench.answers(runner, call("q1-abcdefgh-1-17", b"", mqtt_event(make_envelope())))

    assert result(done) == [
        "q1-abcdefgh-1-17",
        "abcdefgh-1-17",
        1,
        "f/iot/temp",
        ["plant/7/temp"],
        1,
        {"site": "7"},
        "2026-01-02T03:04:05.678+00:00",
        "<headrace.run q1-abcdefgh-1-17>",
    ]


def test_outside_of_a_run_there_is_nothing_to_ask_about(bench: Bench) -> None:
    """The error says where to ask."""
    runner = bench.start("import headrace\ntopic = headrace.run.topic\ndef main(payload): pass")

    event = until(runner, is_broken)[0]

    assert isinstance(event, RunnerBroken)
    assert "only while main or preprocessor runs" in event.error.message


def test_a_batch_is_not_held_up_by_its_last_run(bench: Bench) -> None:
    """An answer is there as soon as its run has ended."""
    runner = bench.start(
        dedent("""
        import time
        def main(payload: bytes): time.sleep(float(payload))
    """)
    )
    runner.send([call("q1-abcdefgh-1-1", b"0"), call("q1-abcdefgh-1-2", b"600")])

    until(runner, answered(1))

    assert runner.current == "q1-abcdefgh-1-2"
