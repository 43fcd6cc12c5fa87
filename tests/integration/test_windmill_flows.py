"""Windmill's own API client against a running pipeline: flows are deployed, run, followed and run again from a step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from windmill_api.api.flow import create_flow
from windmill_api.api.job import (
    batch_re_run_jobs,
    get_flow_all_logs,
    get_flow_all_results,
    get_flow_user_state,
    restart_flow_at_step,
    result_by_id,
    run_flow_by_path,
    run_flow_preview,
    run_flow_preview_and_wait_result,
    run_wait_result_flow_by_path,
)
from windmill_api.models.batch_re_run_jobs_json_body import BatchReRunJobsJsonBody
from windmill_api.models.create_flow_json_body import CreateFlowJsonBody
from windmill_api.models.restart_flow_at_step_json_body import RestartFlowAtStepJsonBody
from windmill_api.models.run_flow_by_path_json_body import RunFlowByPathJsonBody
from windmill_api.models.run_flow_preview_and_wait_result_json_body import RunFlowPreviewAndWaitResultJsonBody
from windmill_api.models.run_flow_preview_json_body import RunFlowPreviewJsonBody
from windmill_api.models.run_wait_result_flow_by_path_json_body import RunWaitResultFlowByPathJsonBody

from tests.support.console import WORKSPACE
from tests.support.mosquitto import Mosquitto
from tests.support.valkey import ValkeyServer
from tests.support.windmill_plant import WindmillPlant

SCRIPTS = {
    "doubles": "def main(n: int):\n    print('doubling', n)\n    return n * 2\n",
    "keeps": """
        import wmill

        def main(value, key: str = "k"):
            wmill.set_flow_user_state(key, value)
            return wmill.get_flow_user_state(key)
        """,
    "tells": """
        import os

        def main(n: int):
            print("telling", n)
            return os.environ["WM_JOB_ID"]
        """,
    "reads": """
        import wmill

        def main(key: str = "k"):
            return [wmill.get_flow_user_state(key), wmill.get_flow_user_state("none")]
        """,
}
PATH = "f/t/sums"
Y_OF_2: dict[str, Any] = {"branch_or_iteration_n": 2, "nested_path": [{"step_id": "y"}]}
FLOW: dict[str, Any] = {
    "path": PATH,
    "summary": "doubles and adds",
    "description": "",
    "value": {
        "modules": [
            {
                "id": "a",
                "value": {
                    "type": "script",
                    "path": "f/t/doubles",
                    "input_transforms": {"n": {"type": "javascript", "expr": "flow_input.n"}},
                },
            },
            {
                "id": "b",
                "summary": "add",
                "value": {
                    "type": "rawscript",
                    "language": "python3",
                    "content": "def main(n: int, m: int):\n    return n + m\n",
                    "input_transforms": {
                        "n": {"type": "javascript", "expr": "results.a"},
                        "m": {"type": "static", "value": 1},
                    },
                },
            },
        ]
    },
    "schema": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
}


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WindmillPlant]:
    """All processes, and the flow."""
    folder = tmp_path_factory.mktemp("plant")
    with ValkeyServer(folder / "valkey") as valkey, Mosquitto(folder / "mosquitto") as broker:
        plant = WindmillPlant(folder, valkey.start().url, broker.start(), SCRIPTS)
        body = CreateFlowJsonBody.from_dict(FLOW)
        made = create_flow.sync_detailed(WORKSPACE, client=plant.client, json_body=body)
        assert made.status_code == 201, made.content
        yield plant
        plant.close()


def started(plant: WindmillPlant, n: int, **options: Any) -> str:
    """Start the flow by the client; the id of the job."""
    body = RunFlowByPathJsonBody.from_dict({"n": n})
    answer = run_flow_by_path.sync_detailed(WORKSPACE, PATH, client=plant.client, json_body=body, **options)
    assert answer.status_code == 201, answer.content
    return answer.content.decode()


def test_a_flow_is_run_and_its_steps_are_told(plant: WindmillPlant) -> None:
    """By the client's own models, which fail on a status without its failure module."""
    job = plant.completed(started(plant, 20))

    assert (job["success"], job["result"], job["job_kind"]) == (True, 41, "flow")
    status = job["flow_status"]
    assert [(module["id"], module["type"]) for module in status["modules"]] == [("a", "Success"), ("b", "Success")]
    assert status["failure_module"]["type"] == "WaitingForPriorSteps"
    step = result_by_id.sync_detailed(WORKSPACE, job["id"], "a", client=plant.client)
    assert (step.status_code, json.loads(step.content)) == (200, 40)
    assert result_by_id.sync_detailed(WORKSPACE, job["id"], "z", client=plant.client).status_code == 404
    logs = get_flow_all_logs.sync_detailed(WORKSPACE, job["id"], client=plant.client)
    assert "doubling 20" in logs.content.decode()
    listed = plant.request("GET", "/jobs/list?job_kinds=flow").json()
    assert job["id"] in [each["id"] for each in listed]


