"""Windmill's own API client against a running pipeline: what it does with jobs, from a message to its result."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from windmill_api.api.job import (
    batch_re_run_jobs,
    cancel_queued_job,
    cancel_selection,
    count_completed_jobs,
    force_cancel_queued_job,
    get_completed_count,
    get_completed_job,
    get_completed_job_result,
    get_completed_job_result_maybe,
    get_job_args,
    get_job_logs,
    get_job_updates,
    get_queue_count,
    list_completed_jobs,
    list_jobs,
    list_queue,
    restart_flow_at_step,
    run_script_by_hash,
    run_script_preview,
    run_script_preview_and_wait_result,
    run_wait_result_script_by_path,
    run_wait_result_script_by_path_get,
)
from windmill_api.api.mqtt_trigger import create_mqtt_trigger, delete_mqtt_trigger, set_mqtt_trigger_mode
from windmill_api.api.trigger import cancel_suspended_trigger_jobs, resume_suspended_trigger_jobs
from windmill_api.models.batch_re_run_jobs_json_body import BatchReRunJobsJsonBody
from windmill_api.models.cancel_queued_job_json_body import CancelQueuedJobJsonBody
from windmill_api.models.cancel_suspended_trigger_jobs_json_body import CancelSuspendedTriggerJobsJsonBody
from windmill_api.models.create_mqtt_trigger_json_body import CreateMqttTriggerJsonBody
from windmill_api.models.force_cancel_queued_job_json_body import ForceCancelQueuedJobJsonBody
from windmill_api.models.restart_flow_at_step_json_body import RestartFlowAtStepJsonBody
from windmill_api.models.resume_suspended_trigger_jobs_json_body import ResumeSuspendedTriggerJobsJsonBody
from windmill_api.models.run_script_by_hash_json_body import RunScriptByHashJsonBody
from windmill_api.models.run_script_preview_and_wait_result_json_body import RunScriptPreviewAndWaitResultJsonBody
from windmill_api.models.run_script_preview_json_body import RunScriptPreviewJsonBody
from windmill_api.models.run_wait_result_script_by_path_json_body import RunWaitResultScriptByPathJsonBody
from windmill_api.models.set_mqtt_trigger_mode_json_body import SetMqttTriggerModeJsonBody

from shared import keys
from tests.support.console import WORKSPACE
from tests.support.eventually import eventually
from tests.support.windmill import token_of
from tests.support.windmill_plant import WindmillPlant

SCRIPTS = {
    "adds": """
        def main(a: int, b: int = 1):
            print(f"adding {a} and {b}")
            return {"sum": a + b, "wm_labels": ["sums"]}
        """,
    "on_temp": """
        def main(payload: bytes):
            print("got", payload.decode())
            if payload == b"bad":
                raise ValueError("no temperature")
            return {"t": float(payload)}
        """,
    "prepared": """
        def preprocessor(event):
            return {"t": 20.5, "topic": event["topic"]}

        def main(t: float, topic: str = "none"):
            return [t, topic]
        """,
    "sleeps": """
        import time

        def main(s: float = 60):
            print("asleep", flush=True)
            time.sleep(s)
            return "woke up"
        """,
    "speaks": """
        def main(status: int = 201, body: str = "<b>hot</b>"):
            return {"windmill_status_code": status, "windmill_content_type": "text/html", "result": body,
                    "windmill_headers": {"X-Plant": "north", "Set-Cookie": "headrace=1"}}
        """,
    "answers": """
        def main(**result):
            return result
        """,
    "fails": """
        def main():
            raise RuntimeError("broken")
        """,
}
TRIGGER: dict[str, Any] = {
    "path": "f/t/temp",
    "script_path": "f/t/on_temp",
    "is_flow": False,
    "mqtt_resource_path": "f/t/broker",
    "subscribe_topics": [{"qos": "qos1", "topic": "plant/+/temp"}],
}


def text(answer: Any) -> str:
    """What an answer says."""
    said: str = answer.content.decode()
    return said


def test_a_message_becomes_a_job_whose_result_and_log_the_client_reads(plant: WindmillPlant) -> None:
    """From the creation of the trigger to its deletion, with suspension between."""
    client = plant.client
    body = CreateMqttTriggerJsonBody.from_dict(TRIGGER)
    assert create_mqtt_trigger.sync_detailed(WORKSPACE, client=client, json_body=body).status_code == 201
    plant.pipeline.wait_connected("f/t/temp")
    plant.publish("plant/7/temp", "21.5")

    def of_trigger() -> list[Any]:
        return list_jobs.sync(WORKSPACE, client=client, trigger_kind="mqtt", success=True) or []

    (listed,) = eventually(of_trigger, 30)
    job = get_completed_job.sync(WORKSPACE, listed.id, client=client)
    assert job is not None
    assert (job.success, job.created_by, job.script_path) == (True, "mqtt-f/t/temp", "f/t/on_temp")
    assert job.to_dict()["args"] == {"payload": "MjEuNQ=="}
    assert text(get_job_args.sync_detailed(WORKSPACE, listed.id, client=client)) == '{"payload":"MjEuNQ=="}'
    assert text(get_completed_job_result.sync_detailed(WORKSPACE, listed.id, client=client)) == '{"t":21.5}'
    assert text(get_job_logs.sync_detailed(WORKSPACE, listed.id, client=client)) == "got 21.5\n"

    mode = SetMqttTriggerModeJsonBody.from_dict({"mode": "suspended"})
    set_mqtt_trigger_mode.sync_detailed(WORKSPACE, "f/t/temp", client=client, json_body=mode)
    suspended: list[Any] = []

    def three_wait() -> bool:
        nonlocal suspended
        plant.publish("plant/7/temp", "30") if len(suspended) < 3 else None
        found = list_queue.sync(WORKSPACE, client=client, suspended=True, trigger_path="f/t/temp")
        suspended = found or []
        return len(suspended) >= 3

    eventually(three_wait, 30)
    assert {each.job_kind.value for each in suspended} == {"unassigned_script"}
    kind: Any = "mqtt"
    one = ResumeSuspendedTriggerJobsJsonBody.from_dict({"job_ids": [suspended[0].id]})
    resumed = resume_suspended_trigger_jobs.sync(WORKSPACE, kind, "f/t/temp", client=client, json_body=one)
    assert resumed == "Reassigned 1 jobs"
    assert plant.completed(suspended[0].id)["result"] == {"t": 30.0}
    rest = len(list_queue.sync(WORKSPACE, client=client, suspended=True, trigger_path="f/t/temp") or [])
    cancelled = cancel_suspended_trigger_jobs.sync(
        WORKSPACE, kind, "f/t/temp", client=client, json_body=CancelSuspendedTriggerJobsJsonBody()
    )
    assert cancelled == f"Canceled {rest} jobs"
    assert delete_mqtt_trigger.sync_detailed(WORKSPACE, "f/t/temp", client=client).status_code == 200


def test_what_a_preprocessor_has_made_of_a_message_are_the_arguments_of_the_job(plant: WindmillPlant) -> None:
    """They are what it is found by, and what another job is made of."""
    client = plant.client
    fields = TRIGGER | {"path": "f/t/prepared", "script_path": "f/t/prepared"}
    fields["subscribe_topics"] = [{"qos": "qos1", "topic": "prepared/+"}]
    body = CreateMqttTriggerJsonBody.from_dict(fields)
    assert create_mqtt_trigger.sync_detailed(WORKSPACE, client=client, json_body=body).status_code == 201
    plant.pipeline.wait_connected("f/t/prepared")
    plant.publish("prepared/7", "raw")

    def ended(**filters: Any) -> list[Any]:
        found = list_jobs.sync(WORKSPACE, client=client, script_path_exact="f/t/prepared", success=True, **filters)
        return found or []

    (listed,) = eventually(ended, 30)
    job = plant.job(listed.id)
    assert (job["args"], job["preprocessed"]) == ({"t": 20.5, "topic": "prepared/7"}, True)
    doubled = {"t": {"type": "javascript", "expr": "job.input.t * 2"}}
    options = {"script_options_by_path": {"f/t/prepared": {"input_transforms": doubled}}, "flow_options_by_path": {}}
    again = BatchReRunJobsJsonBody.from_dict({"job_ids": [listed.id]} | options)
    (new,) = text(batch_re_run_jobs.sync_detailed(WORKSPACE, client=client, json_body=again)).split()
    assert plant.completed(new)["result"] == [41, "prepared/7"]
    assert delete_mqtt_trigger.sync_detailed(WORKSPACE, "f/t/prepared", client=client).status_code == 200

    by_hand = plant.completed(plant.start("f/t/prepared", {"t": 1}))
    assert (by_hand["result"], "preprocessed" in by_hand) == ([1, "none"], False)
    refused = plant.request("POST", "/jobs/run/p/f/t/prepared", params={"skip_preprocessor": "false"}, json={"t": 1})
    assert (refused.status_code, "the preprocessor of f/t/prepared is for messages" in refused.text) == (400, True)
    skipping = plant.start("f/t/prepared", {"t": 2}, skip_preprocessor=True)
    assert plant.completed(skipping)["result"] == [2, "none"]


def test_a_script_is_run_by_path_and_by_hash(plant: WindmillPlant) -> None:
    """And its end is told as the clients wait for it."""
    by_path = plant.start("f/t/adds", {"a": 2})
    version = plant.store.command("HGET", keys.DEPLOYED, "script:f/t/adds").decode()
    body = RunScriptByHashJsonBody.from_dict({"a": 2, "b": 40})
    by_hash = text(run_script_by_hash.sync_detailed(WORKSPACE, version, client=plant.client, json_body=body))

    assert plant.completed(by_path)["result"]["sum"] == 3
    job = plant.completed(by_hash)
    assert (job["result"]["sum"], job["script_hash"], job["labels"], job["tag"]) == (42, version, ["sums"], "python3")
    maybe = get_completed_job_result_maybe.sync(WORKSPACE, by_hash, client=plant.client)
    assert maybe is not None
    assert (maybe.completed, maybe.success, maybe.started) == (True, True, True)


def test_a_job_may_have_the_callers_own_id_once(plant: WindmillPlant) -> None:
    """409 for the second; the job is found by that id."""
    own = "018f6f5a-1111-4222-8333-123456789abc"

    assert plant.start("f/t/adds", {"a": 1}, job_id=own) == f"q2-{own}"
    assert plant.completed(own)["result"]["sum"] == 2
    again = plant.request("POST", f"/jobs/run/p/f/t/adds?job_id={own}", json={"a": 1})
    assert (again.status_code, again.text) == (409, f"job {own} already exists")
    assert plant.request("POST", "/jobs/run/p/f/t/adds?job_id=mine", json={}).status_code == 400


def test_a_job_may_be_put_off(plant: WindmillPlant) -> None:
    """By seconds, or until a time; it waits as scheduled, and can be cancelled."""
    later = plant.start("f/t/adds", {"a": 1}, scheduled_for=datetime.now(UTC) + timedelta(hours=1))
    soon = plant.start("f/t/adds", {"a": 5}, scheduled_in_secs=1)

    job = plant.job(later)
    assert (job["type"], job["running"]) == ("QueuedJob", False)
    assert datetime.fromisoformat(job["scheduled_for"]) > datetime.now(UTC) + timedelta(minutes=50)
    ended = plant.completed(soon)
    assert ended["result"]["sum"] == 6
    body = CancelQueuedJobJsonBody.from_dict({"reason": "not needed"})
    cancel_queued_job.sync_detailed(WORKSPACE, later, client=plant.client, json_body=body)
    assert plant.completed(later)["canceled_reason"] == "not needed"
    for query in ("scheduled_for=tomorrow", "scheduled_in_secs=1e99", f"scheduled_in_secs={400 * 86400}"):
        assert plant.request("POST", f"/jobs/run/p/f/t/adds?{query}", json={}).status_code == 400


def test_who_waits_gets_the_result(plant: WindmillPlant) -> None:
    """By POST, and by GET with the arguments in the address; 422 with the error of one that failed."""
    body = RunWaitResultScriptByPathJsonBody.from_dict({"a": 20, "b": 22})
    posted = run_wait_result_script_by_path.sync_detailed(WORKSPACE, "f/t/adds", client=plant.client, json_body=body)
    got = run_wait_result_script_by_path_get.sync_detailed(
        WORKSPACE, "f/t/adds", client=plant.client, payload="eyJhIjogNDB9"
    )
    failed = plant.request("POST", "/jobs/run_wait_result/p/f/t/fails", json={})

    assert (posted.status_code, json.loads(posted.content)["sum"]) == (200, 42)
    assert (got.status_code, json.loads(got.content)["sum"]) == (200, 41)
    assert (failed.status_code, failed.json()["error"]["message"]) == (422, "broken")
    assert plant.request("GET", "/jobs/run_wait_result/p/f/t/adds?payload=%7B").status_code == 400


def test_a_result_may_say_how_it_is_answered(plant: WindmillPlant) -> None:
    """Status, type and headers, but none that speaks for the console; a browser gives it no script."""
    answer = plant.request("POST", "/jobs/run_wait_result/p/f/t/speaks", json={})

    assert (answer.status_code, answer.text) == (201, "<b>hot</b>")
    assert (answer.headers["content-type"].partition(";")[0], answer.headers["x-plant"]) == ("text/html", "north")
    assert "set-cookie" not in answer.headers
    assert answer.headers["content-security-policy"].startswith("sandbox")


@pytest.mark.parametrize(
    "result, status, text",
    [
        ({"windmill_status_code": 204, "result": "x"}, 204, ""),
        ({"windmill_status_code": 304, "result": "x"}, 304, ""),
        ({"windmill_status_code": 99, "result": "x"}, 200, '"x"'),
        ({"windmill_status_code": 202}, 202, ""),
        ({"windmill_content_type": "a/b\r\nX: y", "result": "z"}, 200, '"z"'),
        ({"windmill_content_type": "text/日本", "result": "z"}, 200, '"z"'),
        ({"windmill_content_type": "text/plain; charset=utf-8", "result": "é"}, 200, "é"),
        ({"windmill_headers": {"X-A": "日本", "X-B": "a\r\nb", "": "c", "X-D": "d"}, "result": 1}, 200, "1"),
        ({"windmill_headers": {"Content-Encoding": "gzip", "Refresh": "0", "Date": "x"}, "result": 1}, 200, "1"),
        ({"windmill_headers": {"Access-Control-Allow-Origin": "*", "WWW-Authenticate": "Basic"}}, 204, ""),
    ],
)
def test_no_result_breaks_the_answer(plant: WindmillPlant, result: dict[str, Any], status: int, text: str) -> None:
    """What cannot stand in an answer of HTTP, or is not the code's to say, is left out."""
    answer = plant.request("POST", "/jobs/run_wait_result/p/f/t/answers", json=result)

    assert (answer.status_code, answer.text) == (status, text)
    assert not {"refresh", "www-authenticate", "access-control-allow-origin", "x-a", "x-b", "x"} & set(answer.headers)


