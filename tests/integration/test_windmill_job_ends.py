"""Windmill's own API client against a running pipeline: failures are dealt with, jobs deleted, many cancelled."""

from __future__ import annotations

import json
from typing import Any

from windmill_api.api.job import (
    cancel_persistent_queued_jobs,
    delete_completed_job,
    list_completed_jobs,
    resolve_completed_jobs,
    unresolve_completed_jobs,
)
from windmill_api.models.cancel_persistent_queued_jobs_json_body import CancelPersistentQueuedJobsJsonBody
from windmill_api.models.resolve_completed_jobs_json_body import ResolveCompletedJobsJsonBody
from windmill_api.models.unresolve_completed_jobs_json_body import UnresolveCompletedJobsJsonBody

from shared import keys
from tests.support.console import WORKSPACE
from tests.support.windmill_plant import WindmillPlant

SCRIPTS = {
    "adds": "def main(a: int): return a + 1\n",
    "greets": "def main(): return 'hello'\n",
    "sleeps": "import time\n\ndef main(): time.sleep(60)\n",
    "settles": """
        import wmill

        def main():
            tries = (wmill.get_state() or 0) + 1
            wmill.set_state(tries)
            if tries < 3:
                raise RuntimeError("not yet")
            return tries
        """,
    "fails": "def main(): raise RuntimeError('broken')\n",
}


def resolved(plant: WindmillPlant, job_ids: list[str], **more: Any) -> list[str] | None:
    """Mark them; those that the answer names."""
    body = ResolveCompletedJobsJsonBody.from_dict({"job_ids": job_ids, **more})
    return resolve_completed_jobs.sync(WORKSPACE, client=plant.client, json_body=body)


def test_a_failure_is_marked_as_dealt_with_until_it_is_not(plant: WindmillPlant) -> None:
    """What went well, and what nobody knows, is not marked; lists tell the two kinds apart."""
    failed, good = plant.start("f/t/fails"), plant.start("f/t/adds", {"a": 1})
    plant.completed(failed)
    plant.completed(good)

    assert resolved(plant, [failed, good, "q2-api-none"], note="the pump was off") == [failed]
    job = plant.job(failed)
    assert (job["resolved_by"], job["resolution_note"]) == ("alice@plant.example", "the pump was off")
    for wrong in ("x" * 10_001, ["the pump"]):
        refused = plant.request("POST", "/jobs/completed/resolve", json={"job_ids": [failed], "note": wrong})
        assert (refused.status_code, "$.note" in refused.text) == (422, True)

    def listed(flag: str) -> list[str]:
        answer = plant.request("GET", f"/jobs/completed/list?script_path_exact=f/t/fails&resolved={flag}")
        return [each["id"] for each in answer.json()]

    assert failed in listed("true")
    assert failed not in listed("false")
    body = UnresolveCompletedJobsJsonBody.from_dict({"job_ids": [failed, good]})
    assert unresolve_completed_jobs.sync(WORKSPACE, client=plant.client, json_body=body) == [failed]
    assert (failed in listed("true"), "resolved_at" in plant.job(failed)) == (False, False)


def test_a_failure_is_superseded_by_a_later_success_of_the_same_script_alone(plant: WindmillPlant) -> None:
    """A claim that is not true marks nothing."""
    early = plant.start("f/t/adds", {"a": 1})
    plant.completed(early)
    failed = plant.start("f/t/adds", {"a": "hot"})
    plant.completed(failed)
    later, other = plant.start("f/t/adds", {"a": 2}), plant.start("f/t/greets")
    assert [plant.completed(each)["success"] for each in (later, other)] == [True, True]

    assert resolved(plant, [failed], superseded_by=other) == []
    assert resolved(plant, [failed], superseded_by=early) == []
    assert resolved(plant, [failed], superseded_by=later) == [failed]
    assert plant.job(failed)["resolution_note"] == f"superseded by {later}"


def test_a_job_that_has_ended_is_deleted(plant: WindmillPlant) -> None:
    """One that has not is left alone; afterwards nothing is known of it."""
    failed = plant.start("f/t/fails")
    plant.completed(failed)
    asleep = plant.start("f/t/sleeps")
    plant.running(asleep)

    refused = delete_completed_job.sync_detailed(WORKSPACE, asleep, client=plant.client)
    assert (refused.status_code, "has not ended" in refused.content.decode()) == (400, True)
    plant.request("POST", f"/jobs_u/queue/cancel/{asleep}", json={})
    told = delete_completed_job.sync(WORKSPACE, failed, client=plant.client)
    assert told is not None
    assert (told.id, told.success) == (failed, False)
    assert plant.request("GET", f"/jobs_u/get/{failed}").status_code == 404
    assert plant.store.command("KEYS", f"*{failed}*") == []
    assert [plant.store.command("ZSCORE", each, failed) for each in (keys.RUNS, keys.RQ_FAILED, keys.DEAD)] == [
        None
    ] * 3
    assert delete_completed_job.sync_detailed(WORKSPACE, failed, client=plant.client).status_code == 404


def test_all_jobs_of_a_script_are_cancelled(plant: WindmillPlant) -> None:
    """Those that wait and those that are executed; of others none."""
    first, second = plant.start("f/t/sleeps"), plant.start("f/t/sleeps", scheduled_in_secs=3600)
    other = plant.start("f/t/adds", {"a": 1}, scheduled_in_secs=3600)
    plant.running(first)

    body = CancelPersistentQueuedJobsJsonBody.from_dict({"reason": "enough"})
    answer = cancel_persistent_queued_jobs.sync_detailed(WORKSPACE, "f/t/sleeps", client=plant.client, json_body=body)
    assert {first, second} <= set(json.loads(answer.content))
    assert [plant.completed(each)["canceled_reason"] for each in (first, second)] == ["enough", "enough"]
    assert plant.job(other)["type"] == "QueuedJob"
    plant.request("POST", f"/jobs_u/queue/cancel/{other}", json={})


def test_a_job_is_tried_again_as_whoever_starts_it_asks(plant: WindmillPlant) -> None:
    """The script that is deployed is not changed; what cannot be read is refused."""
    retry = json.dumps({"constant": {"attempts": 4, "seconds": 0}, "exponential": None})
    before = plant.version("f/t/settles")
    job = plant.completed(plant.start("f/t/settles", retry=retry))

    assert (job["success"], job["result"]) == (True, 3)
    assert plant.version("f/t/settles") == before
    for wrong in ("{", "[]", '{"constant": {"attempts": "many"}}'):
        refused = plant.request("POST", "/jobs/run/p/f/t/settles", params={"retry": wrong}, json={})
        assert refused.status_code == 400, wrong


def test_a_list_begins_with_the_oldest_where_that_is_asked_for(plant: WindmillPlant) -> None:
    """And else with the newest."""
    first, second = plant.start("f/t/greets"), plant.start("f/t/greets")
    plant.completed(first)
    plant.completed(second)

    def listed(**more: Any) -> list[str]:
        jobs = list_completed_jobs.sync(WORKSPACE, client=plant.client, script_path_exact="f/t/greets", **more) or []
        return [job.id for job in jobs if job.id in {first, second}]

    assert listed() == listed(order_desc=True) == [second, first]
    assert listed(order_desc=False) == [first, second]
