"""`headrace trigger` and `headrace capture` against a real server, a real broker and real processes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from shared import keys
from shared.definitions import File
from shared.deploy import read_all, read_now
from shared.deployments import read_kept
from shared.store import Store
from tests.support.amqtt_broker import AmqttBroker
from tests.support.burst import Publisher
from tests.support.eventually import eventually
from tests.support.mosquitto import Mosquitto
from tests.support.pipeline import COMMAND, Pipeline
from tests.support.ports import free_port
from tests.support.processes import headrace_env
from tests.support.workspaces import RECORDER, trigger_yaml, write_workspace

PATH = "f/t/a"
FILE = f"{PATH}.mqtt_trigger.yaml"
SCRIPT = "def main(payload: bytes):\n    return payload.decode()\n"
PREPROCESSOR = """\
def preprocessor(event):
    return {"topic": event["topic"]}


def main(topic: str):
    print("seen", topic)
    return topic
"""


@pytest.fixture
def pipeline(tmp_path: Path, redis_url: str) -> Iterator[Pipeline]:
    """Processes that end with the test."""
    made = Pipeline(tmp_path, redis_url)
    yield made
    made.close()


def text_of(store: Store) -> str:
    """The trigger's file as it is deployed."""
    return read_all(store, read_now(store).of_kind("file"), File)[FILE].text


def test_a_mode_is_changed_by_a_deployment_of_the_triggers_file(pipeline: Pipeline, store: Store) -> None:
    """One line of it, with author and message; the client id and the session stay."""
    extra = "# a comment\nmode: enabled # why\n"
    pipeline.push(
        write_workspace(
            pipeline.folder / "ws", free_port(), {"a": trigger_yaml("s", ("x", 1), extra=extra)}, {"s": SCRIPT}
        )
    )
    before = text_of(store)
    (changed,) = (
        json.loads(line) for line in pipeline.headrace("trigger", "suspend", PATH, "-m", "leak", "--json").splitlines()
    )

    assert (changed["was"], changed["mode"], changed["deployment"]) == ("enabled", "suspended", 2)
    assert text_of(store) == before.replace("mode: enabled # why", "mode: suspended # why")
    newest = read_kept(store).deployments[0]
    assert (newest.message, newest.author.startswith("trigger suspend by ")) == ("leak", True)
    assert {name.partition(":")[0] for name in newest.changed} == {"trigger", "file"}
    assert "is suspended already" in pipeline.headrace("trigger", "suspend", PATH)
    for verb, mode in [("disable", "disabled"), ("enable", "enabled")]:
        pipeline.headrace("trigger", verb, PATH)
        (row,) = (json.loads(line) for line in pipeline.headrace("trigger", "list", "--json").splitlines())
        assert (row["mode"], text_of(store)) == (mode, before.replace("mode: enabled #", f"mode: {mode} #"))
    pipeline.headrace("trigger", "enable", "f/t/none", expect=1)


