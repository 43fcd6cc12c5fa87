"""Sessions that triggers leave behind, at a real Mosquitto: shown, drained, ended, taken up again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from shared import keys
from shared.deploy import read_current
from shared.store import Store
from tests.support.command_line import CommandLine, Said
from tests.support.eventually import eventually
from tests.support.ingest import FAST, inbox, inbox_keys, inbox_length, is_subscribed, send, session_field
from tests.support.mosquitto import Mosquitto
from tests.support.mqtt_sessions import has_session
from tests.support.processes import HeadraceProcess
from tests.support.workspaces import trigger_yaml, write_workspace

Start = Callable[..., HeadraceProcess]
SCRIPT = "def main(payload: bytes): ...\n"
WAITING = 500


@pytest.fixture
def command(redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The command line on that server."""
    return CommandLine(redis_url, monkeypatch, capsys)


@pytest.fixture
def ingest(headrace: Start, redis_url: str) -> HeadraceProcess:
    """An ingest process that does not wait long."""
    return headrace("ingest", REDIS_URL=redis_url, **FAST)


class Folder:
    """A workspace with the triggers that a test has now, at QoS 2."""

    def __init__(self, path: Path, port: int, command: CommandLine, store: Store) -> None:
        self.path = path
        self.port = port
        self._command = command
        self._store = store

    def push(self, **triggers: str) -> dict[str, Any]:
        """Deploy exactly these triggers: name → topic, with further lines of its file after a line end."""
        for file in self.path.glob("f/t/*.mqtt_trigger.yaml"):
            file.unlink()
        files = {}
        for name, text in triggers.items():
            topic, _, extra = text.partition("\n")
            version = "v3" if name.startswith("old") else "v5"
            files[name] = trigger_yaml("s", (topic, 2), version=version, extra=extra)
        write_workspace(self.path, self.port, files, {"s": SCRIPT})
        report: dict[str, Any] = self._command.json("push", self.path, "--prune", "--yes")
        return report

    def session(self, name: str) -> str:
        """The session of a deployed trigger."""
        return read_current(self._store, create_id=False).triggers[f"f/t/{name}"].session

    def client_id(self, name: str) -> str:
        """Its client id."""
        return read_current(self._store, create_id=False).triggers[f"f/t/{name}"].client_id

    def connected(self, name: str) -> str:
        """The session, once it is subscribed."""
        session = self.session(name)
        eventually(lambda: is_subscribed(self._store, session))
        return session


@pytest.fixture
def folder(tmp_path: Path, mosquitto: Mosquitto, command: CommandLine, store: Store) -> Folder:
    """A workspace for Mosquitto."""
    return Folder(tmp_path / "ws", mosquitto.port, command, store)


@contextmanager
def ingest_is_away(process: HeadraceProcess) -> Iterator[None]:
    """Meanwhile nobody holds a session."""
    process.sigterm()
    yield
    process.start()


def messages(topic: str = "x") -> list[tuple[str, bytes, int]]:
    """Distinct messages of QoS 2."""
    return [(topic, b"%d" % number, 2) for number in range(WAITING)]


def leave_messages(folder: Folder, ingest: HeadraceProcess, name: str = "a", then: dict[str, str] | None = None) -> str:
    """A trigger that is gone, with messages waiting in its session; the session."""
    folder.push(keep="other", **{name: "x"})
    session = folder.connected(name)
    with ingest_is_away(ingest):
        send(folder.port, *messages())
        folder.push(keep="other", **(then or {}))
    return session


@pytest.mark.parametrize("name", ["a", "old"])
def test_draining_runs_exactly_what_waits_and_ends_the_session(
    name: str, folder: Folder, store: Store, ingest: HeadraceProcess, command: CommandLine
) -> None:
    """500 messages of QoS 2 for a trigger that was deleted, on MQTT 5 and 3.1.1."""
    folder.push(keep="other", **{name: "x"})
    client_id, version = (
        folder.client_id(name),
        read_current(store, create_id=False).deployed.versions[f"trigger:f/t/{name}"],
    )
    session = leave_messages(folder, ingest, name)
    row = next(row for row in command.lines("sessions") if row["session"] == session)
    asked = command.json("sessions", "drain", session)

    assert (row["state"], row["trigger"], row["client_id"]) == ("left", f"f/t/{name}", client_id)
    assert (asked["done"], asked["drained"]) == (True, WAITING)
    found = inbox(store)
    assert sorted(int(each.payload) for each in found) == list(range(WAITING))
    assert {each.trigger_version for each in found} == {version}
    assert not asyncio.run(has_session(folder.port, client_id))
    assert session not in [row["session"] for row in command.lines("sessions")]
    assert store.command("HLEN", keys.LEFT) == 0
    assert not store.command("EXISTS", keys.inflight(session), keys.lease(session))