def test_what_is_nested_too_deeply_is_refused(plant: WindmillPlant) -> None:
    """Not a defect of the console: the request is."""
    lists = "[" * 2000 + "]" * 2000
    resource = f'{{"path": "f/t/deep", "resource_type": "x", "value": {lists}}}'
    for path, body in (("jobs/run/p/f/t/adds", f'{{"a": {lists}}}'), ("resources/create", resource)):
        assert plant.request("POST", f"/{path}", content=body).status_code in {400, 422}, path
    shallower = '{"path": "f/t/deep", "resource_type": "x", "value": ' + "[" * 400 + "]" * 400 + "}"
    assert plant.request("POST", "/resources/create", content=shallower).status_code in {400, 422}
    assert plant.request("GET", f"/jobs/list?args={lists}").status_code in {400, 422}


def test_who_waits_and_goes_away_cancels_the_job(plant: WindmillPlant) -> None:
    """A broken connection is the end of it."""
    before = {job.id for job in list_jobs.sync(WORKSPACE, client=plant.client, script_path_exact="f/t/sleeps") or []}
    with pytest.raises(httpx.ReadTimeout):
        plant.request("POST", "/jobs/run_wait_result/p/f/t/sleeps", json={}, timeout=2)

    def new() -> list[str]:
        listed = list_jobs.sync(WORKSPACE, client=plant.client, script_path_exact="f/t/sleeps") or []
        return [job.id for job in listed if job.id not in before]

    (job_id,) = eventually(new, 20)
    job = plant.completed(job_id)
    assert (job["canceled"], job["canceled_reason"]) == (True, "whoever waited for the result has gone away")


