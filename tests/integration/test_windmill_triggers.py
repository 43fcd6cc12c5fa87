"""Windmill's own API client against the console: every function of its module about MQTT triggers, and beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from windmill_api import AuthenticatedClient
from windmill_api.api.flow import get_triggers_count_of_flow
from windmill_api.api.mqtt_trigger import (
    create_mqtt_trigger,
    delete_mqtt_trigger,
    exists_mqtt_trigger,
    get_mqtt_trigger,
    list_mqtt_triggers,
    set_mqtt_trigger_mode,
    update_mqtt_trigger,
)
from windmill_api.api.script import get_triggers_count_of_script
from windmill_api.api.trigger import cancel_suspended_trigger_jobs, list_trigger_history, resume_suspended_trigger_jobs
from windmill_api.api.workspace import get_used_triggers
from windmill_api.models.cancel_suspended_trigger_jobs_json_body import CancelSuspendedTriggerJobsJsonBody
from windmill_api.models.create_mqtt_trigger_json_body import CreateMqttTriggerJsonBody
from windmill_api.models.resume_suspended_trigger_jobs_json_body import ResumeSuspendedTriggerJobsJsonBody
from windmill_api.models.set_mqtt_trigger_mode_json_body import SetMqttTriggerModeJsonBody
from windmill_api.models.update_mqtt_trigger_json_body import UpdateMqttTriggerJsonBody

from shared import keys
from shared.definitions import File, Trigger
from shared.deploy import read_now
from shared.deployment import read_all
from shared.deployments import read_newest
from shared.store import Store
from shared.workspace.yaml_lines import read_document
from tests.support.console import WORKSPACE, Console
from tests.support.windmill import api_client, push_files, token_of

FILES = {
    "f/t/broker.resource.yaml": "resource_type: mqtt\nvalue: {broker: 127.0.0.1, port: 1883}\n",
    "f/t/on_temp.py": "def main(payload: bytes): return len(payload)\n",
    "f/t/on_error.py": "def main(error: dict): ...\n",
}
PATH = "f/t/temp"
FILE = f"{PATH}.mqtt_trigger.yaml"
BODY: dict[str, Any] = {
    "path": PATH,
    "script_path": "f/t/on_temp",
    "is_flow": False,
    "mqtt_resource_path": "f/t/broker",
    "subscribe_topics": [{"qos": "qos1", "topic": "plant/+/temp"}],
    "client_id": "wm-temp",
    "client_version": "v5",
    "v5_config": {"clean_start": False, "session_expiry_interval": 3600, "topic_alias_maximum": 10},
    "v3_config": None,
    "mode": "enabled",
    "error_handler_path": "f/t/on_error",
    "error_handler_args": {"channel": "ops"},
    "retry": {"constant": {"attempts": 2, "seconds": 5}, "retry_if": {"expr": "error.name != 'Fatal'"}},
    "permissioned_as": "u/alice",
    "preserve_permissioned_as": False,
    "labels": ["iot", "hot"],
}
NOT_IN_FILES = {"path", "permissioned_as", "preserve_permissioned_as"}


@pytest.fixture
def store(redis_url: str, console: Console, tmp_path: Path) -> Store:
    """A store in which a broker and two scripts are deployed."""
    store = Store.connect(redis_url)
    push_files(store, console, tmp_path, FILES)
    return store


@pytest.fixture
def client(store: Store, console: Console) -> Iterator[AuthenticatedClient]:
    """Windmill's client with a token that may deploy."""
    with api_client(console, token_of(store, "deploy", "alice@plant.example")) as client:
        yield client


def create(client: AuthenticatedClient, **fields: Any) -> Any:
    """Create a trigger by the client; what it answers."""
    body = CreateMqttTriggerJsonBody.from_dict(BODY | fields)
    return create_mqtt_trigger.sync_detailed(WORKSPACE, client=client, json_body=body)