def test_who_waits_gets_the_result_of_the_flow(plant: WindmillPlant) -> None:
    """422 with the error where a step has failed."""
    body = RunWaitResultFlowByPathJsonBody.from_dict({"n": 4})
    good = run_wait_result_flow_by_path.sync_detailed(WORKSPACE, PATH, client=plant.client, json_body=body)
    assert (good.status_code, json.loads(good.content)) == (200, 9)
    bad = plant.request("POST", f"/jobs/run_wait_result/f/{PATH}", json={"n": None})
    assert (bad.status_code, "error" in bad.json()) == (422, True)
    assert plant.request("POST", "/jobs/run/f/f/t/none", json={}).status_code == 404


def test_a_flow_may_have_the_callers_own_id_once(plant: WindmillPlant) -> None:
    """409 for the second."""
    own = "018f6f5a-2222-4222-8333-123456789abc"
    assert plant.completed(started(plant, 1, job_id=own))["result"] == 3
    again = plant.request("POST", f"/jobs/run/f/{PATH}?job_id={own}", json={"n": 1})
    assert again.status_code == 409


def test_a_flow_is_run_again_from_a_step_and_as_a_whole(plant: WindmillPlant) -> None:
    """What came before the step is taken over."""
    job_id = started(plant, 10)
    plant.completed(job_id)

    body = RestartFlowAtStepJsonBody.from_dict({"step_id": "b"})
    answer = restart_flow_at_step.sync_detailed(WORKSPACE, job_id, client=plant.client, json_body=body)
    assert answer.status_code == 201, answer.content
    assert plant.completed(answer.content.decode())["result"] == 21
    unknown = RestartFlowAtStepJsonBody.from_dict({"step_id": "z"})
    refused = restart_flow_at_step.sync_detailed(WORKSPACE, job_id, client=plant.client, json_body=unknown)
    assert (refused.status_code, "there is no step z" in refused.content.decode()) == (400, True)
    fields = {
        "job_ids": [job_id],
        "script_options_by_path": {},
        "flow_options_by_path": {PATH: {"input_transforms": {"n": {"type": "static", "value": 100}}}},
    }
    rerun = batch_re_run_jobs.sync_detailed(
        WORKSPACE, client=plant.client, json_body=BatchReRunJobsJsonBody.from_dict(fields)
    )
    assert plant.completed(rerun.content.decode())["result"] == 201


def test_a_loop_is_taken_up_at_an_iteration(plant: WindmillPlant) -> None:
    """Its first step, or one that the path names; and the log of the flow's job is that of its steps."""
    tells: dict[str, Any] = {"type": "script", "path": "f/t/tells"}
    tells |= {"input_transforms": {"n": {"type": "javascript", "expr": "flow_input.iter.value"}}}
    loop: dict[str, Any] = {
        "type": "forloopflow",
        "iterator": {"type": "static", "value": [1, 2, 3]},
        "skip_failures": False,
    }
    loop |= {"modules": [{"id": "x", "value": tells}, {"id": "y", "value": {"type": "identity"}}]}
    body: dict[str, Any] = FLOW | {"path": "f/t/loops", "value": {"modules": [{"id": "l", "value": loop}]}}
    made = create_flow.sync_detailed(WORKSPACE, client=plant.client, json_body=CreateFlowJsonBody.from_dict(body))
    assert made.status_code == 201, made.content
    first = plant.request("POST", "/jobs/run/f/f/t/loops", json={}).text
    assert plant.completed(first)["result"] == [first] * 3
    log = plant.request("GET", f"/jobs_u/get_logs/{first}").text
    assert [f"telling {n}" in log for n in (1, 2, 3, 4)] == [True, True, True, False]

    for at, kept in (({"branch_or_iteration_n": 1}, 1), ({"branch_or_iteration_n": 2}, 2), (Y_OF_2, 3)):
        again = plant.request("POST", f"/jobs/restart/f/{first}", json={"step_id": "l"} | at)
        assert again.status_code == 201, again.text
        assert plant.completed(again.text)["result"] == [first] * kept + [again.text] * (3 - kept)
    other = plant.request("POST", f"/jobs/restart/f/{first}", json={"step_id": "l", "flow_version": 1})
    assert other.status_code == 400