def test_code_that_is_not_deployed_is_run(plant: WindmillPlant) -> None:
    """It may import what is deployed; what has no main, or is in no language that is run, is refused."""
    code = "from f.t.adds import main as add\n\ndef main(a: int):\n    return add(a, 100)['sum']\n"
    fields = {"content": code, "language": "python3", "args": {"a": 1}}

    started = text(
        run_script_preview.sync_detailed(
            WORKSPACE, client=plant.client, json_body=RunScriptPreviewJsonBody.from_dict(fields)
        )
    )
    job = plant.completed(started)
    assert (job["result"], job["job_kind"]) == (101, "preview")
    waited = run_script_preview_and_wait_result.sync_detailed(
        WORKSPACE, client=plant.client, json_body=RunScriptPreviewAndWaitResultJsonBody.from_dict(fields)
    )
    assert text(waited) == "101"
    bash = {"content": 'echo "$a"', "language": "bash", "args": {}}
    assert plant.request("POST", "/jobs/run_wait_result/preview", json=bash).status_code == 200
    for wrong in ({"content": "x = 1"}, {"language": "rust"}, {"kind": "http"}, {"path": "preview"}):
        refused = plant.request("POST", "/jobs/run/preview", json=fields | wrong)
        assert refused.status_code == 400, refused.text
    assert plant.request("POST", "/jobs/run/preview", json={"language": "python3"}).status_code == 422
    deployed = plant.store.command("HGET", keys.DEPLOYED, "script:u/headrace/preview")
    assert deployed is None