def test_messages_wait_while_a_trigger_is_suspended_and_run_when_it_is_resumed(
    pipeline: Pipeline, mosquitto: Mosquitto, store: Store
) -> None:
    """It stays connected, every process is killed meanwhile, and each message runs once."""
    log = pipeline.folder / "ran"
    script = RECORDER.replace("@LOG@", str(log))
    pipeline.push(
        write_workspace(pipeline.folder / "ws", mosquitto.port, {"a": trigger_yaml("s", ("x", 2))}, {"s": script})
    )
    pipeline.start("ingest", "dispatch", "worker")
    pipeline.wait_connected(PATH)
    pipeline.headrace("trigger", "suspend", PATH)
    connections = store.command("HGET", keys.session(session_of(pipeline)), "connection")
    publisher = Publisher(mosquitto.port)
    publisher.publish("x", [f"m{n}" for n in range(100)], 2)
    for label in ("dispatch", "worker"):
        pipeline.kill(label)
    publisher.publish("x", [f"m{n}" for n in range(100, 200)], 2)
    pipeline.restart_dead()
    eventually(lambda: row_of(pipeline)["suspended"] == 200, 20, 0.2)
    publisher.close()

    assert not log.exists()
    assert row_of(pipeline)["session"] == "connected"
    assert store.command("HGET", keys.session(session_of(pipeline)), "connection") == connections
    shown = pipeline.headrace("trigger", "show", PATH)
    assert "suspended 200" in shown
    first = pipeline.runs("--state", "suspended")[-1]["id"]
    pipeline.headrace("trigger", "resume", PATH, "--run", first)
    eventually(lambda: log.exists() and len(log.read_text().splitlines()) == 1)
    assert row_of(pipeline)["mode"] == "suspended"
    pipeline.headrace("trigger", "resume", PATH, "--run", first, expect=1)
    assert "199 queued" in pipeline.headrace("trigger", "resume", PATH)
    eventually(lambda: len(log.read_text().splitlines()) == 200, 20)
    assert sorted(line.split()[-1] for line in log.read_text().splitlines()) == sorted(f"m{n}" for n in range(200))
    assert row_of(pipeline)["mode"] == "enabled"
    status = eventually(
        lambda: (found := pipeline.status())["counters"]["total"]["succeeded"] == 200 and found, 10, 0.2
    )
    assert all(identity["holds"] for identity in status["identities"])


def test_what_waits_can_be_discarded(pipeline: Pipeline, mosquitto: Mosquitto) -> None:
    """With consent; the trigger stays suspended."""
    extra = "mode: suspended\n"
    pipeline.push(
        write_workspace(
            pipeline.folder / "ws", mosquitto.port, {"a": trigger_yaml("s", ("x", 1), extra=extra)}, {"s": SCRIPT}
        )
    )
    pipeline.start("ingest", "dispatch")
    pipeline.wait_connected(PATH)
    publisher = Publisher(mosquitto.port)
    publisher.publish("x", ["a", "b", "c"], 1)
    publisher.close()
    eventually(lambda: row_of(pipeline)["suspended"] == 3, 10, 0.2)

    pipeline.headrace("trigger", "discard", PATH, expect=2)
    assert "3 discarded" in pipeline.headrace("trigger", "discard", PATH, "--yes")
    assert (row_of(pipeline)["suspended"], row_of(pipeline)["mode"]) == (0, "suspended")
    assert {run["state"] for run in pipeline.runs()} == {"cancelled"}


def test_disabling_tells_what_waits_and_drains_the_session_where_asked_to(
    pipeline: Pipeline, mosquitto: Mosquitto, store: Store
) -> None:
    """What is stored runs, also what the broker still had; then it has nothing, and nothing more comes."""
    log = pipeline.folder / "ran"
    script = RECORDER.replace("@LOG@", str(log))
    pipeline.push(
        write_workspace(pipeline.folder / "ws", mosquitto.port, {"a": trigger_yaml("s", ("x", 1))}, {"s": script})
    )
    pipeline.start("ingest")
    pipeline.wait_connected(PATH)
    publisher = Publisher(mosquitto.port)
    publisher.publish("x", ["stored"], 1)
    eventually(lambda: store.command("XLEN", keys.INBOX) == 1)
    kept = subprocess.run(
        [*COMMAND, "trigger", "disable", PATH],
        cwd=pipeline.folder, env=headrace_env(pipeline.env), capture_output=True, text=True, check=True,
    ).stderr  # fmt: skip
    eventually(lambda: row_of(pipeline)["session"] == "disabled", 10, 0.2)
    publisher.publish("x", ["waits"], 1)
    pipeline.start("dispatch", "worker")
    pipeline.headrace("trigger", "disable", PATH, "--drain-session")
    publisher.publish("x", ["gone"], 1)
    publisher.close()

    assert f"{PATH} has 1 in the inbox" in kept
    assert "QoS 1 and 2 messages wait in it until" in kept
    eventually(
        lambda: log.exists() and {"stored", "waits"} == {line.split()[-1] for line in log.read_text().splitlines()}, 15
    )
    assert json.loads(pipeline.headrace("sessions", "--json") or "null") is None
    pipeline.headrace("trigger", "enable", PATH)
    pipeline.wait_connected(PATH)
    assert "gone" not in log.read_text()