@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", "jobs/resume_urls/{}/7"),
        ("GET", "jobs/job_signature/{}/7"),
        ("GET", "jobs/wac_approval_urls/{}/approval"),
        ("GET", "jobs/slack_approval/{}"),
        ("GET", "jobs_u/flow/approval_info/{}"),
        ("GET", "jobs_u/get_flow/{}/7/abc"),
        ("GET", "jobs_u/resume/{}/7/abc"),
        ("POST", "jobs_u/resume/{}/7/abc"),
        ("POST", "jobs_u/cancel/{}/7/abc"),
        ("POST", "jobs/flow/resume/{}"),
        ("POST", "jobs_u/flow/resume_suspended/{}"),
    ],
)
def test_no_job_waits_for_an_approval(plant: WindmillPlant, method: str, path: str) -> None:
    """And the answer says why; 404 is for jobs that there are not."""
    job_id = started(plant, 2)
    body: dict[str, Any] = {"json": {}} if method == "POST" else {}
    answer = plant.request(method, f"/{path.format(job_id)}", **body)
    assert (answer.status_code, "waits for no approval" in answer.text) == (400, True), answer.text
    assert plant.request(method, f"/{path.format('q2-none')}", **body).status_code == 404


def test_a_flow_that_is_not_deployed_is_run(plant: WindmillPlant) -> None:
    """Its steps may name what is deployed; in the place of a deployed one it changes nothing about that."""
    more = FLOW["value"]["modules"][1]
    more = more | {"value": more["value"] | {"content": "def main(n: int, m: int):\n    return n + m + 1000\n"}}
    value = {"modules": [FLOW["value"]["modules"][0], more]}
    body = RunFlowPreviewJsonBody.from_dict({"value": value, "args": {"n": 3}})
    answer = run_flow_preview.sync_detailed(WORKSPACE, client=plant.client, json_body=body)
    assert answer.status_code == 201, answer.content
    job = plant.completed(answer.content.decode())
    assert (job["job_kind"], job["result"]) == ("flowpreview", 1007)

    over = RunFlowPreviewAndWaitResultJsonBody.from_dict({"value": value, "args": {"n": 4}, "path": PATH})
    waited = run_flow_preview_and_wait_result.sync_detailed(WORKSPACE, client=plant.client, json_body=over)
    assert (waited.status_code, json.loads(waited.content)) == (200, 1009)
    assert plant.completed(started(plant, 4))["result"] == 9


def test_a_flow_that_could_not_be_deployed_is_not_run(plant: WindmillPlant) -> None:
    """The errors are those of a push."""
    wrong = {"modules": [{"id": "a", "value": {"type": "script", "path": "f/t/none", "input_transforms": {}}}]}
    refused = plant.request("POST", "/jobs/run/preview_flow", json={"value": wrong, "args": {}})
    assert (refused.status_code, "there is no script f/t/none" in refused.text) == (400, True)
    restarted = plant.request("POST", "/jobs/run/preview_flow", json={"value": wrong, "restarted_from": {"a": 1}})
    assert restarted.status_code == 400
    assert plant.request("POST", "/jobs/run/preview_flow", json={"args": {}}).status_code == 422


def test_the_results_of_all_steps_are_told_at_once(plant: WindmillPlant) -> None:
    """Each as long as is asked for; of one step alone, or why there is none."""
    job_id = started(plant, 50)
    plant.completed(job_id)

    told = get_flow_all_results.sync(WORKSPACE, job_id, client=plant.client)
    assert told is not None
    assert [(each.flow_step_id, each.status, each.result_prefix) for each in told.entries] == [
        ("a", "success", "100"),
        ("b", "success", "101"),
    ]
    short = get_flow_all_results.sync(WORKSPACE, job_id, client=plant.client, step="b", max_result_len=1)
    assert short is not None
    assert [(each.step_path, each.result_prefix, each.result_length) for each in short.entries] == [("b", "1", 3)]
    none = get_flow_all_results.sync(WORKSPACE, job_id, client=plant.client, step="z")
    assert none is not None
    assert (none.entries, none.step_error) == ([], "there is no step z; there are a, b")