def update(client: AuthenticatedClient, which: str = PATH, /, *leave_out: str, **fields: Any) -> Any:
    """Update it, without these keys."""
    body = {key: value for key, value in (BODY | fields).items() if key not in leave_out}
    model = UpdateMqttTriggerJsonBody.from_dict(body)
    return update_mqtt_trigger.sync_detailed(WORKSPACE, which, client=client, json_body=model)


def said(answer: Any) -> tuple[int, str]:
    """Status and text."""
    return answer.status_code, answer.content.decode()


def deployed(store: Store, path: str = PATH) -> Trigger:
    """The trigger as it is deployed."""
    return read_all(store, read_now(store).of_kind("trigger"), Trigger)[path]


def file_of(store: Store, file: str = FILE) -> dict[str, Any]:
    """What stands in its file."""
    return read_document(file, read_all(store, read_now(store).of_kind("file"), File)[file].text)


def test_a_trigger_that_is_created_is_a_deployment_of_its_file(store: Store, client: AuthenticatedClient) -> None:
    """201 and its path; who did it stands in the list of deployments; the file is as a push would have it."""
    assert said(create(client)) == (201, PATH)

    trigger = deployed(store)
    assert (trigger.runnable, trigger.broker, trigger.client_id) == ("f/t/on_temp", "f/t/broker", "wm-temp")
    assert [(topic.topic, topic.qos) for topic in trigger.topics] == [("plant/+/temp", 1)]
    assert (trigger.clean_start, trigger.session_expiry_interval, trigger.mode) == (False, 3600, "enabled")
    wanted = {
        key: value for key, value in BODY.items() if key not in {"path", "permissioned_as", "preserve_permissioned_as"}
    }
    assert file_of(store) == wanted
    newest = read_newest(store, 1)[0]
    assert (newest.author, sorted(newest.changed)) == ("alice@plant.example", [f"file:{FILE}", f"trigger:{PATH}"])


def test_get_and_list_give_what_was_created(client: AuthenticatedClient) -> None:
    """With the models of the client, which fail on some nulls and missing keys."""
    create(client)
    nulls = dict.fromkeys(BODY.keys() - {"path", "script_path", "is_flow", "mqtt_resource_path", "subscribe_topics"})
    plain_body = BODY | nulls | {"path": "f/t/plain", "mode": "disabled"}
    assert client.get_httpx_client().post(f"/w/{WORKSPACE}/mqtt_triggers/create", json=plain_body).status_code == 201

    got = get_mqtt_trigger.sync(WORKSPACE, PATH, client=client)
    assert got is not None
    row = got.to_dict()
    assert {key: row[key] for key in BODY if key in row and key != "permissioned_as"} == {
        key: value for key, value in BODY.items() if key not in {"preserve_permissioned_as", "permissioned_as"}
    }
    assert (row["edited_by"], row["is_draft"], row["workspace_id"]) == ("alice@plant.example", False, WORKSPACE)
    listed = list_mqtt_triggers.sync(WORKSPACE, client=client)
    assert listed is not None
    assert [(each.path, each.mode.value) for each in listed] == [("f/t/plain", "disabled"), (PATH, "enabled")]
    plain = get_mqtt_trigger.sync(WORKSPACE, "f/t/plain", client=client)
    assert plain is not None
    assert "retry" not in plain.to_dict()


def test_a_list_is_filtered_and_comes_in_pages(client: AuthenticatedClient) -> None:
    """`path` is what a trigger runs; the newest change stands first."""
    for name, labels in (("a", ["iot"]), ("b", ["iot", "hot"]), ("c", [])):
        create(client, path=f"f/t/{name}", client_id=f"wm-{name}", labels=labels)

    def paths(**query: Any) -> list[str]:
        listed = list_mqtt_triggers.sync(WORKSPACE, client=client, **query)
        assert listed is not None
        return [each.path for each in listed]

    assert paths() == ["f/t/c", "f/t/b", "f/t/a"]
    assert paths(page=2, per_page=2) == ["f/t/a"]
    assert paths(path="f/t/on_temp", is_flow=False, label="iot,hot") == ["f/t/b"]
    assert paths(path="f/t/a") == paths(is_flow=True) == []
    assert paths(path_start="f/t/a") == ["f/t/a"]
    assert client.get_httpx_client().get(f"/w/{WORKSPACE}/mqtt_triggers/list?per_page=many").status_code == 400