def test_disabling_leaves_the_session_at_the_broker_or_ends_it(pipeline: Pipeline, mosquitto: Mosquitto) -> None:
    """As asked for; the session that was kept has what came meanwhile."""
    log = pipeline.folder / "ran"
    script = RECORDER.replace("@LOG@", str(log))
    pipeline.push(
        write_workspace(pipeline.folder / "ws", mosquitto.port, {"a": trigger_yaml("s", ("x", 1))}, {"s": script})
    )
    pipeline.start("ingest", "dispatch", "worker")
    pipeline.wait_connected(PATH)
    publisher = Publisher(mosquitto.port)
    pipeline.headrace("trigger", "disable", PATH)
    eventually(lambda: row_of(pipeline)["session"] == "disabled", 10, 0.2)
    publisher.publish("x", ["kept"], 1)
    pipeline.headrace("trigger", "enable", PATH)
    eventually(lambda: log.exists() and "kept" in log.read_text(), 15)
    pipeline.headrace("trigger", "disable", PATH, "--end-session")
    publisher.publish("x", ["gone"], 1)
    pipeline.headrace("trigger", "enable", PATH)
    pipeline.wait_connected(PATH)
    publisher.publish("x", ["after"], 1)
    publisher.close()

    eventually(lambda: "after" in log.read_text(), 15)
    assert "gone" not in log.read_text()


def test_a_trigger_is_tried_without_touching_its_session(
    pipeline: Pipeline, mosquitto: Mosquitto, store: Store
) -> None:
    """CONNACK, SUBACK of each topic, limits; the deployed session stays connected on its connection."""
    text = trigger_yaml("s", ("plant/{site}/t", 2), ("$share/g/y", 1))
    pipeline.push(write_workspace(pipeline.folder / "ws", mosquitto.port, {"a": text}, {"s": SCRIPT}))
    pipeline.start("ingest")
    pipeline.wait_connected(PATH)
    before = store.command("HGETALL", keys.session(session_of(pipeline)))
    report = json.loads(pipeline.headrace("trigger", "test", PATH, "--json"))
    shown = pipeline.headrace("trigger", "test", PATH)

    assert (report["ok"], report["protocol"]) == (True, "5")
    assert [(each["granted"], each["problem"]) for each in report["topics"]] == [(2, None), (1, None)]
    assert report["limits"]["maximum_qos"] == 2
    assert report["says"]["version"].startswith("mosquitto")
    assert "plant/{site}/t  QoS 2: granted QoS 2" in shown
    assert max(map(len, shown.splitlines())) <= 100
    assert store.command("HGETALL", keys.session(session_of(pipeline))) == before
    pipeline.headrace("trigger", "test", PATH, "--client-id", before[b"client_id"].decode(), expect=1)
    mosquitto.sigterm()
    gone = json.loads(pipeline.headrace("trigger", "test", PATH, "--json", expect=1))
    assert (gone["ok"], gone["connected"]) == (False, False)