def test_steps_of_a_flow_share_user_states(plant: WindmillPlant) -> None:
    """By Windmill's client in the steps, those of parallel iterations too; and whoever may read sees them."""
    static = {"value": {"type": "static", "value": {"limit": 30}}}
    each = {"value": {"type": "javascript", "expr": "flow_input.iter.value"}, "key": {"type": "static", "value": "p"}}
    value = {
        "modules": [
            {"id": "a", "value": {"type": "script", "path": "f/t/keeps", "input_transforms": static}},
            {
                "id": "l",
                "value": {
                    "type": "forloopflow",
                    "iterator": {"type": "static", "value": [7]},
                    "parallel": True,
                    "skip_failures": False,
                    "modules": [
                        {"id": "b", "value": {"type": "script", "path": "f/t/keeps", "input_transforms": each}}
                    ],
                },
            },
            {"id": "c", "value": {"type": "script", "path": "f/t/reads", "input_transforms": {}}},
        ]
    }
    body = RunFlowPreviewJsonBody.from_dict({"value": value, "args": {}})
    job_id = run_flow_preview.sync_detailed(WORKSPACE, client=plant.client, json_body=body).content.decode()
    job = plant.completed(job_id)

    assert (job["success"], job["result"]) == (True, [{"limit": 30}, None])
    kept = [get_flow_user_state.sync_detailed(WORKSPACE, job_id, key, client=plant.client) for key in ("k", "p")]
    assert [json.loads(each.content) for each in kept] == [{"limit": 30}, 7]


def test_a_status_has_an_entry_for_each_step_whatever_it_consists_of(plant: WindmillPlant) -> None:
    """What has run no code of its own has ended, and has a result, as any other."""
    item = {"x": {"type": "javascript", "expr": "flow_input.iter.value"}}
    value = {
        "modules": [
            {
                "id": "l",
                "value": {
                    "type": "forloopflow",
                    "iterator": {"type": "static", "value": [1, 2, 3]},
                    "skip_failures": False,
                    "modules": [
                        {
                            "id": "x",
                            "value": {
                                "type": "rawscript",
                                "language": "python3",
                                "content": "def main(x): return 10 * x",
                                "input_transforms": item,
                            },
                        }
                    ],
                },
            },
            {
                "id": "br",
                "value": {"type": "branchone", "branches": [], "default": [{"id": "i", "value": {"type": "identity"}}]},
            },
            {"id": "z", "value": {"type": "identity"}, "stop_after_if": {"expr": "true"}},
            {"id": "never", "value": {"type": "identity"}},
        ]
    }
    body = RunFlowPreviewJsonBody.from_dict({"value": value, "args": {"go": 1}})
    job_id = run_flow_preview.sync_detailed(WORKSPACE, client=plant.client, json_body=body).content.decode()
    job = plant.completed(job_id)

    status = job["flow_status"]
    assert [(module["id"], module["type"]) for module in status["modules"]] == [
        ("l", "Success"), ("br", "Success"), ("z", "Success"), ("never", "WaitingForPriorSteps"),
    ]  # fmt: skip
    loop, branch = status["modules"][:2]
    assert (loop["flow_jobs_success"], loop["iterator"]) == ([True] * 3, {"index": 2, "itered": [1, 2, 3]})
    assert branch["branch_chosen"] == {"type": "default"}
    found = {
        each: result_by_id.sync_detailed(WORKSPACE, job_id, each, client=plant.client) for each in ("l", "br", "z")
    }
    assert {each: json.loads(answer.content) for each, answer in found.items()} == {
        "l": [10, 20, 30], "br": {"go": 1}, "z": {"go": 1},
    }  # fmt: skip
    assert result_by_id.sync_detailed(WORKSPACE, job_id, "never", client=plant.client).status_code == 404
    every = get_flow_all_results.sync(WORKSPACE, job_id, client=plant.client)
    assert every is not None
    assert {entry.step_path: entry.status for entry in every.entries} == {
        "l": "success", "l/0": "success", "l/0/x": "success", "l/1": "success", "l/1/x": "success", "l/2": "success",
        "l/2/x": "success", "br": "success", "br/0": "success", "br/0/i": "success", "z": "success", "never": "queued",
    }  # fmt: skip
