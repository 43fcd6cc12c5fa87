"""Alerts, from a workspace on disk to the script and the webhook that are told: with whatever process still lives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared import keys
from shared.alerts.model import Notice, encode
from shared.scripts.alerts import ROLE, alerts_record, alerts_told
from shared.scripts.outgoing import role_hold
from shared.status import read_status
from shared.store import Store
from tests.support.command_line import CommandLine
from tests.support.eventually import eventually
from tests.support.factories import HeldSession, make_envelope
from tests.support.ports import free_port
from tests.support.processes import HeadraceProcess
from tests.support.webhook import WebhookServer
from tests.support.workspaces import trigger_yaml, write_workspace

Start = Callable[..., HeadraceProcess]
SECRET = "correct-horse-battery"
TELL = """
import json, os

def main(kind: str, status: str, what: str, fix: str, since: str, subjects: list, channel: str):
    with open("@LOG@", "a") as log:
        log.write(json.dumps([kind, status, what, subjects, channel]) + "\\n")
"""
FAST = {
    "HEADRACE_ALERTS__EVERY_S": "0.2",
    "HEADRACE_WORKER__LEASE_TTL_MS": "1500",
    "HEADRACE_SECRET_KEY": "a key for this test alone",
}
EVERYTHING = """
alerts:
  runnable: f/t/tell
  args: {channel: boiler-room}
  webhook:
    url: $var:f/t/hook
    headers: {Authorization: $var:f/t/token}
  session_after_s: 1
  stalled_after_s: 1
  backlog_age_s: 2
  quiet_s: 0
"""


class World:
    """A workspace with a trigger whose broker is away, and a place that is told of it."""

    def __init__(self, tmp_path: Path, url: str, hook: WebhookServer, command: CommandLine) -> None:
        self.url = url
        self.hook = hook
        self.store = Store.connect(url)
        self.command = command
        self.held: HeldSession | None = None
        self.log = tmp_path / "told"
        self.env = FAST | {"REDIS_URL": url, "HEADRACE_DATA": str(tmp_path / "data")}
        scripts = {
            "s": "def main(payload: bytes): raise ValueError('no')",
            "tell": TELL.replace("@LOG@", str(self.log)),
        }
        self.folder = write_workspace(
            tmp_path / "ws", free_port(), {"a": trigger_yaml("s", ("x", 1), extra="")}, scripts
        )
        variables = {"hook": (hook.url + "/h/" + SECRET, "true"), "token": (SECRET, "true")}
        for name, (value, is_secret) in variables.items():
            text = f"value: {value}\nis_secret: {is_secret}\n"
            (self.folder / "f" / "t" / f"{name}.variable.yaml").write_text(text)

    def push(self, defaults: str = EVERYTHING) -> None:
        """Deploy it with this headrace.yaml."""
        (self.folder / "headrace.yaml").write_text(defaults)
        self.command.json("push", self.folder)

    def told(self) -> list[list[Any]]:
        """What the script was told: kind, status, what, subjects, and its own argument."""
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def admit(self) -> None:
        """A message that nobody has dispatched yet."""
        trigger = self.store.command("HGET", keys.DEPLOYED, "trigger:f/t/a").decode()
        self.held = self.held or HeldSession(self.store)
        self.held.admit(make_envelope(trigger="f/t/a", trigger_version=trigger, topic="x"))


@pytest.fixture
def world(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[World]:
    """On the shared server, emptied."""
    for name, value in FAST.items():
        monkeypatch.setenv(name, value)
    with WebhookServer() as hook:
        made = World(tmp_path, redis_url, hook, CommandLine(redis_url, monkeypatch, capsys))
        yield made
        made.store.close()


def test_a_session_that_does_not_come_about_is_told_to_script_and_webhook(world: World, headrace: Start) -> None:
    """Once to each, by two processes; the run stands outside the books; nothing of the secrets is said."""
    world.push(EVERYTHING + "  kinds: [session]\n")
    processes = [headrace("ingest", **world.env), headrace("worker", **world.env)]
    eventually(lambda: world.hook.of("session") and world.told(), 30)
    runs = [each.decode() for each in world.store.command("ZRANGE", keys.RUNS, 0, -1)]
    shown = world.command("alerts").out

    assert len(world.hook.of("session")) == len(world.told()) == len(runs) == 1
    (body,), ((kind, status, what, subjects, channel),) = world.hook.of("session"), world.told()
    assert (kind, status, subjects, channel) == ("session", "active", ["f/t/a"], "boiler-room")
    assert what == body["what"]
    assert "reconnecting" in what
    assert body["text"].startswith("Headrace: ")
    assert (world.hook.posted[0].path, world.hook.posted[0].headers["Authorization"]) == (f"/h/{SECRET}", SECRET)
    assert runs[0] == f"q2-alert-{body['id']}"
    assert all(identity.holds for identity in read_status(world.store, world.url).identities)
    assert all(SECRET not in text for text in [shown, *[process.output for process in processes]])


@pytest.mark.parametrize("lives", ["worker", "ingest", "console"])
def test_a_dispatcher_that_is_away_is_told_by_whoever_lives(world: World, headrace: Start, lives: str) -> None:
    """While there are messages for it."""
    world.push(EVERYTHING.replace("  runnable: f/t/tell\n", ""))
    world.admit()
    port = {"HEADRACE_CONSOLE__PORT": str(free_port())}
    headrace(lives, **world.env, **port).wait_ready()
    eventually(lambda: any("dispatch" in body["subjects"] for body in world.hook.of("stalled")), 30)

    assert all(body["status"] == "active" for body in world.hook.of("stalled"))


def test_workers_that_are_away_are_told_to_the_webhook_at_once_and_to_the_script_later(
    world: World, headrace: Start
) -> None:
    """The webhook hangs on no worker; the script's run waits for one."""
    world.push()
    world.admit()
    headrace("dispatch", **world.env).wait_ready()
    eventually(lambda: any("no worker lives" in body["what"] for body in world.hook.of("stalled")), 30)
    assert world.told() == []
    headrace("worker", **world.env).wait_ready()

    eventually(lambda: any("no worker lives" in each[2] for each in world.told()), 30)