def test_what_the_broker_does_not_give_is_told(pipeline: Pipeline, tmp_path: Path) -> None:
    """A lower QoS by topic, and a connection that is refused; exit status 1 both times."""
    with Mosquitto(tmp_path / "low", {"max_qos": "1"}) as low:
        low.start()
        text = trigger_yaml("s", ("x", 2), ("y", 1))
        folder = write_workspace(pipeline.folder / "ws", low.port, {"a": text}, {"s": SCRIPT})
        pipeline.push(folder)
        report = json.loads(pipeline.headrace("trigger", "test", PATH, "--json", expect=1))
        pipeline.start("ingest")
        pipeline.wait_connected(PATH)
        checks = json.loads(pipeline.headrace("doctor", "--json", expect=1))
    assert [each["problem"] for each in report["topics"]] == ["only QoS 1 is granted", None]
    assert (report["ok"], report["connected"], report["limits"]["maximum_qos"]) == (False, True, 1)
    assert [(check["level"], check["found"]) for check in checks if check["name"] == f"broker of {PATH}"] == [
        ("warn", "granted less: x (QoS 1 instead of 2)"),
        ("warn", "its maximum QoS is 1, and a topic asks for 2"),
    ]

    with Mosquitto(tmp_path / "strict", {"allow_anonymous": "false"}) as strict:
        strict.start()
        pipeline.push(write_workspace(folder, strict.port, {"a": text}, {"s": SCRIPT}))
        report = json.loads(pipeline.headrace("trigger", "test", PATH, "--json", expect=1))
    assert (report["ok"], report["connected"]) == (False, False)
    assert "not authorized" in report["problem"]


def test_an_old_brokers_protocol_is_found(pipeline: Pipeline, amqtt: AmqttBroker) -> None:
    """MQTT 3.1.1 where the broker does not understand 5, as for the session itself; it tells no limits."""
    folder = write_workspace(pipeline.folder / "ws", amqtt.port, {"a": trigger_yaml("s", ("x", 1))}, {"s": SCRIPT})
    file = folder / FILE
    file.write_text(file.read_text().replace("client_version: v5\n", ""))
    pipeline.push(folder)
    report = json.loads(pipeline.headrace("trigger", "test", PATH, "--json"))
    assert (report["ok"], report["protocol"], report["limits"]) == (True, "3.1.1", None)


@pytest.mark.parametrize("version", ["v3", "v5"])
def test_live_messages_are_shown_as_the_code_gets_them(pipeline: Pipeline, mosquitto: Mosquitto, version: str) -> None:
    """And one is saved, with which the script is then run; the deployed session gets all of them too."""
    text = trigger_yaml("s", ("plant/{site}/t", 2), version=version)
    folder = write_workspace(pipeline.folder / "ws", mosquitto.port, {"a": text}, {"s": PREPROCESSOR})
    pipeline.push(folder)
    pipeline.start("ingest", "dispatch")
    pipeline.wait_connected(PATH)
    said: list[str] = []
    capturing = Thread(target=lambda: said.append(pipeline.headrace("capture", PATH, "--save", "event.json", "--json")))
    capturing.start()
    publisher = Publisher(mosquitto.port)
    sent = 0
    while capturing.is_alive():
        sent += publisher.publish("plant/7/t", ["21.5"], 2)
        capturing.join(0.2)
    publisher.close()

    captured = json.loads(said[0])
    assert captured == json.loads((pipeline.folder / "event.json").read_text())
    assert captured["runs"] == [{"runnable": "f/t/s", "captures": {"site": "7"}, "preprocessor": True}]
    assert captured["main"] == {"payload": "MjEuNQ=="}
    event = captured["event"]
    assert (event["kind"], event["topic"], event["qos"], event["payload"]) == ("mqtt", "plant/7/t", 2, "MjEuNQ==")
    assert (event["v5"] is None) == (version == "v3")
    eventually(lambda: row_of(pipeline)["lag"] == sent, 10, 0.2)
    done = json.loads(pipeline.headrace("run", "f/t/s", "--event", "event.json", "--json"))
    assert (done["ok"], done["result"], done["log"]) == (True, "plant/7/t", "seen plant/7/t\n")
    pipeline.headrace("capture", PATH, "--timeout", "0.2", expect=1)


def row_of(pipeline: Pipeline) -> dict[str, object]:
    """The one trigger as it is listed."""
    (line,) = pipeline.headrace("trigger", "list", "--json").splitlines()
    row: dict[str, object] = json.loads(line)
    return row


def session_of(pipeline: Pipeline) -> str:
    """The session id of the one trigger."""
    return str(json.loads(pipeline.headrace("trigger", "show", PATH, "--json"))["definition"]["session"])
