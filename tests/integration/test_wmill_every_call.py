"""A script that makes every call that Windmill's client `wmill` has for scripts, in a run of a real pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import wmill

from tests.support.console import WORKSPACE
from tests.support.mosquitto import Mosquitto
from tests.support.valkey import ValkeyServer
from tests.support.windmill_plant import WindmillPlant

FLOW_INPUT = {"type": "javascript", "expr": "flow_input.a"}
RESULT = {"type": "javascript", "expr": "results.b"}
SCRIPTS = {
    "every": """
        import os
        import time
        import wmill

        def said(call, *args, **kwargs):
            try:
                return call(*args, **kwargs)
            except Exception as error:
                return str(error)

        def until(job, status):
            while wmill.get_job_status(job) != status:
                time.sleep(0.05)

        def main(version: str):
            client = wmill.Windmill()
            found = {}
            wmill.set_variable("f/t/limit", "30")
            wmill.set_variable("f/t/limit", "31")
            wmill.set_variable("f/t/key", "hunter2" + "-and-more", is_secret=True)
            found["variables"] = [wmill.get_variable("f/t/limit"), len(wmill.get_variable("var://f/t/key"))]

            wmill.set_resource("f/t/db", {"port": 1, "limit": "$var:f/t/limit"}, "db")
            wmill.set_resource("f/t/db", {"port": 2, "limit": "$var:f/t/limit"}, "db")
            found["resources"] = [
                wmill.get_resource("f/t/db"),
                wmill.get_resource("$res:f/t/db", interpolated=False),
                wmill.get_resource("f/t/none", none_if_undefined=True),
                sorted(each["path"] for each in wmill.list_resources("db")),
                [[each["path"] for each in wmill.list_resources(page=page, per_page=1)] for page in (1, 2, 3)],
            ]
            wmill.set_state({"seen": 1})
            client.state = {"seen": 2}
            found["state"] = [wmill.get_state(), client.state, wmill.get_state_path().startswith("f/t/every")]

            by_path = wmill.run_script_by_path_async("f/t/adds", {"a": 1})
            by_hash = wmill.run_script_by_hash_async(version, {"a": 2})
            later = wmill.run_script_by_path_async("f/t/adds", {"a": 3}, scheduled_in_secs=3600)
            for job in (by_path, by_hash):
                until(job, "COMPLETED")
            found["async"] = [wmill.get_result(by_path), wmill.get_result(by_hash), wmill.get_job_status(later)]
            found["awaited"] = [
                wmill.run_script_by_path("f/t/adds", {"a": 4}),
                wmill.run_script_by_hash(version, {"a": 5}),
                client.run_script(path="f/t/adds", args={"a": 6}),
                wmill.run_script_by_path_sync("f/t/adds", {"a": 7}),
            ]
            found["failed"] = said(wmill.run_script_by_path, "f/t/fails")
            flow = wmill.run_flow_async("f/t/both", {"a": 10})
            until(flow, "COMPLETED")
            found["flow"] = [said(wmill.run_flow_async, "f/t/none"), client.wait_job(flow), wmill.get_result(flow)]
            sleeping = wmill.run_script_by_path_async("f/t/sleeps")
            until(sleeping, "RUNNING")
            found["cancelled"] = [wmill.cancel_job(later, "not today") == later, wmill.cancel_job(sleeping) == sleeping]
            until(sleeping, "COMPLETED")
            found["ends"] = [wmill.get_result(each)["error"]["name"] for each in (later, sleeping)]
            found["cancel_running"] = wmill.cancel_running()

            wmill.set_progress(50)
            found["progress"] = wmill.get_progress()
            me = os.environ["WM_JOB_ID"]
            found["root"] = [wmill.get_root_job_id(by_path) == me, wmill.get_root_job_id() == me]
            wmill.set_flow_user_state("k", 1)
            found["user_state"] = wmill.get_flow_user_state("k")
            found["resume_urls"] = said(wmill.get_resume_urls, "alice")
            found["draining"] = wmill.worker_is_draining()

            me = wmill.whoami()["email"]
            found["who"] = [me, client.user["username"], wmill.get_version(), wmill.get_workspace()]
            found["email"] = wmill.username_to_email("headrace")
            found["tokens"] = [said(client.create_token), said(wmill.get_id_token, "vault")]
            return found
        """,
    "tells": """
        import wmill

        def main(a: int):
            wmill.set_flow_user_state("told", a)
            return wmill.get_root_job_id()
        """,
    "hears": """
        import wmill

        def main(told: int):
            kept = wmill.get_flow_user_state("told")
            return {"told": told, "kept": kept, "urls": asked(), "root": wmill.get_root_job_id()}

        def asked():
            try:
                return wmill.get_resume_urls("alice")
            except Exception as error:
                return str(error)
        """,
    "adds": """
        def main(a: int):
            return a + 1
        """,
    "fails": """
        def main():
            raise ValueError("broken")
        """,
    "sleeps": """
        import time

        def main():
            time.sleep(60)
        """,
}


FLOW = {
    "path": "f/t/both",
    "summary": "starts, and goes on",
    "value": {
        "modules": [
            {"id": "a", "value": {"type": "script", "path": "f/t/tells", "input_transforms": {"a": FLOW_INPUT}}},
            {"id": "b", "value": {"type": "script", "path": "f/t/adds", "input_transforms": {"a": FLOW_INPUT}}},
            {"id": "c", "value": {"type": "script", "path": "f/t/hears", "input_transforms": {"told": RESULT}}},
        ]
    },
}


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WindmillPlant]:
    """All processes."""
    folder = tmp_path_factory.mktemp("plant")
    with ValkeyServer(folder / "valkey") as valkey, Mosquitto(folder / "mosquitto") as broker:
        plant = WindmillPlant(folder, valkey.start().url, broker.start(), SCRIPTS)
        assert plant.request("POST", "/flows/create", json=FLOW).status_code == 201
        yield plant
        plant.close()


def test_every_call_of_wmill_is_answered(plant: WindmillPlant) -> None:
    """Done where it can be, refused with the reason where it cannot."""
    version = plant.version("f/t/adds")
    job = plant.completed(plant.start("f/t/every", {"version": version}))
    assert job["success"], job["result"]
    found: dict[str, Any] = job["result"]

    assert found["variables"] == ["31", len("hunter2-and-more")]
    assert found["resources"] == [
        {"port": 2, "limit": "31"}, {"port": 2, "limit": "$var:f/t/limit"}, None, ["f/t/db"],
        [["f/t/broker"], ["f/t/db"], []],
    ]  # fmt: skip
    assert found["state"] == [{"seen": 2}, {"seen": 2}, True]
    assert found["async"] == [2, 3, "WAITING"]
    assert found["awaited"] == [5, 6, 7, 8]
    assert "broken" in found["failed"]
    assert "404, Not found: Flow not found at path: f/t/none" in found["flow"][0]
    assert [each["told"] for each in found["flow"][1:]] == [11, 11]
    assert (found["cancelled"], found["ends"], found["cancel_running"]) == ([True, True], ["Canceled"] * 2, {})
    assert (found["progress"], found["root"], found["user_state"]) == (50, [True, True], None)
    assert "waits for no approval" in found["resume_urls"]
    assert found["draining"] is False
    assert found["who"] == ["headrace@localhost", "headrace", "CE v1.850.0", "headrace"]
    assert found["email"] == "headrace@localhost"
    assert "403, Permission denied" in found["tokens"][0]
    assert "is no OpenID provider" in found["tokens"][1]


def test_the_steps_of_a_flow_share_its_user_state(plant: WindmillPlant) -> None:
    """Under the job of the flow, of which they are; nobody is asked for approval."""
    started = plant.request("POST", "/jobs/run/f/f/t/both", json={"a": 20})
    found = plant.completed(started.text)["result"]

    assert (found["told"], found["kept"], found["root"]) == (21, 20, started.text)
    assert "waits for no approval" in found["urls"]


def test_a_person_makes_a_token_by_wmill(plant: WindmillPlant) -> None:
    """It is good at once."""
    client = wmill.Windmill(plant.url, plant.token, WORKSPACE)
    with client.client:
        token = client.create_token()
    again = wmill.Windmill(plant.url, token, WORKSPACE)
    with again.client:
        assert again.user["email"].startswith("refresh-")
