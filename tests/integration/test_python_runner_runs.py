"""Python scripts and the runs that they are given: payload forms, arguments, environment, streams, the real wmill."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.event import mqtt_event
from tests.support.factories import make_envelope
from tests.support.runners import CONTEXT, Bench, call, result
from worker.runners.base import Message, RunCall, RunnerSettings
from worker.runners.python import PythonRunner

WITH_WMILL = RunnerSettings(sys.executable, dependencies=(sysconfig.get_path("purelib"),))
"""The client is among the packages of the tests."""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Starts Python runners."""
    bench = Bench(tmp_path / "cache", PythonRunner, ".py")
    yield bench
    bench.close()


def with_arguments(number: int, arguments: dict[str, Any]) -> RunCall:
    """A run that no message made."""
    context = {"idempotency_key": "key", "attempt": 1, "origin": "api", "parent": "q1-s-1-1"}
    return RunCall(f"q2-api-{number}", msgspec.json.encode(arguments), None, context, "arguments")


def with_environment(number: int, **variables: str) -> RunCall:
    """A run with these variables."""
    return RunCall(f"q1-s-1-{number}", b"", None, dict(CONTEXT), environment=variables)


def test_each_run_gets_its_payload_in_the_form_of_its_trigger(bench: Bench) -> None:
    """Several triggers may share a script, and so a runner."""
    runner = bench.start("def main(payload): return payload")
    forms = ["windmill", "json", "text", "base64"]

    calls = [RunCall(f"q1-s-1-{form}", b'{"t":1}', None, dict(CONTEXT), form) for form in forms]  # type: ignore[arg-type]
    done = bench.answers(runner, *calls)

    assert [result(each) for each in done] == ["eyJ0IjoxfQ==", {"t": 1}, '{"t":1}', "eyJ0IjoxfQ=="]


def test_a_payload_that_is_no_json_fails_its_run_and_says_where(bench: Bench) -> None:
    """There is no stack: no line of the user's is to blame."""
    runner = bench.start("def main(payload): return payload")

    (done,) = bench.answers(runner, RunCall("q1-s-1-1", b'{"t":}', None, dict(CONTEXT), "json"))

    assert done.error is not None
    assert (done.error.name, done.error.stack) == ("PayloadError", "")
    assert "(line 1, column 6)" in done.error.message


def test_a_run_with_arguments_calls_main_with_them_and_no_preprocessor(bench: Bench) -> None:
    """Main is called first, and so converts; what it does not declare is dropped."""
    runner = bench.start("""
        from datetime import datetime
        import headrace
        def preprocessor(event): raise RuntimeError("never")
        def main(at: datetime, raw: bytes, scale: float = 2.0, unit=None):
            run = headrace.run
            return [at.year, raw.decode(), scale, unit, run.origin, run.parent, run.root, run.captures]
    """)

    arguments = {"at": "2026-01-02T03:04:05", "raw": "MjEuNQ==", "scale": None, "unknown": 1}
    (done,) = bench.answers(runner, with_arguments(1, arguments))

    assert result(done) == [2026, "21.5", 2.0, None, "api", "q1-s-1-1", None, {}]


def test_a_run_without_a_message_has_no_topic(bench: Bench) -> None:
    """Asking for it says why; a run with one has an origin and no parent."""
    runner = bench.start("""
        import headrace
        def main(payload=None): return [headrace.run.origin, headrace.run.parent, headrace.run.topic]
    """)

    first, second = bench.answers(runner, with_arguments(1, {}), call("q1-s-1-1"))

    assert first.error is not None
    assert first.error.message == "this run has no topic: no message made it"
    assert result(second) == ["message", None, "plant/7/temp"]


def test_parameters_that_no_message_fills_are_told_once(bench: Bench) -> None:
    """In the log of the first run that a message made; a run with arguments is another matter."""
    runner = bench.start("def main(payload: bytes, topic): return topic")

    named, first, second = bench.answers(runner, with_arguments(1, {"topic": "a"}), call("q1-s-1-1"), call("q1-s-1-2"))

    assert (result(named), named.log) == ("a", "")
    assert (result(first), first.log.count("\n")) == (None, 1)
    assert "main declares topic, but a message gives only payload: it is None" in first.log
    assert second.log == ""


def test_a_preprocessor_fills_every_parameter_and_nothing_is_told(bench: Bench) -> None:
    """What it leaves out is its own affair."""
    runner = bench.start("def preprocessor(event): return {}\ndef main(payload, topic): return topic")

    (done,) = bench.answers(runner, call("q1-s-1-1", b"", mqtt_event(make_envelope())))

    assert (result(done), done.log) == (None, "")


def test_a_run_finds_its_variables_and_none_of_the_run_before(bench: Bench) -> None:
    """In os.environ, and so do the programs that it starts."""
    runner = bench.start("""
        import os, subprocess
        def main():
            shown = subprocess.run(["env"], capture_output=True, text=True).stdout.splitlines()
            return [os.environ.get("WM_JOB_ID"), os.environ.get("WM_ROOT_FLOW_JOB_ID"),
                    sorted(line for line in shown if line.startswith("WM_"))]
    """)

    done = bench.answers(
        runner,
        with_environment(1, WM_JOB_ID="a", WM_ROOT_FLOW_JOB_ID="root"),
        with_environment(2, WM_JOB_ID="b"),
    )

    assert [result(each) for each in done] == [
        ["a", "root", ["WM_JOB_ID=a", "WM_ROOT_FLOW_JOB_ID=root"]],
        ["b", None, ["WM_JOB_ID=b"]],
    ]