def test_whether_one_exists_is_told(client: AuthenticatedClient) -> None:
    """As JSON."""
    create(client)

    assert exists_mqtt_trigger.sync(WORKSPACE, PATH, client=client) is True
    assert exists_mqtt_trigger.sync(WORKSPACE, "f/t/none", client=client) is False


def test_an_update_changes_everything_but_keeps_the_mode_unless_it_is_given(
    store: Store, client: AuthenticatedClient
) -> None:
    """Windmill passes over a mode that is given; here it counts."""
    create(client, mode="disabled")
    session = deployed(store).session

    assert said(update(client, PATH, "mode", script_path="f/t/on_error")) == (200, f"Trigger '{PATH}' updated")
    assert (deployed(store).runnable, deployed(store).mode) == ("f/t/on_error", "disabled")
    assert said(update(client, mode="suspended"))[0] == 200
    assert deployed(store).mode == "suspended"
    assert said(update(client, PATH, "mode", enabled=True))[0] == 200
    assert (deployed(store).mode, deployed(store).session) == ("enabled", session)


def test_an_update_with_another_path_moves_the_trigger_with_its_session(
    store: Store, client: AuthenticatedClient
) -> None:
    """And what else it changes."""
    create(client)
    session = deployed(store).session

    answer = update(client, path="f/t/moved", subscribe_topics=[{"qos": "qos2", "topic": "plant/#"}])

    assert said(answer) == (200, f"Trigger '{PATH}' updated")
    assert list(read_now(store).of_kind("trigger")) == ["f/t/moved"]
    moved = deployed(store, "f/t/moved")
    assert (moved.session, moved.topics[0].qos) == (session, 2)
    newest = read_newest(store, 1)[0]
    assert {"trigger:f/t/moved"} <= set(newest.changed)
    assert f"trigger:{PATH}" in newest.deleted


def test_keys_of_ours_survive_a_client_that_does_not_know_them(store: Store, client: AuthenticatedClient) -> None:
    """Of the trigger and of its topics; null takes one away."""
    entry = {"qos": "qos1", "topic": "plant/+/temp", "retained": "skip"}
    create(client, payload="json", filters=[{"key": "hot", "value": True}], subscribe_topics=[entry])

    update(client, subscribe_topics=[{"qos": "qos2", "topic": "plant/+/temp"}])
    trigger = deployed(store)
    assert (trigger.payload, len(trigger.filters)) == ("json", 1)
    assert (trigger.topics[0].qos, trigger.topics[0].retained) == (2, "skip")
    update(client, filters=None)
    assert (deployed(store).payload, deployed(store).filters) == ("json", [])


def test_the_older_enabled_is_read_too(store: Store, client: AuthenticatedClient) -> None:
    """`mode` wins over it."""
    older = {key: value for key, value in BODY.items() if key != "mode"}
    for path, fields, mode in (("f/t/a", {"enabled": False}, "disabled"), ("f/t/b", {}, "enabled")):
        body = CreateMqttTriggerJsonBody.from_dict(older | fields | {"path": path, "client_id": path})
        create_mqtt_trigger.sync_detailed(WORKSPACE, client=client, json_body=body)
        assert deployed(store, path).mode == mode
    create(client, enabled=False)
    assert deployed(store).mode == "enabled"


