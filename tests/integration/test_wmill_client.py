"""Windmill's own client from PyPI against the console: every call that a script may make."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator

import httpx
import msgspec
import pytest
import wmill

from shared import keys
from shared.clock import iso_utc
from shared.create_runs import Family, make_run
from shared.definitions import Flow, Resource, Variable
from shared.openflow import FlowValue
from shared.runs import decode_job
from shared.scripts.operate import create_runs
from shared.secrets import SecretBox
from shared.store import Store
from tests.support.console import Console, deploy, executing, script
from tests.support.eventually import eventually
from tests.support.factories import place_runs

CHILD = "f/t/child"


@pytest.fixture
def store(redis_url: str) -> Store:
    """A store on an empty server, which is of another installation each time."""
    store = Store.connect(redis_url)
    store.command("HSET", keys.DEPLOYMENT, "id", secrets.token_hex(3))
    return store


@pytest.fixture
def run_id(store: Store, monkeypatch: pytest.MonkeyPatch) -> str:
    """The run as which the client speaks."""
    run_id, execution = executing(store)
    monkeypatch.setenv("WM_JOB_ID", run_id)
    monkeypatch.setenv("EXECUTION", execution)
    monkeypatch.setenv("WM_JOB_PATH", "f/t/parent")
    return run_id


@pytest.fixture
def client(console: Console, run_id: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[wmill.Windmill]:
    """Windmill's client with the token of that run, as the functions of the module use it too."""
    client = console.client(console.mint(run_id, os.environ["EXECUTION"]))
    monkeypatch.setattr(wmill.client, "_client", client)
    with client.client:
        yield client


def refused(answer: pytest.ExceptionInfo[BaseException], status: int) -> bool:
    """What the client raises names the status."""
    return f": {status}, " in str(answer.value)


def test_a_resource_is_read_with_its_references_put_in_place(
    store: Store, console: Console, client: wmill.Windmill
) -> None:
    """And as it was written, if asked for."""
    box = SecretBox.load(console.settings, create=True)
    value = {"host": "db.example", "password": "$var:f/t/password", "via": "$res:f/t/proxy"}
    deploy(
        store,
        Variable("f/t/password", box.seal("f/t/password", "hunter2"), is_secret=True),
        Resource("f/t/proxy", "proxy", {"port": 8080}),
        Resource("f/t/db", "postgresql", value),
    )

    assert client.get_resource("f/t/db") == {"host": "db.example", "password": "hunter2", "via": {"port": 8080}}
    assert client.get_resource("$res:f/t/db", interpolated=False) == value
    assert client.get_resource("f/t/none", none_if_undefined=True) is None
    with pytest.raises(Exception, match="404, Not found: Resource not found at path: f/t/none"):
        client.get_resource("f/t/none")
    assert [each["path"] for each in client.list_resources()] == ["f/t/db", "f/t/proxy"]
    assert [each["path"] for each in client.list_resources("proxy")] == ["f/t/proxy"]
    assert [each["path"] for each in client.list_resources(page=2, per_page=1)] == ["f/t/proxy"]


def test_a_variable_is_read_also_a_secret_one(store: Store, console: Console, client: wmill.Windmill) -> None:
    """A run may read what it needs; a list does not show what is secret."""
    box = SecretBox.load(console.settings, create=True)
    secret = Variable("f/t/password", box.seal("f/t/password", "hunter2"), is_secret=True)
    deploy(store, secret, Variable("f/t/limit", "30"))

    assert (client.get_variable("f/t/limit"), client.get_variable("var://f/t/password")) == ("30", "hunter2")
    with pytest.raises(Exception, match="404, Not found: Variable not found at path: f/t/none"):
        client.get_variable("f/t/none")
    listed = client.get("/w/headrace/variables/list").json()
    assert [(each["path"], each["value"]) for each in listed] == [("f/t/limit", "30"), ("f/t/password", None)]