def test_a_job_is_followed_while_it_runs(plant: WindmillPlant) -> None:
    """Only what is new is told; the last answer says that it has ended."""
    job_id = plant.start("f/t/sleeps", {"s": 3})
    plant.running(job_id)

    def update(**known: Any) -> dict[str, Any]:
        found = get_job_updates.sync(WORKSPACE, job_id, client=plant.client, **known)
        assert found is not None
        return dict(found.to_dict())

    first = eventually(lambda: (found := update()) and found.get("new_logs") and found, 20)
    assert (first["running"], first["new_logs"]) == (True, "asleep\n")
    assert "running" not in update(running=True, log_offset=first["log_offset"])
    assert eventually(lambda: update(running=True, log_offset=first["log_offset"]).get("completed"), 20) is True
    assert "new_logs" not in update(running=True, log_offset=first["log_offset"])


def test_a_job_is_followed_as_a_stream_of_events(plant: WindmillPlant) -> None:
    """Running, log, and the job at its end."""
    job_id = plant.start("f/t/sleeps", {"s": 2})
    events = []
    with plant.client.get_httpx_client().stream("GET", f"/w/{WORKSPACE}/jobs_u/getupdate_sse/{job_id}") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line.startswith("data: ")]

    assert {event["type"] for event in events} <= {"update", "ping"}
    assert "".join(event.get("new_logs", "") for event in events) == "asleep\n"
    assert (events[-1]["completed"], events[-1]["job"]["result"]) == (True, "woke up")
    assert sum(event.get("completed", False) for event in events) == 1