def test_ending_throws_away_what_waits(
    folder: Folder, store: Store, ingest: HeadraceProcess, command: CommandLine
) -> None:
    """The broker keeps nothing, and nothing is run."""
    folder.push(keep="other", a="x")
    client_id = folder.client_id("a")
    session = leave_messages(folder, ingest)
    asked = command.json("sessions", "end", session)

    assert asked["done"]
    assert inbox_length(store) == 0
    assert not asyncio.run(has_session(folder.port, client_id))


@pytest.mark.usefixtures("ingest")
def test_a_push_says_what_a_deleted_trigger_leaves(folder: Folder, command: CommandLine) -> None:
    """With the session's id, and what can be done; a dry run says it too, and does nothing."""
    folder.push(keep="other", a="x")
    session = folder.connected("a")
    (folder.path / "f/t/a.mqtt_trigger.yaml").unlink()
    rehearsed = command.json("push", folder.path, "--prune", "--dry-run")
    said = command.text("push", folder.path, "--prune", "--yes")

    assert [(each["session"], each["why"]) for each in rehearsed["sessions_left"]] == [(session, "deleted")]
    assert f"trigger f/t/a is deleted and leaves the session {session}" in said
    assert f"headrace sessions drain {session}" in said


def test_a_kill_in_the_middle_of_a_drain_loses_and_repeats_nothing(
    folder: Folder, store: Store, ingest: HeadraceProcess, command: CommandLine
) -> None:
    """Whenever it comes; the next process begins anew, and knows what was stored."""
    folder.push(keep="other", a="x")
    client_id = folder.client_id("a")
    session = leave_messages(folder, ingest)
    command("sessions", "drain", session, "--wait", "0")
    for enough in (1, WAITING // 2, WAITING):
        eventually(partial(_has, store, enough))
        ingest.kill9()
        ingest.start()
    asked = command.json("sessions", "drain", session)

    assert (asked["done"], asked["drained"]) == (True, WAITING)
    assert sorted(int(each.payload) for each in inbox(store)) == list(range(WAITING))
    assert len(set(inbox_keys(store))) == WAITING
    assert not asyncio.run(has_session(folder.port, client_id))


def test_several_processes_end_a_session_once(
    folder: Folder, store: Store, ingest: HeadraceProcess, headrace: Start, redis_url: str, command: CommandLine
) -> None:
    """Those that have not heard yet that it is over do not begin another one at the broker."""
    others = [headrace("ingest", REDIS_URL=redis_url, **FAST) for _ in range(2)]
    folder.push(keep="other", a="x")
    client_id = folder.client_id("a")
    session = leave_messages(folder, ingest)
    assert command.json("sessions", "end", session)["done"]
    numbers = [row["epoch"] for row in command.lines("sessions") if row["trigger"] == "f/t/keep"]
    eventually(lambda: not store.command("EXISTS", keys.lease(session)))
    for other in others:
        assert other.sigterm() == 0

    assert numbers == [1]
    assert session_field(store, "epoch", session) == "1"
    assert not store.command("SISMEMBER", keys.SESSIONS, session)
    assert not asyncio.run(has_session(folder.port, client_id))


def test_a_trigger_that_comes_back_goes_on_with_its_session(
    folder: Folder, store: Store, ingest: HeadraceProcess, command: CommandLine
) -> None:
    """A deletion that was a mistake costs nothing: what waited runs, once."""
    session = leave_messages(folder, ingest)
    report = folder.push(keep="other", a="x")

    assert report["sessions_taken_up"] == [session]
    assert folder.session("a") == session
    eventually(lambda: inbox_length(store) == WAITING)
    assert sorted(int(each.payload) for each in inbox(store)) == list(range(WAITING))
    assert command("sessions", "drain", session).status == 1


def test_a_disabled_trigger_keeps_its_session(
    folder: Folder, store: Store, ingest: HeadraceProcess, command: CommandLine
) -> None:
    """It is shown with the time until which messages wait; they come when it is enabled again."""
    disabled = "x\nmode: disabled\n"
    session = leave_messages(folder, ingest, then={"a": disabled})
    row = next(row for row in command.lines("sessions") if row["session"] == session)
    said = command.text("sessions")
    folder.push(keep="other", a="x")

    assert (row["state"], row["waits"], row["until"] > row["left_at"]) == ("disabled", "until", True)
    assert f"disabled  f/t/a     until {row['until'][:4]}" in said
    eventually(lambda: inbox_length(store) == WAITING)
    assert folder.session("a") == session


def test_a_disabled_trigger_that_was_drained_begins_anew_when_it_is_enabled(
    folder: Folder, store: Store, ingest: HeadraceProcess, command: CommandLine
) -> None:
    """Under its id, in a new epoch, and with keys that never came before."""
    session = leave_messages(folder, ingest, then={"a": "x\nmode: disabled\n"})
    asked = command.json("sessions", "drain", session)
    folder.push(keep="other", a="x")
    assert folder.connected("a") == session
    send(folder.port, ("x", b"new", 2))

    assert asked["drained"] == WAITING
    eventually(lambda: inbox_length(store) == WAITING + 1)
    assert len(set(inbox_keys(store))) == WAITING + 1
    assert session_field(store, "epoch", session) == "2"


def test_another_client_id_begins_a_session_of_its_own(
    folder: Folder, store: Store, ingest: HeadraceProcess, command: CommandLine
) -> None:
    """The old one is left behind with what waits in it, and can be drained beside the new one."""
    session = leave_messages(folder, ingest, then={"a": "x\nclient_id: other\n"})
    row = next(row for row in command.lines("sessions") if row["session"] == session)
    assert folder.connected("a") != session
    assert (row["state"], inbox_length(store)) == ("left", 0)
    asked = command.json("sessions", "drain", session)
    send(folder.port, ("x", b"new", 2))

    assert asked["drained"] == WAITING
    eventually(lambda: inbox_length(store) == WAITING + 1)
    assert {each.payload for each in inbox(store)} == {b"new", *(body for _, body, _ in messages())}
    assert is_subscribed(store, folder.session("a"))


def test_another_broker_leaves_the_session_at_the_first_one(
    folder: Folder, store: Store, ingest: HeadraceProcess, command: CommandLine, tmp_path: Path
) -> None:
    """Once the other broker has said that it has none; coming back, the trigger goes on with the first one."""
    folder.push(keep="other", a="x")
    first, session = folder.port, folder.connected("a")
    with Mosquitto(tmp_path / "second") as second:
        second.start()
        with ingest_is_away(ingest):
            send(first, *messages())
            folder.port = second.port
            assert folder.push(keep="other", a="x")["sessions_moving"] == ["f/t/a", "f/t/keep"]
        left = f"{session}_1"
        eventually(lambda: left in [row["session"] for row in command.lines("sessions")])
        eventually(lambda: is_subscribed(store, session))
        send(second.port, ("x", b"at the second", 2))
        eventually(lambda: inbox_length(store) == 1)
        folder.port = first
        report = folder.push(keep="other", a="x")

        assert left in report["sessions_taken_up"]
        assert folder.session("a") == left
        eventually(lambda: inbox_length(store) == 1 + WAITING)
        assert len(set(inbox_keys(store))) == 1 + WAITING
        row = next(row for row in command.lines("sessions") if row["session"] == session)
        assert (row["state"], row["broker"]) == ("left", f"127.0.0.1:{second.port}")
        assert command.json("sessions", "drain", session)["done"]


def test_a_broker_under_another_name_is_still_the_same(
    folder: Folder, store: Store, ingest: HeadraceProcess, command: CommandLine
) -> None:
    """What waits there is received, and nothing is left behind."""
    folder.push(keep="other", a="x")
    session = folder.connected("a")
    with ingest_is_away(ingest):
        send(folder.port, *messages())
        folder.push(keep="other", a="x")
        resource = folder.path / "f/t/broker.resource.yaml"
        resource.write_text(resource.read_text().replace("127.0.0.1", "localhost"))
        command.json("push", folder.path)

    eventually(lambda: inbox_length(store) == WAITING)
    eventually(lambda: is_subscribed(store, session))
    assert session_field(store, "epoch", session) == "1"
    assert store.command("HLEN", keys.LEFT) == 0


def test_a_session_at_a_broker_that_is_gone_is_forgotten(
    folder: Folder, store: Store, ingest: HeadraceProcess, command: CommandLine, mosquitto: Mosquitto
) -> None:
    """Draining says why it does not succeed; the record can be removed, and its numbers never begin anew."""
    session = leave_messages(folder, ingest)
    mosquitto.sigterm()
    asked: list[Said] = []

    def says_why() -> bool:
        asked.append(command("sessions", "drain", session, "--wait", "3", "--json"))
        return "reconnecting" in asked[-1].err

    eventually(says_why, 60)
    forgotten = command.json("sessions", "forget", session)

    assert {said.status for said in asked} == {1}
    assert forgotten == {"session": session, "forgotten": True}
    assert session not in [row["session"] for row in command.lines("sessions")]
    assert session_field(store, "epoch", session) == "1"
    assert command("sessions", "forget", session).status == 1


def _has(store: Store, count: int) -> bool:
    return inbox_length(store) >= count