def test_state_is_kept_by_path_and_the_last_write_wins(
    store: Store, client: wmill.Windmill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no deployment: nothing else changes."""
    monkeypatch.setenv("WM_STATE_PATH", "f/t/parent/f.t.trigger")

    assert wmill.get_state() is None
    wmill.set_state({"seen": 1})
    wmill.set_state({"seen": 2})
    assert wmill.get_state() == {"seen": 2}
    client.set_state([1, "$var:f/t/nothing"], "f/t/other")
    assert client.get_state("f/t/other") == [1, "$var:f/t/nothing"]
    assert store.command("HGET", keys.DEPLOYMENT, "number") is None
    assert [each["resource_type"] for each in client.list_resources("state")] == ["state", "state"]


def test_a_script_is_started_and_its_run_is_the_callers_child(
    store: Store, client: wmill.Windmill, run_id: str
) -> None:
    """By path and by hash; queued as any other run, with the arguments that were given."""
    deploy(store, script(CHILD, "def main(t: float): return t"))
    version = store.command("HGET", keys.DEPLOYED, f"script:{CHILD}").decode()

    started = [
        client.run_script_by_path_async(CHILD, {"t": 21.5}),
        client.run_script_by_hash_async(version, {"t": 22.5}),
    ]

    jobs = [client.get_job(each) for each in started]
    assert [(job["type"], job["running"], job["args"]["t"]) for job in jobs] == [
        ("QueuedJob", False, 21.5),
        ("QueuedJob", False, 22.5),
    ]
    assert [(job["parent_job"], job["root_job"]) for job in jobs] == [(run_id, run_id)] * 2
    told: list[object] = [client.get_job_status(each) for each in started]
    assert told == ["WAITING", "WAITING"]
    roots: list[object] = [client.get_root_job_id(started[0]), client.get_root_job_id()]
    assert roots == [run_id, run_id]
    assert store.command("LLEN", keys.RQ_QUEUE) == 2


def test_what_cannot_be_run_is_refused_with_the_reason(store: Store, client: wmill.Windmill) -> None:
    """Unknown scripts, flows, and what a later release may know."""
    deploy(store, script(CHILD, "def main(): ..."), Variable("f/t/limit", "30"))
    variable = store.command("HGET", keys.DEPLOYED, "variable:f/t/limit").decode()

    with pytest.raises(Exception, match="404, Not found: Script not found at path: f/t/none"):
        client.run_script_by_path_async("f/t/none")
    with pytest.raises(Exception, match=f"404, Not found: Script not found with hash: {variable}"):
        client.run_script_by_hash_async(variable)
    with pytest.raises(Exception, match="404, Not found: Flow not found at path: f/t/flow"):
        client.run_flow_async("f/t/flow")
    with pytest.raises(Exception, match="400, Bad request: "):
        client.run_script_by_path_async(CHILD, retry={"constant": {"attempts": "many"}})
    assert client.post(f"/w/headrace/jobs/run/p/{CHILD}", raise_for_status=False, content=b"[1]").status_code == 400
    assert store.command("LLEN", keys.RQ_QUEUE) == 0


def test_a_run_starts_a_flow(store: Store, client: wmill.Windmill) -> None:
    """Of the version that is deployed, as its child."""
    deploy(store, Flow("f/t/flow", FlowValue([]), 30))
    run_id = client.run_flow_async("f/t/flow", {"x": 1})

    spec = decode_job(store.command("HGET", keys.job(run_id), "data"))
    assert (spec.is_flow, spec.runnable, spec.origin) == (True, "f/t/flow", "child")
    assert msgspec.json.decode(spec.args or b"") == {"x": 1}
    assert store.command("HGET", keys.job(run_id), "timeout") == b"30"


def test_a_queued_run_is_cancelled_at_once_and_its_end_is_told(store: Store, client: wmill.Windmill) -> None:
    """As Windmill tells it: an error by the name of Canceled, with who and why."""
    deploy(store, script(CHILD, "def main(): ..."))
    child = client.run_script_by_path_async(CHILD)

    assert client.cancel_job(child, "not needed") == child
    error = client.get_result(child)["error"]
    assert (error["name"], error["reason"]) == ("Canceled", "not needed")
    assert error["message"].startswith("Job canceled: not needed by run q2-api-")
    job = client.get_job(child)
    assert (job["type"], job["canceled"], job["success"]) == ("CompletedJob", True, False)
    with pytest.raises(Exception, match="was not successful"):
        client.wait_job(child)


def test_a_result_is_there_when_the_run_has_ended_and_not_before(store: Store, client: wmill.Windmill) -> None:
    """All four keys are always in the answer that a waiting client reads."""
    deploy(store, script(CHILD, "def main(): ..."))
    child = client.run_script_by_path_async(CHILD)

    with pytest.raises(Exception, match=f"404, Not found: Job {child} is not completed yet"):
        client.get_result(child)
    maybe = client.get(f"/w/headrace/jobs_u/completed/get_result_maybe/{child}").json()
    assert maybe == {"completed": False, "result": None, "success": None, "started": False}


def test_runs_of_others_are_out_of_reach(store: Store, client: wmill.Windmill, run_id: str) -> None:
    """403 for a run that it has not started, 404 for one that does not exist."""
    place_runs(store, "q1-abcdefgh-1-1")

    for call in (client.get_job, client.get_result, client.cancel_job, client.get_progress, client.get_root_job_id):
        with pytest.raises(Exception, match="403, Permission denied: ") as answer:
            call("q1-abcdefgh-1-1")
        assert refused(answer, 403)
        with pytest.raises(Exception, match="404, Not found: Job not found: q1-abcdefgh-1-2"):
            call("q1-abcdefgh-1-2")
    assert client.get_job(run_id)["running"] is True


def test_what_its_runs_have_started_in_turn_is_in_reach(store: Store, client: wmill.Windmill, run_id: str) -> None:
    """And is cancelled by it."""
    made = make_run(CHILD, "v1", 60, b"{}", "child", Family("q2-api-of-the-first-generation", run_id))
    store.run(create_runs([made], iso_utc(time.time_ns()), time.time_ns() // 1000))

    assert client.get_job(made.id)["root_job"] == run_id
    client.cancel_job(made.id)
    assert client.get_job(made.id)["type"] == "CompletedJob"


def test_a_run_lists_itself_and_what_it_has_started(store: Store, client: wmill.Windmill, run_id: str) -> None:
    """Newest first; `cancel_running` finds no other run of the same script that is its own."""
    deploy(store, script(CHILD, "def main(): ..."))
    place_runs(store, "q1-abcdefgh-1-1")
    children = [client.run_script_by_path_async(CHILD) for _ in range(3)]

    listed = client.get("/w/headrace/jobs/list").json()
    assert [each["id"] for each in listed] == [*reversed(children), run_id]
    assert [each["id"] for each in client.get("/w/headrace/jobs/list?running=true").json()] == [run_id]
    assert len(client.get(f"/w/headrace/jobs/list?script_path_exact={CHILD}&per_page=2").json()) == 2
    assert client.get("/w/headrace/jobs/list?per_page=many", raise_for_status=False).status_code == 400
    assert len(client.get("/w/headrace/jobs/list?page=0&per_page=1001").json()) == 4
    assert len(client.get("/w/headrace/jobs/list?per_page=0").json()) == 1
    assert client.cancel_running() == {}


def test_paging_through_a_burst_loses_no_run(store: Store, console: Console) -> None:
    """Thousands of the same few milliseconds, by two processes at once: by Windmill's `created_before`, which is
    inclusive, by our own `until`, which is not, and by cursor.
    """
    now_us = time.time_ns() // 1000
    made = [make_run(CHILD, "v1", 60, b"{}", "api") for _ in range(2000)]
    for half in (made[:1000], made[1000:]):
        store.run(create_runs(half, iso_utc(now_us * 1000), now_us))
    ids = {run.id for run in made}

    token = console.token("read")
    seen: dict[str, str] = {}
    page = console.request("GET", "/w/headrace/jobs/list?per_page=100", token).json()
    while new := {job["id"]: job["created_at"] for job in page if job["id"] not in seen}:
        seen |= new
        before = f"per_page=100&created_before={page[-1]['created_at']}"
        page = console.request("GET", f"/w/headrace/jobs/list?{before}", token).json()
    assert seen.keys() == ids
    assert len(set(seen.values())) == 1000, "two processes have made each of these a microsecond apart"

    last = max(seen.values())
    inclusive = console.request("GET", f"/w/headrace/jobs/list?created_after={last}&created_before={last}", token)
    assert {job["created_at"] for job in inclusive.json()} == {last}
    with console.api("read") as api:
        answer = api.get("/runs", params={"limit": 99}).json()
        found = answer["runs"]
        while answer["next"]:
            answer = api.get("/runs", params={"limit": 99, "cursor": answer["next"]}).json()
            found += answer["runs"]
        assert (len(found), {run["id"] for run in found}) == (2000, ids)
        (first, second) = api.get("/runs", params={"limit": 2}).json()["runs"]
        assert first["created_at"] == second["created_at"] == last
        rest = api.get("/runs", params={"limit": 1, "until": last}).json()["runs"]
        assert rest[0]["created_at"] < last


@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", "/w/headrace/mqtt_triggers/list"),
        ("POST", "/w/headrace/mqtt_triggers/create"),
        ("POST", "/w/headrace/mqtt_triggers/setmode/f/t/x"),
        ("POST", "/w/headrace/scripts/create"),
        ("POST", "/w/headrace/flows/create"),
        ("POST", "/w/headrace/jobs/run/preview"),
        ("POST", "/w/headrace/jobs/run/batch_rerun_jobs"),
        ("POST", "/w/headrace/trigger/mqtt/resume_suspended_trigger_jobs/f/t/x"),
        ("DELETE", "/w/headrace/variables/delete/f/t/x"),
        ("DELETE", "/w/headrace/resources/delete/f/t/x"),
        ("GET", "/w/headrace/workspaces/tarball"),
        ("GET", "/w/headrace/jobs/queue/count"),
        ("GET", "/w/headrace/capture/list/script/f/t/x"),
        ("GET", "/w/headrace/audit/list"),
        ("GET", "/users/tokens/list"),
    ],
)
def test_what_only_people_may_do_a_run_may_not(client: wmill.Windmill, method: str, path: str) -> None:
    """Whoever deploys a script has no more rights by its runs."""
    call = client.get if method == "GET" else client.post
    if method == "DELETE":
        answer = client.client.delete(path, headers={"Authorization": f"Bearer {client.token}"})
    else:
        answer = call(path, raise_for_status=False)
    assert (answer.status_code, answer.text.partition(":")[0]) == (403, "Permission denied")


def test_lists_and_selections_hold_only_what_a_run_has_started(store: Store, client: wmill.Windmill) -> None:
    """Of others it can cancel nothing either."""
    deploy(store, script(CHILD, "def main(): ..."))
    place_runs(store, "q1-abcdefgh-1-1")
    child = client.run_script_by_path_async(CHILD)

    assert [each["id"] for each in client.get("/w/headrace/jobs/queue/list?running=false").json()] == [child]
    assert client.get("/w/headrace/jobs/completed/list").json() == []
    chosen = client.post("/w/headrace/jobs/queue/cancel_selection", json=["q1-abcdefgh-1-1", child])
    assert chosen.json() == [child]
    for path in (
        "jobs_u/get_logs",
        "jobs_u/get_args",
        "jobs_u/getupdate",
        "jobs_u/getupdate_sse",
        "jobs_u/completed/get",
    ):
        answer = client.get(f"/w/headrace/{path}/q1-abcdefgh-1-1", raise_for_status=False)
        assert answer.status_code == 403, path


def test_progress_is_kept_with_the_run(client: wmill.Windmill, run_id: str) -> None:
    """Null until it is set, a percentage then; another run's cannot be set."""
    assert client.get_progress() is None
    client.set_progress(42)
    assert client.get_progress() == 42
    assert (
        client.post(
            f"/w/headrace/job_metrics/set_progress/{run_id}", raise_for_status=False, json={"percent": 101}
        ).status_code
        == 422
    )
    other = client.post("/w/headrace/job_metrics/set_progress/q1-x-1-1", raise_for_status=False, json={"percent": 1})
    assert other.status_code == 403


def test_whoami_and_the_like(client: wmill.Windmill) -> None:
    """There is one user, who owns all runs."""
    assert client.whoami()["email"] == client.user["email"] == client.username_to_email("headrace")
    assert client.get("/w/headrace/users/whoami").json()["username"] == "headrace"
    assert client.version == "CE v1.850.0"
    assert client.worker_is_draining() is False
    with pytest.raises(Exception, match="403, Permission denied: "):
        client.create_token()
    with pytest.raises(Exception, match="404, Not found: user alice"):
        client.username_to_email("alice")


def test_user_states_are_those_of_flows(client: wmill.Windmill, capsys: pytest.CaptureFixture[str]) -> None:
    """The client says so, as Windmill lets it, where a run is no flow."""
    client.set_flow_user_state("k", 1)

    assert client.get_flow_user_state("k") is None
    assert "does not exist or is not a flow" in capsys.readouterr().out


def test_a_variable_that_is_set_is_a_deployment(store: Store, console: Console, client: wmill.Windmill) -> None:
    """New ones too; a secret one is sealed at rest, and the history says which run it was."""
    client.set_variable("f/t/limit", "30")
    client.set_variable("f/t/limit", "31")
    client.set_variable("f/t/password", "hunter2", is_secret=True)
    client.set_variable("f/t/password", "hunter3")

    assert (client.get_variable("f/t/limit"), client.get_variable("f/t/password")) == ("31", "hunter3")
    row = client.get("/w/headrace/variables/get/f/t/password").json()
    assert (row["value"], row["is_secret"]) == ("hunter3", True)
    assert int(store.command("HGET", keys.DEPLOYMENT, "number")) == 4
    assert "hunter" not in console.process.output
    stored = b"".join(store.command("HVALS", keys.DEFINITIONS))
    assert b"hunter" not in stored
    newest = json.loads(store.command("LINDEX", keys.DEPLOYMENTS, 0))
    assert newest["author"].startswith("run q2-api-")


def test_a_resource_that_is_set_is_a_deployment_unless_it_is_state(store: Store, client: wmill.Windmill) -> None:
    """New and changed."""
    client.set_resource({"port": 1}, "f/t/proxy", "proxy")
    client.set_resource({"port": 2}, "f/t/proxy", "proxy")

    assert client.get_resource("f/t/proxy") == {"port": 2}
    assert int(store.command("HGET", keys.DEPLOYMENT, "number")) == 2
    again = client.post(
        "/w/headrace/resources/create",
        raise_for_status=False,
        json={"path": "f/t/proxy", "value": 1, "resource_type": "x"},
    )
    assert (again.status_code, again.text) == (400, "Bad request: Resource f/t/proxy already exists")


def test_what_is_there_is_told(client: wmill.Windmill) -> None:
    """The client for TypeScript asks before it sets; a state is a resource too."""
    client.set_variable("f/t/limit", "30")
    client.set_resource({"port": 1}, "f/t/proxy", "proxy")
    client.set_resource(1, "f/t/script/user", "state")

    there = ["variables/exists/f/t/limit", "resources/exists/f/t/proxy", "resources/exists/f/t/script/user"]
    gone = ["variables/exists/f/t/proxy", "resources/exists/f/t/limit"]
    answers = [client.get(f"/w/headrace/{route}").json() for route in there + gone]
    assert answers == [True, True, True, False, False]


def test_a_body_that_is_not_as_it_should_be_is_refused(client: wmill.Windmill) -> None:
    """422 says what is wrong with it."""
    answer = client.post("/w/headrace/variables/create", raise_for_status=False, json={"path": "f/t/x", "value": 5})

    assert answer.status_code == 422
    assert "value" in answer.text


@pytest.mark.parametrize("path", ["limit", "../f/t/x", "f/t/x.staging", "f/t/x__flow/y", "f/t/x y", "/f/t/x", "f//x"])
def test_a_path_that_would_be_another_file_is_refused(store: Store, client: wmill.Windmill, path: str) -> None:
    """Nothing is deployed."""
    body = {"path": path, "value": "1", "is_secret": False, "description": ""}
    answer = client.post("/w/headrace/variables/create", raise_for_status=False, json=body)

    assert (answer.status_code, "is no path for a variable" in answer.text) == (400, True)
    assert store.command("HGET", keys.DEPLOYMENT, "number") is None


def test_a_body_that_is_too_large_is_refused(store: Store, client: wmill.Windmill) -> None:
    """At 16 MiB."""
    deploy(store, script(CHILD, "def main(): ..."))
    answer = client.post("/w/headrace/jobs/run/p/f/t/child", raise_for_status=False, json={"x": "x" * (16 << 20)})

    assert answer.status_code == 413


def test_a_resource_whose_reference_leads_nowhere_says_which(store: Store, client: wmill.Windmill) -> None:
    """The value as it was written is still there."""
    deploy(store, Resource("f/t/db", "postgresql", {"password": "$var:f/t/none"}))

    with pytest.raises(Exception, match="400, Bad request: there is no variable f/t/none"):
        client.get_resource("f/t/db")
    assert client.get_resource("f/t/db", interpolated=False) == {"password": "$var:f/t/none"}


def test_a_token_is_dead_once_its_run_has_ended(
    store: Store, console: Console, client: wmill.Windmill, run_id: str
) -> None:
    """And one of an execution before is not good for the next."""
    assert client.whoami()
    store.command("HSET", keys.job(run_id), "execution", "0123abcd-2-1")

    answer: httpx.Response = client.get("/users/whoami", raise_for_status=False)
    assert (answer.status_code, answer.text.startswith("Unauthorized: run q2-api-")) == (401, True)
    token = console.mint(run_id, "0123abcd-2-1")
    assert console.request("GET", "/users/whoami", token).status_code == 200
    store.command("HSET", keys.job(run_id), "state", "succeeded")
    assert console.request("GET", "/users/whoami", token).status_code == 401


def test_other_processes_see_a_change_at_once(store: Store, client: wmill.Windmill) -> None:
    """What is deployed is asked for at each request."""
    deploy(store, Variable("f/t/limit", "30"))
    assert client.get_variable("f/t/limit") == "30"
    deploy(store, Variable("f/t/limit", "31"))

    eventually(lambda: client.get_variable("f/t/limit") == "31")
    assert msgspec.json.decode(store.command("HGET", keys.DEPLOYMENT, "number")) == 2
