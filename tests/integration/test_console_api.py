"""Our API on the real console process and the real pipeline: what the commands can do, it can."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from shared import keys
from shared.store import Store
from tests.support.burst import Publisher
from tests.support.console import Console
from tests.support.eventually import eventually
from tests.support.mosquitto import Mosquitto
from tests.support.pipeline import Pipeline
from tests.support.ports import HOST, free_port
from tests.support.valkey import ValkeyServer
from tests.support.workspaces import trigger_yaml, write_workspace

GOOD = """\
import time


def main(payload: bytes):
    print("got", payload.decode())
    if payload.startswith(b"hold "):
        print("holding", flush=True)
        time.sleep(float(payload[5:]))
    return {"said": payload.decode()}
"""
BAD = "def main(payload: bytes):\n    raise ValueError(f'no {payload.decode()}')\n"
STEP = """\
  - id: {0}
    value:
      type: script
      path: f/t/good
      input_transforms: {{payload: {{type: javascript, expr: "btoa('{0}')"}}}}
"""
FLOW = "summary: two steps\nvalue:\n  modules:\n" + STEP.format("a") + STEP.format("b")
PASSWORD = "hunter2-hunter2"
TRIGGERS = {
    "good": trigger_yaml("good", ("t/good", 2)),
    "bad": trigger_yaml("bad", ("t/bad", 1)),
    "calm": trigger_yaml("good", ("t/calm", 1)),
}


class Plant:
    """All processes, and a client of the API."""

    def __init__(self, folder: Path, redis_url: str, port: int) -> None:
        self.folder = folder
        self.port = port
        self.redis_url = redis_url
        self.console = Console(folder, redis_url)
        self.pipeline = Pipeline(folder, redis_url, HEADRACE_CONSOLE__PORT=str(self.console.port))
        self.workspace = write_workspace(folder / "workspace", port, TRIGGERS, {"good": GOOD, "bad": BAD})
        (self.workspace / "f/t/password.variable.yaml").write_text(f"value: {PASSWORD}\nis_secret: true\n")
        (self.workspace / "f/t/limit.variable.yaml").write_text("value: '30'\nis_secret: false\n")
        database = f"resource_type: postgresql\nvalue:\n  host: db\n  password: {PASSWORD}\n  user: $var:f/t/limit\n"
        (self.workspace / "f/t/db.resource.yaml").write_text(database)
        flow = self.workspace / "f/t/two.flow/flow.yaml"
        flow.parent.mkdir()
        flow.write_text(FLOW)
        self.pipeline.push(self.workspace)
        self.pipeline.start("ingest", "dispatch", "worker")
        self.console.process.start().wait_ready()
        self.pipeline.wait_connected("f/t/good", "f/t/bad", "f/t/calm")
        self.publisher = Publisher(port)
        self.api = self.console.api("admin", "the boss")

    def close(self) -> None:
        """End everything."""
        self.publisher.close()
        self.api.close()
        self.console.process.close()
        self.pipeline.close()

    def get(self, path: str, expect: int = 200, **params: Any) -> Any:
        """An answer as JSON."""
        return self._checked(self.api.get(path, params=params), expect)

    def post(self, path: str, body: Any = None, expect: int = 200) -> Any:
        """An answer as JSON."""
        return self._checked(self.api.post(path, json={} if body is None else body), expect)

    def delete(self, path: str, expect: int = 204) -> Any:
        """An answer as JSON, None where there is none."""
        return self._checked(self.api.delete(path), expect)

    def publish(self, topic: str, *payloads: str) -> None:
        """Messages that the broker has taken."""
        self.publisher.publish(topic, payloads, qos=2)

    def newest(self, trigger: str, state: str, count: int = 1) -> list[dict[str, Any]]:
        """Runs of a trigger, once there are so many."""
        path = f"f/t/{trigger}"
        return eventually(
            lambda: len(runs := self.get("/runs", trigger=path, state=state)["runs"]) >= count and runs, 30
        )

    def ran(self, trigger: str, payload: str) -> dict[str, Any]:
        """The run of a message with this payload, once it has succeeded."""
        said = f'{{"said":"{payload}"}}'
        runs = eventually(lambda: [run for run in self.newest(trigger, "succeeded") if run["outcome"] == said], 30)
        return runs[0]

    def ended(self, run_id: str) -> dict[str, Any]:
        """A run, once it has succeeded."""
        run: dict[str, Any] = eventually(
            lambda: (found := self.get(f"/runs/{run_id}"))["state"] == "succeeded" and found, 30
        )
        return run

    def audited(self, what: str) -> dict[str, Any]:
        """The newest entry of the audit log that tells of this."""
        entries = [each for each in self.get("/audit")["entries"] if each["what"] == what]
        entry: dict[str, Any] = entries[0]
        return entry

    @staticmethod
    def _checked(answer: httpx.Response, expect: int) -> Any:
        assert answer.status_code == expect, answer.text
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == expect
        return answer.json() if answer.content else None


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """All processes, for all tests of this file."""
    folder = tmp_path_factory.mktemp("plant")
    with ValkeyServer(folder / "valkey") as valkey, Mosquitto(folder / "mosquitto") as broker:
        plant = Plant(folder, valkey.start().url, broker.start().port)
        yield plant
        plant.close()


def test_a_message_is_found_as_a_run_and_in_the_counters(plant: Plant) -> None:
    """With its way through the pipeline, its log and its result; and the identities hold."""
    plant.publish("t/good", "one")
    (run,) = plant.newest("good", "succeeded")

    details = plant.get(f"/runs/{run['id']}")
    assert (details["result"], details["topic"], details["qos"]) == ({"said": "one"}, "t/good", 2)
    assert run["outcome"] == '{"said":"one"}'
    assert plant.get(f"/runs/{run['id']}/log") == {
        "parts": [{"attempt": 1, "state": "succeeded", "text": "got one\n", "is_first": True}],
        "is_live": False,
    }
    counted = plant.get("/counters")
    assert counted["triggers"]["f/t/good"]["succeeded"] == 1
    assert all(identity["holds"] for identity in counted["identities"])
    assert plant.get("/status")["counters"]["total"]["received"] >= 1
    assert plant.get("/backlog")["inbox_length"] == 0
    assert [worker["alive"] for worker in plant.get("/workers")] == [True]
    processes = {each["kind"]: each["state"] for each in plant.get("/processes")}
    assert processes == {"ingest": "alive", "dispatch": "alive", "worker": "alive"}
    assert {each["state"] for each in plant.get("/sessions")["sessions"]} == {"connected"}
    assert {check["level"] for check in plant.get("/doctor")} <= {"ok", "warn"}


@pytest.mark.parametrize(
    "path, rows",
    [("/triggers", "triggers"), ("/counters", "triggers"), ("/status", "sessions"), ("/sessions", "sessions")],
)
def test_what_grows_with_triggers_is_told_page_by_page(plant: Plant, path: str, rows: str) -> None:
    """Each trigger once; what is of all is on each page."""
    whole = plant.get(path)
    assert (len(whole[rows]), whole["next"]) == (len(TRIGGERS), None)
    seen: list[Any] = []
    page: Any = {"next": ""}
    for _ in TRIGGERS:
        page = plant.get(path, limit=1, cursor=page["next"])
        seen += page[rows]
        assert all(each["trigger"] in {None, page["next"]} for each in page.get("identities", ()) if page["next"])
    assert page["next"] is None
    assert [each if isinstance(each, str) else each["trigger"] for each in seen] == [
        f"f/t/{name}" for name in sorted(TRIGGERS)
    ]
    plant.get(path, 400, limit=5000)


def test_runs_are_listed_page_by_page_and_filtered(plant: Plant) -> None:
    """Each once, whatever the size of a page; what makes no sense is refused."""
    plant.publish("t/good", *[f"p{i}" for i in range(7)])
    plant.newest("good", "succeeded", 7)

    pages: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = plant.get("/runs", trigger="f/t/good", limit=2, cursor=cursor)
        assert len(page["runs"]) <= 2
        pages += [run["id"] for run in page["runs"]]
        cursor = page["next"]
    all_runs = [run["id"] for run in plant.get("/runs", trigger="f/t/good", limit=250)["runs"]]
    assert pages == all_runs
    assert len(set(pages)) == len(pages) >= 7
    assert plant.get("/runs", topic="t/+", state=["failed", "lost"], trigger="f/t/good")["runs"] == []
    assert len(plant.get("/runs", since="1h", topic="t/#", limit=3)["runs"]) == 3
    for wrong in ({"state": "asleep"}, {"limit": 0}, {"cursor": "x"}, {"since": "soon"}, {"topic": "a/#/b"}):
        plant.get("/runs", 400, **wrong)


def test_a_run_is_made_again_with_other_arguments_and_by_itself(plant: Plant) -> None:
    """Both stand in the audit log, with who and what."""
    plant.publish("t/good", "again")
    run = plant.ran("good", "again")

    made = plant.post(f"/runs/{run['id']}/again", expect=201)["id"]
    ended = eventually(lambda: (r := plant.get(f"/runs/{made}"))["state"] == "succeeded" and r, 20)
    assert (ended["result"], ended["parent"]) == ({"said": "again"}, run["id"])
    assert plant.audited("run again")["on"] == run["id"]
    own = plant.post("/runs", {"runnable": "f/t/bad", "args": {"payload": "x"}}, 201)["id"]
    eventually(lambda: plant.get(f"/runs/{own}")["state"] == "failed", 20)
    entry = plant.audited("run script")
    assert (entry["who"], entry["on"], entry["after"]) == ("the boss", "f/t/bad", {"run": own})
    plant.post("/runs", {"runnable": "f/t/none"}, 404)
    plant.post("/runs", {"runnable": "f/t/good", "arg": {}}, 422)
    plant.post("/runs/q2-none/again", expect=404)


def test_a_flow_is_begun_again_from_one_of_its_steps(plant: Plant) -> None:
    """What came before keeps its results."""
    first = plant.post("/runs", {"runnable": "f/t/two", "is_flow": True}, 201)["id"]
    plant.ended(first)
    made = plant.post(f"/runs/{first}/restart", {"step": "b"}, 201)["id"]
    ended = plant.ended(made)
    assert (ended["result"], ended["parent"]) == ({"said": "b"}, first)
    assert plant.audited("restart flow")["after"]["step"] == "b"
    assert "no step x" in plant.post(f"/runs/{first}/restart", {"step": "x"}, 422)["detail"]
    plant.post("/runs/q2-none/restart", {"step": "b"}, 404)


def test_a_captured_message_is_run_on_each_runnable_of_its_trigger(plant: Plant) -> None:
    """As the page does it; a message of another topic, and what is none, are refused."""
    event = {"topic": "t/good", "payload": "aGk=", "qos": 1}
    for given in (event, {"trigger": "f/t/good", "received_at": "now", "event": event}):
        (made,) = plant.post("/triggers/run-on/f/t/good", {"event": given}, 201)["ids"]
        assert plant.ended(made)["result"] == {"said": "hi"}
    assert "no topic" in plant.post("/triggers/run-on/f/t/good", {"event": event | {"topic": "x"}}, 422)["detail"]
    assert "no captured message" in plant.post("/triggers/run-on/f/t/good", {"event": {"topic": 1}}, 422)["detail"]
    plant.post("/triggers/run-on/f/t/none", {"event": event}, 404)


def test_a_run_is_cancelled_and_one_that_has_ended_is_not(plant: Plant) -> None:
    """One that executes is told to stop; its log is followed meanwhile; who cancelled it is known."""
    plant.publish("t/good", "hold 60")
    run = plant.newest("good", "running")[0]["id"]
    events: list[tuple[str, Any]] = []
    follower = Thread(target=lambda: events.extend(stream(plant.api, f"/runs/{run}/log/events")))
    follower.start()
    eventually(lambda: "holding" in json.dumps(events), 20)

    assert plant.post(f"/runs/{run}/cancel", {"reason": "enough"}) == {"id": run, "was": "running"}
    eventually(lambda: plant.get(f"/runs/{run}")["state"] == "cancelled", 20)
    follower.join(20)
    assert events[-1] == ("end", {})
    assert "".join(data["text"] for kind, data in events if kind == "log") == "got hold 60\nholding\n"
    plant.post(f"/runs/{run}/cancel", expect=409)
    plant.post("/runs/q2-none/cancel", expect=404)
    plant.post("/runs/cancel", {"filter": {}}, 422)
    assert plant.post("/runs/cancel", {"filter": {"trigger": "f/t/good"}})["cancelled"] == 0


def test_dead_letters_are_grouped_retried_and_dropped(plant: Plant) -> None:
    """One by one and in bulk; what was done once is not done again."""
    plant.publish("t/bad", "7 of 9", "8 of 9", "9 of 9")
    eventually(lambda: len(plant.get("/dead", trigger="f/t/bad")["letters"]) == 3, 30)

    (group,) = plant.get("/dead/groups", trigger="f/t/bad")["groups"]
    assert (group["count"], group["reason"], group["runnable"]) == (3, "failed", "f/t/bad")
    letters = plant.get("/dead", group=group["key"], limit=2)
    assert (len(letters["letters"]), letters["next"] is None) == (2, False)
    assert len(plant.get("/dead", group=group["key"], limit=2, cursor=letters["next"])["letters"]) == 1
    assert plant.get("/dead", error="no 8")["letters"][0]["detail"] == "ValueError: no 8 of 9"
    one, other = [letter["id"] for letter in letters["letters"]]
    assert plant.get(f"/dead/{one}")["error"]["name"] == "ValueError"
    assert plant.post(f"/dead/{one}/retry")["outcome"] == "queued"
    eventually(lambda: len(plant.get("/dead", trigger="f/t/bad")["letters"]) == 3, 30)
    plant.delete(f"/dead/{other}")
    plant.delete(f"/dead/{other}", 404)
    plant.post(f"/dead/{plant.newest('good', 'succeeded')[0]['id']}/retry", expect=409)
    plant.post("/dead/q2-none/retry", expect=404)
    assert plant.get("/dead/q2-none", 404)["detail"] == "there is no dead letter q2-none"
    plant.post("/dead/retry", {}, 422)
    assert plant.post("/dead/retry", {"filter": {"group": group["key"]}})["outcomes"] == {"queued": 2}
    eventually(lambda: len(plant.get("/dead", trigger="f/t/bad")["letters"]) == 2, 30)
    assert plant.post("/dead/drop", {"filter": {"trigger": "f/t/bad"}}) == {"dropped": 2, "more": False}
    assert plant.audited("drop dead letters")["after"] == {"dropped": 2}


def test_a_trigger_is_suspended_and_what_waits_is_resumed(plant: Plant) -> None:
    """A mode is a deployment by who asked; runs wait, some are discarded, the others run."""
    done = plant.post("/triggers/suspend/f/t/calm", {"message": "a break"})
    assert (done["change"]["was"], done["change"]["mode"]) == ("enabled", "suspended")
    plant.publish("t/calm", "a", "b")
    waiting = plant.newest("calm", "suspended", 2)

    settled = plant.post("/triggers/discard/f/t/calm", {"ids": [waiting[0]["id"]]})
    assert settled == {"done": 1, "not_waiting": [], "refused": {}}
    assert plant.post("/triggers/resume/f/t/calm")["done"] == 1
    plant.ran("calm", "a")
    page = plant.get("/triggers/f/t/calm")
    assert (page["details"]["row"]["mode"], page["suspended"]) == ("enabled", 0)
    assert "t/calm" in page["text"]
    newest = plant.get("/deployments")["deployments"]
    assert [each["author"] for each in newest[:2]] == ["console by the boss"] * 2
    assert newest[1]["message"] == "a break"
    assert plant.audited("set mode suspended")["before"] == {"mode": "enabled"}
    plant.post("/triggers/enable/f/t/none", expect=404)
    plant.get("/triggers/f/t/none", 404)
    assert {row["trigger"] for row in plant.get("/triggers")["triggers"]} == {"f/t/good", "f/t/bad", "f/t/calm"}


def test_a_disabled_trigger_leaves_its_session_which_can_be_ended(plant: Plant) -> None:
    """By ingest, which is asked; a session that is not left is not there."""
    session = plant.post("/triggers/disable/f/t/calm")["change"]["session"]
    (row,) = [each for each in plant.get("/sessions")["all"] if each["session"] == session]
    assert row["state"] == "disabled"

    plant.post(f"/sessions/{session}/end", expect=202)
    eventually(lambda: session not in json.dumps(plant.get("/sessions")["all"]), 30)
    plant.post(f"/sessions/{session}/drain", expect=404)
    plant.post("/triggers/enable/f/t/calm")
    plant.pipeline.wait_connected("f/t/calm")


def test_a_large_payload_is_handed_out_by_itself(plant: Plant) -> None:
    """The document of its run stays small, and so does the page."""
    plant.publish("t/good", "x" * 2_000_000)

    def placed() -> dict[str, Any] | None:
        return next((run for run in plant.get("/runs")["runs"] if run["payload_size"] == 2_000_000), None)

    found = eventually(placed, 30)
    document = plant.get(f"/runs/{found['id']}")
    assert (document["message"]["payload_base64"], document["message"]["payload_left_out"]) == (None, True)
    assert len(plant.api.get(f"/runs/{found['id']}/payload").content) == 2_000_000
    made = plant.post("/runs", {"runnable": "f/t/good", "args": {"payload": "e30="}}, 201)
    assert plant.api.get(f"/runs/{made['id']}/payload").status_code == 404


def test_a_trigger_is_tried_at_its_broker_by_ingest(plant: Plant) -> None:
    """A deployed one, or a draft of one; the deployed session is not touched."""
    report = plant.post("/triggers/test", {"trigger": "f/t/good"})
    assert (report["ok"], report["topics"][0]["granted"]) == (True, 2)
    assert (report["says"]["version"].split()[0], report["says"]["dropped"]) == ("mosquitto", "0")
    draft = {"resource": "f/t/broker", "topics": [{"topic": "x/#", "qos": 1}], "client_version": "v3"}
    report = plant.post("/triggers/test", {"draft": draft})
    assert (report["connected"], report["protocol"]) == (True, "3.1.1")
    assert "not deployed" in plant.post("/triggers/test", {"draft": {"resource": "f/t/none"}}, 422)["detail"]
    credentials = {"username": "me", "password": "typed-secret"}
    typed: dict[str, Any] = {"host": HOST, "port": plant.port, "credentials": credentials}
    report = plant.post("/triggers/test", {"draft": draft | {"resource": "f/t/typed", "broker": typed}})
    assert (report["ok"], report["topics"][0]["granted"]) == (True, 1)
    store = Store.connect(plant.redis_url)
    assert not any(b"typed-secret" in fields[b"e"] for _, fields in store.command("XRANGE", keys.ASKS, "-", "+"))
    store.close()
    gone = plant.post("/triggers/test", {"draft": draft | {"broker": typed | {"port": free_port()}}})
    assert (gone["connected"], gone["says"]) == (False, {})
    nowhere = plant.post("/triggers/test", {"draft": draft | {"broker": typed | {"port": 0}}}, 422)
    assert "port" in nowhere["detail"]
    plant.post("/triggers/test", {"trigger": "f/t/none"}, 404)
    plant.post("/triggers/test", {}, 422)
    with plant.console.api("operate") as operator:
        assert operator.post("/triggers/test", json={"draft": draft}).status_code == 403


def test_live_messages_are_captured_without_taking_any_away(plant: Plant) -> None:
    """As the code would get them; and the deployed trigger runs on the same message."""
    events: list[tuple[str, Any]] = []
    path = "/triggers/capture/f/t/good?count=1&seconds=60"
    reader = Thread(target=lambda: events.extend(stream(plant.api, path)))
    reader.start()
    eventually(lambda: bool(events), 20)

    def seen() -> bool:
        plant.publish("t/good", "caught")
        return any(kind == "message" for kind, _ in events)

    eventually(seen, 30)
    reader.join(20)
    kinds = [kind for kind, _ in events]
    assert kinds == ["taken", "message", "end"]
    assert events[1][1]["runs"][0]["runnable"] == "f/t/good"
    assert events[1][1]["event"]["topic"] == "t/good"
    plant.ran("good", "caught")


def test_ingest_lets_go_of_a_capture_that_nobody_looks_at_any_more(plant: Plant) -> None:
    """Its connection ends; and an ingest process that was killed is followed by another that serves."""
    log = plant.folder / "mosquitto" / "mosquitto.log"
    client = re.compile(r"New client connected from \S+ as (headrace-try-\w+)")
    with plant.api.stream("GET", "/triggers/capture/f/t/good", timeout=60) as answer:
        assert "event: taken" in next(answer.iter_lines())
        name = eventually(lambda: client.findall(log.read_text()), 20)[-1]
    eventually(lambda: f"Received DISCONNECT from {name}" in log.read_text(), 20)

    plant.pipeline.kill("ingest")
    plant.pipeline.start("ingest")
    plant.pipeline.wait_connected("f/t/good", "f/t/bad", "f/t/calm")
    assert plant.post("/triggers/test", {"trigger": "f/t/good"})["ok"]


def test_what_is_deployed_is_shown_without_secrets(plant: Plant) -> None:
    """Neither the plain nor the sealed value of a secret variable; who may only read sees no plain password either."""
    paths = [
        "/scripts", "/scripts/f/t/good", "/flows", "/resources", "/resources/f/t/db", "/variables",
        "/variables/f/t/password", "/files", "/files/f/t/password.variable.yaml", "/files/f/t/db.resource.yaml",
        "/deployments", "/deployments/1",
    ]  # fmt: skip
    with plant.console.api("read") as reader:
        for path in paths:
            answer = reader.get(path)
            assert answer.status_code == 200, answer.text
            assert PASSWORD not in answer.text, path
            assert "hr1:" not in answer.text, path
        masked = reader.get("/resources/f/t/db").json()["value"]
    assert masked == {"host": "db", "password": "***", "user": "$var:f/t/limit"}
    variables = {each["path"]: each["value"] for each in plant.get("/variables")["items"]}
    assert variables == {"f/t/limit": "30", "f/t/password": "***"}
    assert plant.get("/scripts/f/t/good")["script"]["modules"] == {"f/t/good.py": GOOD}
    assert [item["used_by"] for item in plant.get("/scripts")["items"]] == [["f/t/bad"], ["f/t/calm", "f/t/good"]]
    assert plant.get("/resources/f/t/db")["value"]["password"] == PASSWORD
    page = plant.get("/files", limit=3, path_start="f/t/")
    assert (len(page["items"]), page["next"]) == (3, page["items"][-1]["path"])
    assert plant.get("/files", limit=3, cursor=page["next"])["items"][0]["path"] > page["next"]
    for path in ("/scripts/f/t/none", "/flows/f/t/none", "/resources/f/t/none", "/variables/f/t/none", "/files/none"):
        plant.get(path, 404)


def test_secrets_are_read_by_runs_alone_by_whichever_routes(plant: Plant) -> None:
    """Windmill's are beside ours: an admin's token does not open a secret there either, and no error tells it."""
    token, reader = plant.console.token("admin"), plant.console.token("read")
    for path in ("resources/list", "resources/get/f/t/db", "resources/get_value/f/t/db"):
        assert PASSWORD not in plant.console.request("GET", f"/w/headrace/{path}", reader).text
    answers = {
        path: plant.console.request("GET", f"/w/headrace/{path}", token)
        for path in (
            "variables/get_value/f/t/password", "variables/get/f/t/password", "variables/list",
            "resources/get_value_interpolated/f/t/db", "resources/list",
        )
    }  # fmt: skip
    assert answers["variables/get_value/f/t/password"].status_code == 403
    assert answers["variables/get/f/t/password"].json()["value"] is None
    assert answers["resources/get_value_interpolated/f/t/db"].json()["user"] == "$var:f/t/limit"
    for path, answer in answers.items():
        assert "hr1:" not in answer.text, path
        assert path.startswith("resources") or PASSWORD not in answer.text, path


def test_refusals_are_problem_documents(plant: Plant) -> None:
    """Whoever refuses: the guard, the router, the framework."""
    base = f"{plant.console.url}/api/w/headrace/headrace"
    with plant.console.api("read") as reader:
        answers = {
            401: httpx.get(f"{base}/status"),
            403: reader.get("/audit"),
            404: reader.get("/nothing"),
            405: reader.delete("/status"),
            421: httpx.get(f"{base}/status", headers={"Host": "evil.example"}),
            400: plant.api.post("/runs", content=b"{"),
            422: plant.api.post("/runs", json={"runnable": 1}),
        }
    found = {status: (answer.status_code, answer.headers["content-type"]) for status, answer in answers.items()}
    assert found == {status: (status, "application/problem+json") for status in answers}
    assert "DELETE is nothing that can be done here: it takes" in answers[405].json()["detail"]
    other = plant.console.request("GET", "/w/other/headrace/status", plant.console.token("read"))
    assert (other.status_code, other.json()["detail"]) == (404, "there is no workspace other here, only headrace")


def test_files_are_pushed_edited_and_rolled_back(plant: Plant) -> None:
    """A plan changes nothing; a folder that is wrong is refused with file and line; the way back is a deployment."""
    files = {
        str(path.relative_to(plant.workspace)): path.read_text()
        for path in sorted(plant.workspace.rglob("*"))
        if path.is_file()
    }
    before = plant.get("/deployments")["deployments"][0]["number"]
    plan = plant.post("/deployments", {"files": files | {"f/t/new.py": GOOD}, "dry_run": True})
    assert ("created", "script", "f/t/new") in [
        (each["action"], each["kind"], each["path"]) for each in plan["changes"]
    ]
    assert (plan["applied"], plan["deployment"]) == (False, before)

    pushed = plant.post("/deployments", {"files": files | {"f/t/new.py": GOOD}, "message": "one more"})
    assert (pushed["applied"], pushed["deployment"]) == (True, before + 1)
    edited = plant.post("/deployments/edit", {"files": {"f/t/new.py": BAD}})
    assert [change["action"] for change in edited["changes"]] == ["changed"]
    stale = {"files": {"f/t/new.py": GOOD}, "made_from": {"f/t/new.py": "0" * 16}}
    assert "changed meanwhile" in plant.post("/deployments/edit", stale, 409)["detail"]
    fresh = {"f/t/new.py": plant.get("/files/f/t/new.py")["version"]}
    assert plant.post("/deployments/edit", {"files": {"f/t/new.py": BAD}, "made_from": fresh})["applied"] is False
    shown = plant.get(f"/deployments/{edited['deployment']}")
    assert "-import time" in shown["files"][0]["diff"]
    plant.post("/deployments/edit", {"files": {"f/t/new.py": None}})
    plant.get("/scripts/f/t/new", 404)
    back = plant.post(f"/deployments/{before + 1}/rollback")
    assert (back["applied"], back["back_to"]) == (True, before + 1)
    assert plant.get("/scripts/f/t/new")["script"]["modules"] == {"f/t/new.py": GOOD}
    plant.post(f"/deployments/{before}/rollback")
    assert plant.audited(f"roll back to {before}")["before"] == {"deployment": back["deployment"]}
    wrong = plant.post("/deployments", {"files": {"f/t/x.mqtt_trigger.yaml": "script_path: f/t/none\n"}}, 422)
    assert {problem["file"] for problem in wrong["problems"]} == {"f/t/x.mqtt_trigger.yaml"}
    plant.post("/deployments/edit", {"files": {"../x.py": "1"}}, 400)
    plant.post("/deployments/edit", {"files": {"readme.txt": "1"}}, 422)
    plant.post("/deployments", {"files": {}}, 422)
    plant.get("/deployments/999", 404)


def test_a_body_that_is_too_large_is_refused(plant: Plant) -> None:
    """With 413, before it is looked at."""
    answer = plant.api.post("/deployments", content=b'{"files":{"f/t/x.py":"' + b"#" * (17 * 1024 * 1024) + b'"}}')

    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    assert answer.json()["detail"] == "the body is too large: 16 MiB are taken"


def test_json_that_nobody_can_follow_and_bodies_that_are_missing_are_refused_with_words(plant: Plant) -> None:
    """Whoever reads them: our API, Windmill's."""
    plant.publish("t/good", "deep")
    run_id = plant.ran("good", "deep")["id"]
    windmill = f"{plant.console.url}/api/w/headrace"
    for levels in (101, 500, 100_000):
        deep = "[" * levels + "]" * levels
        bodies = {
            "/runs": f'{{"runnable": "f/t/good", "args": {{"payload": {deep}}}}}',
            f"/runs/{run_id}/again": f'{{"args": {{"payload": {deep}}}}}',
            f"{windmill}/jobs/run/p/f/t/good": f'{{"payload": {deep}}}',
            f"{windmill}/resources/create": f'{{"path": "f/t/x", "value": {deep}, "resource_type": "any"}}',
            f"{windmill}/mqtt_triggers/create": f'{{"path": "f/t/x", "subscribe_topics": {deep}}}',
        }
        for path, body in bodies.items():
            answer = plant.api.post(path, content=body, headers={"Content-Type": "application/json"})
            assert (answer.status_code, "nested too deeply: 100 levels" in answer.text) == (400, True), (path, answer)
    fits = json.loads("[" * 90 + "]" * 90)
    assert plant.post("/runs", {"runnable": "f/t/good", "args": {"payload": fits}}, 201)["id"]

    lone = plant.api.post("/runs", content=b'{"runnable": "\\ud800"}')
    assert (lone.status_code, "without its other half" in lone.json()["detail"]) == (400, True)
    bare = plant.api.post("/runs")
    assert (bare.status_code, bare.json()["detail"]) == (422, "a JSON body is needed")
    assert plant.api.post(f"/runs/{run_id}/cancel").status_code == 409
    assert plant.api.post(f"/runs/{run_id}/again").status_code == 201


