"""What files say about failing: retries, error handlers, `headrace.yaml`."""

from __future__ import annotations

from typing import Any

import pytest

from shared.definitions import ErrorHandler, Trigger
from shared.deployment import Deployed
from shared.errors import WorkspaceError
from shared.retry_policy import ConstantRetry, ExponentialRetry, Retry
from shared.workspace import Workspace, check_files
from shared.workspace.files import Files
from shared.workspace.plan import Current, make_plan
from shared.workspace.problems import Problem, Problems
from shared.workspace.selection import Selection

TRIGGER = """\
script_path: f/iot/on_temp
mqtt_resource_path: f/iot/broker
subscribe_topics:
  - {topic: plant/+/temp, qos: qos1}
  - {topic: plant/+/hot, qos: qos1, runnable: f/iot/on_hot}
"""
SCRIPT = "def main(payload: bytes): ...\n"
FILES = {
    "f/iot/temp.mqtt_trigger.yaml": TRIGGER,
    "f/iot/broker.resource.yaml": "resource_type: mqtt\nvalue: {broker: mqtt.example, port: 1883}\n",
    "f/iot/on_temp.py": SCRIPT,
    "f/iot/on_hot.py": SCRIPT,
    "f/iot/on_error.py": "def main(error): ...\n",
    "f/ops/alarm.py": "def main(error): ...\n",
}
EMPTY = Current(Deployed(0, {}), "abc123", {}, {}, {})


def workspace(trigger: str = "", **more: str) -> Workspace:
    """The folder, with these lines added to the trigger; `more`: headrace.yaml, or the metadata of a script."""
    texts = FILES | {"f/iot/temp.mqtt_trigger.yaml": TRIGGER + trigger}
    names = {"defaults": "headrace.yaml", "on_temp": "f/iot/on_temp.script.yaml", "on_hot": "f/iot/on_hot.script.yaml"}
    texts |= {names[name]: text for name, text in more.items()}
    return check_files(Files(texts, []), "the folder", Problems())


def problem(trigger: str = "", **more: str) -> Problem:
    """The only thing that is wrong."""
    with pytest.raises(WorkspaceError) as caught:
        workspace(trigger, **more)
    problems: Any = caught.value.fields["problems"]
    (found,) = problems
    assert isinstance(found, Problem)
    return found


def deployed(folder: Workspace, current: Current = EMPTY, *, prune: bool = False) -> Trigger:
    """The trigger as a push makes it."""
    from msgspec import json  # noqa: PLC0415 - only here

    plan = make_plan(folder, current, 300.0, lambda: "session1", prune=prune)
    return json.decode(plan.definitions[plan.changed["trigger:f/iot/temp"]], type=Trigger)


def test_a_retry_is_read_as_windmill_writes_it() -> None:
    """All three parts, with Windmill's defaults for what is left out."""
    text = """\
retry:
  constant: {attempts: 2, seconds: 5}
  exponential: {attempts: 3, multiplier: 2, seconds: 3, random_factor: 10}
  retry_if: {expr: "error.name != 'Fatal'"}
"""
    (file,) = workspace(text).triggers
    assert file.trigger.retry == Retry(ConstantRetry(2, 5), ExponentialRetry(3, 2, 3, 10), "error.name != 'Fatal'")
    (file,) = workspace("retry: {exponential: {attempts: 1, seconds: 2}}\n").triggers
    assert file.trigger.retry == Retry(exponential=ExponentialRetry(1, 1, 2))
    (file,) = workspace("retry: null\n").triggers
    assert file.trigger.retry is None


def test_a_script_has_the_same_key() -> None:
    """In its own file."""
    found = workspace(on_temp="retry: {constant: {attempts: 1, seconds: 9}}\n")
    assert found.scripts["f/iot/on_temp"].retry == Retry(ConstantRetry(1, 9))
    assert found.warnings == []