@pytest.mark.parametrize("mode", ["disabled", "suspended", "enabled"])
def test_the_mode_is_set(store: Store, client: AuthenticatedClient, mode: str) -> None:
    """And the answer names it."""
    create(client, mode="disabled" if mode == "enabled" else "enabled")
    body = SetMqttTriggerModeJsonBody.from_dict({"mode": mode, "force": False})

    answer = set_mqtt_trigger_mode.sync_detailed(WORKSPACE, PATH, client=client, json_body=body)

    assert said(answer) == (200, f"Trigger '{PATH}' {mode}")
    assert deployed(store).mode == mode
    raw = client.get_httpx_client().post(
        f"/w/{WORKSPACE}/mqtt_triggers/setmode/{PATH}", json={"mode": mode, "force": None}
    )
    assert raw.status_code == 200


def test_a_trigger_is_deleted(store: Store, client: AuthenticatedClient) -> None:
    """Its file too."""
    create(client)

    assert said(delete_mqtt_trigger.sync_detailed(WORKSPACE, PATH, client=client)) == (200, f"Trigger '{PATH}' deleted")
    assert f"file:{FILE}" not in read_now(store).versions
    gone = (404, f"Not found: Trigger not found at path: {PATH}")
    assert said(delete_mqtt_trigger.sync_detailed(WORKSPACE, PATH, client=client)) == gone
    assert said(get_mqtt_trigger.sync_detailed(WORKSPACE, "f/t/x", client=client))[0] == 404
    assert said(update(client)) == gone
    mode = SetMqttTriggerModeJsonBody.from_dict({"mode": "enabled"})
    assert said(set_mqtt_trigger_mode.sync_detailed(WORKSPACE, PATH, client=client, json_body=mode)) == gone


@pytest.mark.parametrize(
    "fields, status, text",
    [
        ({"mqtt_resource_path": ""}, 400, "Bad request: MQTT resource path cannot be empty"),
        ({"subscribe_topics": []}, 400, "Bad request: At least one subscribe topic must be specified"),
        ({"subscribe_topics": [{"qos": "qos1", "topic": "plant/#/x"}]}, 400, "'#' is not the last level"),
        ({"script_path": "f/t/none"}, 400, "there is no script f/t/none"),
        ({"mqtt_resource_path": "f/t/none"}, 400, "f/t/none"),
        ({"colour": "red"}, 400, "unknown key"),
        ({"path": "temp"}, 400, "is no path for a trigger"),
        ({"subscribe_topics": [{"qos": "qos3", "topic": "a"}]}, 422, "qos"),
        ({"mode": "on"}, 422, "mode"),
        ({"is_flow": "no"}, 422, "is_flow"),
    ],
)
def test_what_cannot_be_deployed_is_refused_with_the_errors_of_a_push(
    store: Store, client: AuthenticatedClient, fields: dict[str, Any], status: int, text: str
) -> None:
    """As a text, and nothing is deployed."""
    answer = client.get_httpx_client().post(f"/w/{WORKSPACE}/mqtt_triggers/create", json=BODY | fields)

    assert (answer.status_code, text in answer.text) == (status, True), answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    assert read_now(store).of_kind("trigger") == {}


def test_a_body_without_a_needed_key_is_refused(client: AuthenticatedClient) -> None:
    """422 names it."""
    for key in ("path", "script_path", "is_flow", "mqtt_resource_path", "subscribe_topics"):
        body = {name: value for name, value in BODY.items() if name != key}
        answer = client.get_httpx_client().post(f"/w/{WORKSPACE}/mqtt_triggers/create", json=body)
        assert (answer.status_code, f"`{key}`" in answer.text) == (422, True), answer.text


def test_a_path_is_taken_once(client: AuthenticatedClient) -> None:
    """By create and by a move."""
    create(client)
    create(client, path="f/t/other", client_id="wm-other")

    assert said(create(client)) == (400, f"Bad request: Trigger already exists at path: {PATH}")
    assert said(update(client, "f/t/other"))[0] == 400