def test_what_goes_on_is_told_live(plant: Plant) -> None:
    """A run that comes and ends, and the counters that it changes."""
    events: list[tuple[str, Any]] = []
    reader = Thread(
        target=lambda: events.extend(stream(plant.api, "/events", until=lambda: _told(events))), daemon=True
    )
    reader.start()

    def told() -> bool:
        plant.publish("t/good", "live")
        return _told(events)

    eventually(told, 30, interval_s=0.5)
    reader.join(20)


def test_the_course_of_things_is_sampled(plant: Plant) -> None:
    """Rates per second, once there are two samples."""
    points = eventually(lambda: plant.get("/series", minutes=60)["points"], 30)

    assert {"at", "messages", "runs", "failures", "dead", "inbox", "oldest_ms"} <= points[0].keys()
    assert sum(point["messages"] for point in points) >= 0


def _told(events: list[tuple[str, Any]]) -> bool:
    ended = [data for kind, data in events if kind == "run" and data["state"] == "succeeded"]
    counted = [data for kind, data in events if kind == "counters" and data["total"].get("succeeded")]
    return bool(ended and counted)


def stream(client: httpx.Client, path: str, until: Any = lambda: False) -> Iterator[tuple[str, Any]]:
    """Server-sent events as they come, until the stream ends or enough was seen."""
    with client.stream("GET", path, timeout=60) as answer:
        assert answer.status_code == 200
        kind = ""
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                yield kind, json.loads(value)
                if until():
                    return