@pytest.mark.parametrize(
    "text, line, key, word",
    [
        ("retry: 3\n", 6, "retry", "expected keys under it"),
        ("retry: {constant: {attempts: 1001}}\n", 6, "retry.constant.attempts", "from 0 to 1000"),
        ("retry:\n  constant: {seconds: 21601}\n", 7, "retry.constant.seconds", "from 0 to 21600"),
        ("retry: {constant: {attempts: 600}, exponential: {attempts: 401, seconds: 1}}\n", 6, "retry", "1001 attempts"),
        ("retry: {exponential: {attempts: 2}}\n", 6, "retry.exponential.seconds", "missing, or 0"),
        (
            "retry: {exponential: {attempts: 2, seconds: 2, random_factor: 101}}\n",
            6,
            "retry.exponential.random_factor",
            "from 0 to 100",
        ),
        ("retry: {exponential: {seconds: 70000}}\n", 6, "retry.exponential.seconds", "from 0 to 65535"),
        ("retry: {constant: {attempts: 1}, retry_if: {expr: error.}}\n", 6, "retry.retry_if.expr", "not an expression"),
        ("retry: {constant: {attempts: 1}, retry_if: {}}\n", 6, "retry.retry_if.expr", "missing"),
        ("retry: {constant: {attempt: 1}}\n", 6, "retry.constant.attempt", "unknown key"),
        ("error_handler_path: f/iot/on_eror\n", 6, "error_handler_path", "there is no script f/iot/on_eror.py"),
        ("error_handler_path: flow/f/iot/repair\n", 6, "error_handler_path", "there is no flow f/iot/repair"),
        ("error_handler_path: hub/19/slack\n", 6, "error_handler_path", "Windmill's hub"),
        ("error_handler_path: f/iot/on_error\nerror_handler_args: ops\n", 7, "error_handler_args", "not a table"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, line: int, key: str, word: str) -> None:
    """Before anything is deployed."""
    found = problem(text)
    assert (found.file, found.line, found.key) == ("f/iot/temp.mqtt_trigger.yaml", line, key)
    assert word in found.message


def test_a_condition_without_attempts_is_warned_of() -> None:
    """It asks for nothing, and looks as if it did."""
    (warning,) = workspace("retry: {retry_if: {expr: 'true'}}\n").warnings
    assert warning.key == "retry.retry_if"


@pytest.mark.parametrize("path", ["f/iot/on_error", "script/f/iot/on_error"])
def test_an_error_handler_is_deployed_with_its_version(path: str) -> None:
    """And with a time-out of its own."""
    text = f"timeout: 7\nerror_handler_path: {path}\nerror_handler_args: {{channel: ops}}\n"
    trigger = deployed(workspace(text))

    assert trigger.error_handler == ErrorHandler("f/iot/on_error", args={"channel": "ops"})
    assert {path: runnable.timeout_s for path, runnable in trigger.runnables.items()} == {
        "f/iot/on_temp": 7,
        "f/iot/on_hot": 7,
        "f/iot/on_error": 300,
    }
    assert trigger.handler_of("f/iot/on_temp") == trigger.error_handler


def test_arguments_may_refer_to_what_is_there_only() -> None:
    """A reference to nothing is an error of the push, not of the night when it is needed."""
    folder = workspace("error_handler_path: f/iot/on_error\nerror_handler_args: {to: $res:f/ops/chat}\n")
    with pytest.raises(WorkspaceError, match="there is no resource f/ops/chat"):
        deployed(folder)


def test_the_workspaces_own_handler_is_for_triggers_that_have_none() -> None:
    """And not for runs of scripts that are muted."""
    defaults = "error_handler: f/ops/alarm\nerror_handler_args: {channel: all}\n"
    alarm = ErrorHandler("f/ops/alarm", args={"channel": "all"})
    trigger = deployed(workspace(defaults=defaults, on_hot="ws_error_handler_muted: true\n"))
    own = deployed(workspace("error_handler_path: f/iot/on_error\n", defaults=defaults))

    assert (trigger.handler_of("f/iot/on_temp"), trigger.handler_of("f/iot/on_hot")) == (alarm, None)
    assert "f/ops/alarm" in trigger.runnables
    assert own.handler_of("f/iot/on_temp") == ErrorHandler("f/iot/on_error")
    assert "f/ops/alarm" not in own.runnables


def test_a_muted_script_still_has_its_triggers_own_handler() -> None:
    """Only the workspace's is muted (Windmill's `ws_error_handler_muted`)."""
    trigger = deployed(workspace("error_handler_path: f/iot/on_error\n", on_temp="ws_error_handler_muted: true\n"))
    assert trigger.handler_of("f/iot/on_temp") == ErrorHandler("f/iot/on_error")


@pytest.mark.parametrize(
    "text, line, key",
    [
        ("error_handler: f/ops/alrm\n", 1, "error_handler"),
        ("\nerror_handlers: f/ops/alarm\n", 2, "error_handlers"),
        ("- f/ops/alarm\n", 1, ""),
    ],
)
def test_mistakes_in_headrace_yaml_are_told_with_their_line(text: str, line: int, key: str) -> None:
    """As in every other file."""
    found = problem(defaults=text)
    assert (found.file, found.line, found.key) == ("headrace.yaml", line, key)


def test_headrace_yaml_is_a_file_of_the_workspace_wherever_wmill_yaml_looks() -> None:
    """It is pushed and pulled as it is."""
    folder = workspace(defaults="error_handler: f/ops/alarm\n")
    assert "headrace.yaml" in folder.texts
    assert Selection(includes=("f/**",)).covers("headrace.yaml")


def test_a_folder_without_headrace_yaml_keeps_the_one_that_is_deployed() -> None:
    """Until it is pruned, as everything else."""
    text = "error_handler: f/ops/alarm\n"
    before = Current(Deployed(1, {"file:headrace.yaml": "x"}), "abc123", {}, {}, {}, defaults=text)

    assert deployed(workspace(), before).default_error_handler == ErrorHandler("f/ops/alarm")
    assert deployed(workspace(), before, prune=True).default_error_handler is None


def test_a_trigger_that_is_renamed_keeps_its_session_whatever_the_workspaces_handler_is() -> None:
    """What it is in itself has not changed."""
    one = deployed(workspace(defaults="error_handler: f/ops/alarm\n"))
    old: dict[str, Any] = {"f/iot/old": Trigger(**{**_fields(one), "path": "f/iot/old", "session": "before"})}
    current = Current(Deployed(1, {"trigger:f/iot/old": "x"}), "abc123", old, {}, {})

    assert deployed(workspace(), current, prune=True).session == "before"


def _fields(trigger: Trigger) -> dict[str, Any]:
    return {name: getattr(trigger, name) for name in trigger.__struct_fields__}
