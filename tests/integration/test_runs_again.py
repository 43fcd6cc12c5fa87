"""`headrace runs again`: what a run did, once more, as a new run that points at the old one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from shared import keys
from shared.definitions import Script, encode_definition
from shared.store import Store
from tests.support.command_line import CommandLine
from tests.support.eventually import eventually
from tests.support.factories import TRIGGER, counters
from tests.support.processes import HeadraceProcess
from tests.support.workers import FAST, SCRIPT, deploy, queue_runs, states

StartProcess = Callable[..., HeadraceProcess]
SHOWS = """
    import headrace
    def main(payload: bytes, factor=1):
        return {"payload": payload.decode(), "factor": factor, "key": headrace.run.idempotency_key}
    """


@pytest.fixture
def command(redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The command line on that server."""
    return CommandLine(redis_url, monkeypatch, capsys)


@pytest.fixture
def worker(headrace: StartProcess, redis_url: str) -> HeadraceProcess:
    """A worker that is ready."""
    return headrace("worker", REDIS_URL=redis_url, **FAST).wait_ready()


def test_the_same_message_is_run_again_as_a_new_run(
    store: Store, worker: HeadraceProcess, command: CommandLine
) -> None:
    """With a key of its own, listed under its trigger, outside the books."""
    queue_runs(store, deploy(store, SHOWS), "q2-s-1-1", payload=b"21.5")
    eventually(lambda: states(store, "q2-s-1-1") == ["succeeded"])
    books = counters(store)
    shown = command.json("runs", "again", "q2-s-1-1", "--wait")
    old = command.json("runs", "show", "q2-s-1-1")

    assert shown["id"].startswith("q2-replay-")
    assert shown["result"] == {"payload": "21.5", "factor": 1, "key": shown["idempotency_key"]}
    assert (shown["origin"], shown["parent"], shown["source"]) == ("replay", "q2-s-1-1", "replay")
    assert (shown["topic"], shown["trigger"], shown["state"]) == ("demo/hello", TRIGGER, "succeeded")
    assert shown["runnable_version"] == old["runnable_version"]
    assert (old["state"], old["result"]["key"]) == ("succeeded", "s-1-1")
    assert [run["id"] for run in command.lines("runs", "--trigger", TRIGGER)] == [shown["id"], "q2-s-1-1"]
    assert counters(store) == books
    assert "run q2-s-1-1 again" in command.text("runs", "show", shown["id"])
    assert worker.running


def test_single_arguments_can_be_edited(
    store: Store, worker: HeadraceProcess, command: CommandLine, tmp_path: Path
) -> None:
    """Over those that main had; or all of them from a file."""
    queue_runs(store, deploy(store, SHOWS), "q1-s-1-1", payload=b"21.5")
    eventually(lambda: states(store, "q1-s-1-1") == ["succeeded"])
    edited = command.json("runs", "again", "q1-s-1-1", "--arg", "factor=[2, 3]", "--wait")
    once_more = command.json("runs", "again", edited["id"], "--arg", "factor=text", "--wait")
    file = tmp_path / "args.json"
    file.write_text(json.dumps({"payload": "aGk="}), encoding="utf-8")
    replaced = command.json("runs", "again", "q1-s-1-1", "--args", file, "--wait")

    assert (edited["result"]["payload"], edited["result"]["factor"]) == ("21.5", [2, 3])
    assert edited["args"] == {"payload": "MjEuNQ==", "factor": [2, 3]}
    assert (once_more["result"]["factor"], once_more["parent"]) == ("text", edited["id"])
    assert (replaced["result"]["payload"], replaced["args"]) == ("hi", {"payload": "aGk="})
    assert worker.running


def test_arguments_that_a_preprocessor_made_are_recorded_and_can_be_edited(
    store: Store, worker: HeadraceProcess, command: CommandLine
) -> None:
    """Labels are recorded with them."""
    source = """
        def preprocessor(event):
            return {"site": event["topic"], "n": 1}
        def main(site, n):
            return {"got": [site, n], "wm_labels": ["hot"]}
        """
    queue_runs(store, deploy(store, source, has_preprocessor=True), "q1-s-1-1")
    eventually(lambda: states(store, "q1-s-1-1") == ["succeeded"])
    shown = command.json("runs", "show", "q1-s-1-1")
    edited = command.json("runs", "again", "q1-s-1-1", "--arg", "n=7", "--wait")

    assert shown["attempts_ended"][0]["arguments"] == {"site": "demo/hello", "n": 1}
    assert [run["id"] for run in command.lines("runs", "--label", "hot")] == [edited["id"], "q1-s-1-1"]
    assert edited["result"]["got"] == ["demo/hello", 7]
    assert worker.running


def test_arguments_that_are_not_known_cannot_be_edited_one_by_one(store: Store, command: CommandLine) -> None:
    """The preprocessor of a run that was never executed has made none."""
    queue_runs(store, deploy(store, "def preprocessor(event): ...", has_preprocessor=True), "q1-s-1-1")
    said = command("runs", "again", "q1-s-1-1", "--arg", "n=7")

    assert (said.status, "--args FILE" in said.err) == (1, True)
    assert command("runs", "again", "q1-s-1-1", "--arg", "7").status == 2
    assert command("runs", "again", "q1-none-1-1").status == 1


def test_the_version_of_now_is_run_if_that_is_asked_for(
    store: Store, worker: HeadraceProcess, command: CommandLine
) -> None:
    """Otherwise that of then."""
    queue_runs(store, deploy(store, SHOWS), "q1-s-1-1")
    refused = command("runs", "again", "q1-s-1-1", "--latest")
    version, blob = encode_definition(
        Script(SCRIPT, "python3", "f/t/script.py", {"f/t/script.py": "def main(): raise ValueError('new')"})
    )
    store.command("HSET", keys.DEFINITIONS, version, blob)
    store.command("HSET", keys.DEPLOYED, f"script:{SCRIPT}", version)
    said = command("runs", "again", "q1-s-1-1", "--latest", "--wait", "--json")
    shown = json.loads(said.out)

    assert (refused.status, "is not deployed now" in refused.err) == (1, True)
    assert (said.status, shown["state"], shown["error"]["message"]) == (1, "failed", "new")
    assert (shown["runnable_version"], worker.running) == (version, True)