def test_new_dead_letters_are_told_once_and_an_alert_that_fails_tells_nobody(world: World, headrace: Start) -> None:
    """Else each alert would bring the next."""
    (world.folder / "f" / "t" / "tell.py").write_text("def main(kind): raise ValueError('deaf')\n")
    world.push(EVERYTHING + "  kinds: [dead_letters]\n")
    for name in ("dispatch", "worker"):
        headrace(name, **world.env).wait_ready()
    eventually(lambda: world.store.command("HEXISTS", keys.ALERTS, "dead_letters:"))
    world.admit()
    eventually(lambda: world.hook.of("dead_letters"), 30)
    eventually(lambda: world.store.command("ZCARD", keys.DEAD) == 2)
    world.admit()
    eventually(lambda: len(world.hook.of("dead_letters")) == 2, 30)
    eventually(lambda: world.store.command("ZCARD", keys.DEAD) == 4)

    assert [body["what"] for body in world.hook.of("dead_letters")] == ["1 new dead letters: 1 of f/t/a"] * 2
    assert world.store.command("HGETALL", keys.DEAD_MADE) == {b"f/t/a": b"2"}


def test_a_webhook_that_fails_is_tried_again_and_holds_up_nobody(world: World, headrace: Start) -> None:
    """The script hears of it meanwhile; the address is not logged."""
    world.push(EVERYTHING + "  kinds: [session]\n")
    world.hook.answer = 503
    processes = [headrace(name, **world.env).wait_ready() for name in ("ingest", "worker")]
    eventually(lambda: world.hook.of("session") and world.told(), 30)
    eventually(lambda: "the webhook answered 503" in processes[0].output + processes[1].output)
    world.hook.answer = 200
    eventually(lambda: len(world.hook.of("session")) > 1, 30)
    eventually(lambda: all(not each["waits"] for each in world.command.json("alerts")["notices"]), 30)

    assert {body["id"] for body in world.hook.of("session")} == {world.hook.of("session")[0]["id"]}
    assert [told[0] for told in world.told()].count("session") == 1
    assert all(SECRET not in process.output and world.hook.url not in process.output for process in processes)