def test_jobs_are_cancelled_one_by_one_and_as_a_selection(plant: WindmillPlant) -> None:
    """What runs is stopped by its worker; what has ended is left out of the answer."""
    done = plant.start("f/t/adds", {"a": 1})
    plant.completed(done)
    first, second = plant.start("f/t/sleeps"), plant.start("f/t/sleeps")
    plant.running(first)
    body = ForceCancelQueuedJobJsonBody.from_dict({"reason": "enough"})

    forced = force_cancel_queued_job.sync_detailed(WORKSPACE, first, client=plant.client, json_body=body)
    assert (forced.status_code, text(forced)) == (200, first)
    cancelled = cancel_selection.sync(WORKSPACE, client=plant.client, json_body=[second, done, "q2-none"])
    assert cancelled == [second]
    job = plant.completed(first)
    assert (job["canceled"], job["canceled_by"]) == (True, "alice@plant.example")
    assert job["result"]["error"]["name"] == "Canceled"
    assert plant.completed(second)["canceled"] is True


def test_jobs_are_run_again_in_a_batch(plant: WindmillPlant) -> None:
    """With their arguments, or with others: values and expressions."""
    first, second = plant.start("f/t/adds", {"a": 1}), plant.start("f/t/adds", {"a": 2})
    for job_id in (first, second):
        plant.completed(job_id)
    transforms = {"b": {"type": "javascript", "expr": "job.input.a * 10"}}
    options = {"f/t/adds": {"input_transforms": transforms, "use_latest_version": True}}
    fields = {"job_ids": [first, second], "script_options_by_path": options, "flow_options_by_path": {}}

    answer = batch_re_run_jobs.sync_detailed(
        WORKSPACE, client=plant.client, json_body=BatchReRunJobsJsonBody.from_dict(fields)
    )
    new = text(answer).splitlines()
    assert answer.status_code == 201
    assert [plant.completed(job_id)["result"]["sum"] for job_id in new] == [11, 22]
    assert plant.job(new[0])["parent_job"] == first

    broken = {"f/t/adds": {"input_transforms": {"b": {"type": "javascript", "expr": "job.input.none.a"}}}}
    for ids, by_path, errors in (([first, "q2-none"], {}, [False, True]), ([first], broken, [True])):
        body = {"job_ids": ids, "script_options_by_path": by_path, "flow_options_by_path": {}}
        partly = plant.request("POST", "/jobs/run/batch_rerun_jobs", json=body)
        lines = partly.text.splitlines()
        assert (partly.status_code, [line.startswith("Error: ") for line in lines]) == (201, errors), lines