def test_the_wmill_client_speaks_as_the_run_that_executes(bench: Bench) -> None:
    """The real one keeps a client for as long as the process lives; one with a token of its own is left alone."""
    runner = bench.start(
        """
        import os, wmill, wmill.client as module
        os.environ["BASE_INTERNAL_URL"], os.environ["WM_WORKSPACE"] = "http://127.0.0.1:1", "plant"
        def main():
            wmill.get_workspace()
            client = module._client
            seen = [client.token, client.client.headers["authorization"], id(client)]
            if os.environ["WM_JOB_ID"] == "b":
                module._client = wmill.Windmill(token="mine")
            return seen
    """,
        settings=WITH_WMILL,
    )

    done = bench.answers(
        runner,
        with_environment(1, WM_JOB_ID="a", WM_TOKEN="one"),
        with_environment(2, WM_JOB_ID="b", WM_TOKEN="two"),
        with_environment(3, WM_JOB_ID="c", WM_TOKEN="three"),
    )

    first, second, third = (result(each) for each in done)
    assert (first[:2], second[:2]) == (["one", "Bearer one"], ["two", "Bearer two"])
    assert first[2] == second[2]
    assert third[:2] == ["mine", "Bearer mine"]


def test_what_wmill_streams_is_the_result(bench: Bench) -> None:
    """Of a run that returns nothing; its lines leave the log."""
    runner = bench.start(
        """
        import wmill
        def main(payload: bytes):
            print("before")
            wmill.stream_result(["a\\n", "b"])
            return payload.decode() or None
    """,
        settings=WITH_WMILL,
    )

    streamed, returned = bench.run(runner, b"", b"own")

    assert (result(streamed), streamed.log) == ("a\nb", "before\n")
    assert (result(returned), returned.log) == ("own", "before\nWM_STREAM: a\\n\nWM_STREAM: b\n")


def test_what_an_async_generator_yields_is_joined(bench: Bench) -> None:
    """As a generator's."""
    runner = bench.start("""
        async def main():
            for part in ("a", 1):
                yield part
    """)

    assert result(bench.run(runner)[0]) == "a1"


def test_a_file_for_local_tests_stands_in_for_the_workspace(bench: Bench, tmp_path: Path) -> None:
    """`WM_MOCKED_API_FILE`, read by the real client."""
    mocked = tmp_path / "mocked.json"
    mocked.write_text('{"variables": {"f/iot/limit": "30"}, "resources": {}}')
    runner = bench.start("import wmill\ndef main(): return wmill.get_variable('f/iot/limit')", settings=WITH_WMILL)

    (done,) = bench.answers(
        runner, with_environment(1, WM_MOCKED_API_FILE=str(mocked), WM_WORKSPACE="plant", WM_TOKEN="t")
    )

    assert result(done) == "30"


def test_modules_of_every_folder_of_the_workspace_can_be_imported(bench: Bench) -> None:
    """A person's folder, a package with `from . import`, a module that imports its neighbour relatively."""
    source = """
        from u.alice.mod import NAME
        from . import near
        from f.lib import pack
        def main(): return [NAME, near.FAR, pack.INNER]
    """
    beside = {
        "u/alice/mod.py": "NAME = 'alice'",
        "f/iot/near.py": "from .far import FAR",
        "f/iot/far.py": "FAR = 'far'",
        "f/lib/pack/__init__.py": "from .inner import INNER",
        "f/lib/pack/inner.py": "INNER = 'inner'",
    }

    (done,) = bench.run(bench.start(source, beside=beside))

    assert result(done) == ["alice", "far", "inner"]


def test_a_preprocessor_of_a_flow_is_called_like_any_function_with_the_event(bench: Bench) -> None:
    """A script may have it alone: there is no main to go on with."""
    runner = bench.start(
        "def preprocessor(event): return {'site': event['topic'].split('/')[1]}", function="preprocessor"
    )
    (done,) = bench.answers(runner, with_arguments(1, {"event": {"topic": "plant/7/temp"}}))
    assert result(done) == {"site": "7"}


def test_what_a_run_publishes_is_its_own_alone(bench: Bench) -> None:
    """Also from threads, and nothing of a run that failed, or of the import, is left for the next one."""
    source = """
        import threading
        import headrace

        try:
            headrace.publish("at/import")
        except RuntimeError as error:
            SAID = str(error)

        def main(payload: bytes):
            thread = threading.Thread(target=headrace.publish, args=("a/thread", payload))
            thread.start()
            thread.join()
            for n in range(1000 if payload == b"flood" else 1):
                headrace.publish("a/b", payload)
            return SAID
    """
    runner = bench.start(source)

    first, flood, last = bench.run(runner, b"1", b"flood", b"3")

    assert first.messages == (Message("a/thread", b"1"), Message("a/b", b"1"))
    assert result(first) == "headrace.publish is for main and preprocessor: no run executes now"
    assert flood.error is not None
    assert flood.error.message == "a run may publish 1000 messages: publish fewer, or larger ones"
    assert last.messages == (Message("a/thread", b"3"), Message("a/b", b"3"))