def test_what_was_told_is_not_told_again_by_the_next_process(world: World, headrace: Start) -> None:
    """Whoever takes over after a kill -9 knows what the other one knew."""
    world.push(EVERYTHING.replace("  runnable: f/t/tell\n", "") + "  kinds: [stalled]\n")
    world.admit()
    first = headrace("worker", **world.env).wait_ready()
    eventually(lambda: any("dispatch" in body["subjects"] for body in world.hook.of("stalled")), 30)
    eventually(lambda: all(not each["waits"] for each in world.command.json("alerts")["notices"]))
    holder = world.store.command("GET", keys.role("alerts"))
    first.kill9()
    world.store.command("PEXPIRE", keys.role("alerts"), 1)
    headrace("worker", **world.env).wait_ready()
    eventually(lambda: world.store.command("GET", keys.role("alerts")) not in {None, holder})
    world.admit()
    eventually(lambda: b"2 messages wait" in world.store.command("HGET", keys.ALERTS, "stalled:dispatch"))

    assert json.loads(world.store.command("HGET", keys.ALERTS, "stalled:dispatch"))["open"]
    assert sum("dispatch" in body["subjects"] for body in world.hook.of("stalled")) == 1


def test_only_the_process_that_looks_after_alerts_writes_them_down(world: World) -> None:
    """One that stood still and was taken over for dead tells nothing; the oldest notices go."""
    notices = {f"{n}-0": b"{}" for n in range(5)}
    assert world.store.run(role_hold(ROLE, "first", 60_000))
    assert not world.store.run(alerts_record("second", {"stalled:x": b"{}"}, notices, 3))
    assert world.store.command("EXISTS", keys.ALERTS, keys.ALERTS_NOTICES) == 0
    assert world.store.run(alerts_record("first", {"stalled:x": b"{}"}, notices, 3))
    assert world.store.run(alerts_record("first", {}, {}, 3))

    assert world.store.command("EXISTS", keys.ALERTS) == 0
    assert sorted(world.store.command("HKEYS", keys.ALERTS_NOTICES)) == [b"2-0", b"3-0", b"4-0"]
    assert not world.store.run(alerts_told("0-0", b"{}"))


def test_what_a_broker_has_said_is_never_taken_for_a_reference(world: World, headrace: Start) -> None:
    """Its reason is in the notice; only what the workspace adds has its references put in place."""
    world.push(EVERYTHING.replace("channel: boiler-room", "channel: $var:f/t/token"))
    said = Notice("1-0", "session", "active", ["$var:f/t/token"], "$var:f/t/token", "", 1, 1, waits=["runnable"])
    world.store.run(alerts_told("1-0", encode(said), new=True))
    headrace("worker", **world.env).wait_ready()

    eventually(lambda: ["session", "active", "$var:f/t/token", ["$var:f/t/token"], SECRET] in world.told())


def test_the_alerts_can_be_tried_out(world: World, headrace: Start) -> None:
    """On the way that real ones take; it says who did not accept it, and that nobody lives who would tell."""
    world.push()
    assert "no process of Headrace lives" in world.command("alerts", "test", "--wait", "0").err
    headrace("worker", **world.env).wait_ready()
    eventually(lambda: world.hook.of("test"))
    good = world.command.json("alerts", "test")
    world.hook.answer = 403
    bad = world.command("alerts", "test", "--json")

    assert (good["waits"], good["error"], good["run"]) == ([], None, f"q2-alert-{good['id']}")
    assert (bad.status, json.loads(bad.out)["error"]) == (1, "webhook: the webhook answered 403")
    eventually(lambda: len([each for each in world.told() if each[0] == "test"]) == 3)


def test_where_nobody_is_named_it_is_listed_all_the_same(world: World, headrace: Start) -> None:
    """With what to do about it."""
    world.push("retention: {runs_max: 5}\n")
    headrace("worker", **world.env).wait_ready()
    found = eventually(lambda: world.command.json("alerts")["active"])

    assert ("stalled", "ingest", "start headrace ingest") in {
        (each["kind"], each["subject"], each["fix"]) for each in found
    }
    assert "nobody is told" in world.command("alerts").err
    assert "hint: name a runnable or a webhook" in world.command("alerts", "test").err