def test_a_job_is_that_of_who_has_started_it(plant: WindmillPlant) -> None:
    """By the name of the token, and as the user that `whoami` tells."""
    headers = {"Authorization": f"Bearer {token_of(plant.store, 'operate', 'bob@plant.example')}"}
    started = plant.request("POST", "/jobs/run/p/f/t/adds", json={"a": 1}, headers=headers).text
    username = plant.request("GET", "/users/whoami", headers=headers).json()["username"]
    other = plant.start("f/t/adds", {"a": 1})
    job = plant.completed(started)
    assert (job["created_by"], job["permissioned_as"], job["email"]) == (
        "bob@plant.example", "u/bob", "bob@plant.example",
    )  # fmt: skip
    for who, ids in (("bob@plant.example", {started}), (username, {started}), ("!bob", {other}), ("carol", set())):
        listed = list_jobs.sync(WORKSPACE, client=plant.client, created_by=who) or []
        assert {each.id for each in listed} & {started, other} == ids, who


def test_lists_are_filtered(plant: WindmillPlant) -> None:
    """Each filter on its own, by the models of the client."""
    begun = datetime.now(UTC)
    good, bad = plant.start("f/t/adds", {"a": 7, "b": 8}), plant.start("f/t/fails")
    waiting = plant.start("f/t/adds", {"a": 1}, scheduled_in_secs=3600)
    for job_id in (good, bad):
        plant.completed(job_id)

    def ids(**query: Any) -> list[str]:
        listed = list_jobs.sync(WORKSPACE, client=plant.client, created_after=begun, **query)
        assert listed is not None
        return [job.id for job in listed]

    assert ids() == [waiting, bad, good]
    assert ids(per_page=1) == [waiting]
    assert ids(script_path_exact="f/t/fails") == ids(success=False) == [bad]
    assert ids(script_path_start="f/t/a") == [waiting, good]
    assert ids(args='{"a": 7}') == ids(result='{"sum": 15}') == ids(label="sums") == [good]
    assert ids(args='{"a": 7, "b": 9}') == ids(trigger_kind="mqtt") == ids(worker="nobody") == []
    assert ids(script_path_exact="f/t/a*", allow_wildcards=True) == [waiting, good]
    assert ids(job_kinds="preview,script") == [waiting, bad, good]
    assert ids(is_skipped=True) == ids(schedule_path="x") == []
    assert ids(completed_before=begun) == ids(created_before=begun) == []
    assert ids(has_null_parent=True) == [waiting, bad, good]
    by_version = plant.job(good)["script_hash"]
    assert ids(script_hash=by_version) == [waiting, good]
    completed = list_completed_jobs.sync(WORKSPACE, client=plant.client, started_after=begun)
    queue = list_queue.sync(WORKSPACE, client=plant.client, per_page=1)
    assert [job.id for job in completed or []] == [bad, good]
    assert [job.id for job in queue or []] == [waiting]
    wrong = ("per_page=many", "success=maybe", "sucess=true", "args=%7B", "created_before=noon", "status=fine")
    for query in wrong:
        assert plant.request("GET", f"/jobs/list?{query}").status_code == 400, query


