"""The variables that user code finds."""

from __future__ import annotations

from shared.runs import RunSpec
from worker.environment import process_environment, run_environment


def spec(trigger: str, root: str | None = None) -> RunSpec:
    """A run of f/iot/on_temp."""
    return RunSpec(trigger, "f/iot/on_temp", "v1", "key", {}, b"", root=root)


def test_a_process_knows_where_the_console_is_and_what_it_executes() -> None:
    """Under both of the names that clients look for."""
    variables = process_environment("http://127.0.0.1:18080", "plant", "f/iot/on_temp")

    assert variables["BASE_INTERNAL_URL"] == variables["WM_BASE_URL"] == "http://127.0.0.1:18080"
    assert variables["WM_JOB_PATH"] == variables["WM_OBJECT_PATH"] == "f/iot/on_temp"
    assert (variables["WM_WORKSPACE"], variables["WM_PERMISSIONED_AS"]) == ("plant", "u/headrace")
    assert variables["WM_END_USER_EMAIL"] == variables["WM_EMAIL"] == "headrace@localhost"
    assert variables["WM_WORKER_GROUP"] == "default"


def test_each_trigger_of_a_script_has_a_state_of_its_own() -> None:
    """Below the script's path; runs without a trigger share one."""

    def state(trigger: str) -> str:
        return run_environment("q1-a-1-1", spec(trigger), "token", "now")["WM_STATE_PATH_NEW"]

    assert state("f/iot/north") == "f/iot/on_temp/f.iot.north"
    assert state("f/iot/south") == "f/iot/on_temp/f.iot.south"
    assert state("") == "f/iot/on_temp/user"


def test_a_run_without_a_root_has_no_variable_for_it() -> None:
    """Clients take it for the root of a flow."""
    alone = run_environment("q1-a-1-1", spec("f/iot/north"), "token", "2026-01-02T03:04:05.000000Z")

    assert alone == {
        "WM_JOB_ID": "q1-a-1-1",
        "WM_TOKEN": "token",
        "WM_SCHEDULED_FOR": "2026-01-02T03:04:05.000000Z",
        "WM_STATE_PATH": "f/iot/on_temp/f.iot.north",
        "WM_STATE_PATH_NEW": "f/iot/on_temp/f.iot.north",
    }
    assert run_environment("b", spec("", "a"), "", "")["WM_ROOT_FLOW_JOB_ID"] == "a"