def test_each_scope_does_what_it_may(store: Store, console: Console, client: AuthenticatedClient) -> None:
    """403 says what is missing, 401 that nobody is known."""
    create(client)
    base = f"/w/{WORKSPACE}/mqtt_triggers"
    read, operate = token_of(store, "read"), token_of(store, "operate")

    assert console.request("GET", f"{base}/get/{PATH}", read).status_code == 200
    refused = console.request("POST", f"{base}/setmode/{PATH}", read, json={"mode": "disabled"})
    assert (refused.status_code, refused.text.partition(":")[0]) == (403, "Permission denied")
    assert console.request("POST", f"{base}/setmode/{PATH}", operate, json={"mode": "disabled"}).status_code == 200
    assert console.request("DELETE", f"{base}/delete/{PATH}", operate).status_code == 403
    unknown = console.request("GET", f"{base}/list")
    assert (unknown.status_code, unknown.text.partition(":")[0]) == (401, "Unauthorized")


def test_the_history_of_triggers_is_that_of_deployments(client: AuthenticatedClient) -> None:
    """With Windmill's names for what was done."""
    create(client)
    update(client, labels=["cold"], subscribe_topics=[{"qos": "qos0", "topic": "x"}])
    for mode in ("suspended", "disabled", "enabled"):
        body = SetMqttTriggerModeJsonBody.from_dict({"mode": mode})
        set_mqtt_trigger_mode.sync_detailed(WORKSPACE, PATH, client=client, json_body=body)
    delete_mqtt_trigger.sync_detailed(WORKSPACE, PATH, client=client)

    rows = list_trigger_history.sync(WORKSPACE, client=client, path=PATH)
    assert rows is not None
    done = [row.operation.value for row in rows]
    assert done == ["delete", "enable", "disable", "suspend", "update", "create"]
    assert {row.username for row in rows} == {"alice@plant.example"}
    assert len({row.id for row in rows}) == 6
    assert list_trigger_history.sync(WORKSPACE, client=client, path="f/t/none") == []
    create(client, path="f/t/a")
    every = {(row.path, row.operation): row.id for row in list_trigger_history.sync(WORKSPACE, client=client) or []}
    own = {(row.path, row.operation): row.id for row in rows or []}
    assert len(set(every.values())) == len(every)
    assert own.items() <= every.items()


def test_triggers_are_counted_by_what_they_run(client: AuthenticatedClient) -> None:
    """For the pages of scripts and flows."""
    create(client)

    count = get_triggers_count_of_script.sync(WORKSPACE, "f/t/on_temp", client=client)
    none = get_triggers_count_of_flow.sync(WORKSPACE, "f/t/flow", client=client)
    used = get_used_triggers.sync(WORKSPACE, client=client)
    assert count is not None
    assert none is not None
    assert used is not None
    assert (count.mqtt_count, none.mqtt_count) == (1, 0)
    assert (used.mqtt_used, used.kafka_used) == (True, False)


def test_nothing_waits_for_a_trigger_that_is_not_suspended(store: Store, client: AuthenticatedClient) -> None:
    """The answers are Windmill's."""
    create(client)
    kind: Any = "mqtt"

    resumed = resume_suspended_trigger_jobs.sync(
        WORKSPACE, kind, PATH, client=client, json_body=ResumeSuspendedTriggerJobsJsonBody()
    )
    cancelled = cancel_suspended_trigger_jobs.sync(
        WORKSPACE, kind, PATH, client=client, json_body=CancelSuspendedTriggerJobsJsonBody()
    )
    assert (resumed, cancelled) == ("Reassigned 0 jobs", "No jobs to cancel")
    for path in ("webhook", "mqtt"):
        url = f"/w/{WORKSPACE}/trigger/{path}/resume_suspended_trigger_jobs/f/t/none"
        assert client.get_httpx_client().post(url, json={}).status_code == (400 if path == "webhook" else 404)
    assert store.command("LLEN", keys.RQ_QUEUE) == 0