def test_jobs_are_counted(plant: WindmillPlant) -> None:
    """Those that wait, and those that have ended."""

    def count(**query: Any) -> int:
        return int(text(count_completed_jobs.sync_detailed(WORKSPACE, client=plant.client, **query)))

    before = get_completed_count.sync(WORKSPACE, client=plant.client)
    queued = get_queue_count.sync(WORKSPACE, client=plant.client)
    of_python = count(tags="python3")
    plant.start("f/t/adds", {"a": 1}, scheduled_in_secs=3600)
    plant.completed(plant.start("f/t/fails"))

    after = get_completed_count.sync(WORKSPACE, client=plant.client)
    assert before is not None
    assert after is not None
    assert queued is not None
    assert after.database_length == before.database_length + 1
    now = get_queue_count.sync(WORKSPACE, client=plant.client)
    assert now is not None
    assert now.database_length == queued.database_length + 1

    assert count() == count(completed_after_s_ago=10_000) == after.database_length
    plant.completed(plant.start("f/t/fails"))
    assert count(tags="python3") == of_python + 2
    assert count(tags="zz") == 0
    ended = plant.completed(plant.start("f/t/fails"))["completed_at"]
    eventually(lambda: datetime.now(UTC) > datetime.fromisoformat(ended) + timedelta(seconds=1.1), 30)
    assert count(completed_after_s_ago=1) == 0
    assert plant.request("GET", "/jobs/queue/count?tags=x").status_code == 400


def test_a_script_has_no_steps_to_restart_at(plant: WindmillPlant) -> None:
    """400 says so."""
    job_id = plant.start("f/t/adds", {"a": 1})
    plant.completed(job_id)
    body = RestartFlowAtStepJsonBody.from_dict({"step_id": "b"})

    answer = restart_flow_at_step.sync_detailed(WORKSPACE, job_id, client=plant.client, json_body=body)
    assert (answer.status_code, "is no run of a flow" in text(answer)) == (400, True)


def test_many_who_wait_do_not_stand_in_the_way_of_others(plant: WindmillPlant) -> None:
    """More of them than the console has threads."""
    answers: list[int] = []

    def wait() -> None:
        url = f"{plant.url}/api/w/{WORKSPACE}/jobs/run_wait_result/p/f/t/sleeps"
        headers = {"Authorization": f"Bearer {plant.token}"}
        answers.append(httpx.post(url, json={"s": 1}, headers=headers, timeout=60).status_code)

    threads = [threading.Thread(target=wait) for _ in range(8)]
    for thread in threads:
        thread.start()
    begun = time.monotonic()
    while any(thread.is_alive() for thread in threads) and time.monotonic() - begun < 60:
        assert plant.request("GET", "/jobs/queue/count").status_code == 200
    for thread in threads:
        thread.join()
    assert answers == [200] * 8
