"""Windmill's own API client against a running pipeline: brokers are tried, and messages captured, before deployment."""

from __future__ import annotations

from typing import Any

from windmill_api.api.capture import (
    delete_capture,
    get_capture,
    get_capture_configs,
    list_captures,
    move_captures_and_configs,
    ping_capture_config,
    set_capture_config,
)
from windmill_api.api.mqtt_trigger import test_mqtt_connection as connection_test
from windmill_api.models.move_captures_and_configs_json_body import MoveCapturesAndConfigsJsonBody
from windmill_api.models.set_capture_config_json_body import SetCaptureConfigJsonBody
from windmill_api.models.test_mqtt_connection_json_body import TestMqttConnectionJsonBody as ConnectionBody

from tests.support.console import WORKSPACE
from tests.support.eventually import eventually
from tests.support.windmill import token_of
from tests.support.windmill_plant import WindmillPlant

SCRIPTS = {"on_temp": "def main(payload: bytes): ...\n"}
MQTT: Any = "mqtt"
SCRIPT: Any = "script"
PATH = "f/t/on_temp"
CONFIG = {
    "mqtt_resource_path": "f/t/broker",
    "subscribe_topics": [{"qos": "qos1", "topic": "plant/+/temp"}],
    "client_version": "v5",
}


def test_a_broker_is_tried_with_either_body(plant: WindmillPlant) -> None:
    """200 and nothing, or 400 and what is wrong."""
    body = ConnectionBody.from_dict({"connection": {"mqtt_resource_path": "f/t/broker"}})
    good = connection_test.sync_detailed(WORKSPACE, client=plant.client, json_body=body)
    assert (good.status_code, good.content) == (200, b"")

    def tried(**fields: Any) -> tuple[int, str]:
        answer = plant.request("POST", "/mqtt_triggers/test", json=fields)
        return answer.status_code, answer.text

    assert tried(mqtt_resource_path="$res:f/t/broker", client_version="v3") == (200, "")
    assert tried(**CONFIG) == (200, "")
    status, said = tried(mqtt_resource_path="f/t/none")
    assert (status, said.startswith("Bad request: "), "f/t/none" in said) == (400, True, True)
    assert tried(mqtt_resource_path="")[0] == tried()[0] == 400
    refused = plant.client.get_httpx_client().post(
        f"/w/{WORKSPACE}/mqtt_triggers/test", json=CONFIG, headers={"Authorization": token_header(plant, "operate")}
    )
    assert refused.status_code == 403


def test_messages_are_captured_while_somebody_looks(plant: WindmillPlant) -> None:
    """As `main` and as a preprocessor would get them; listed, shown, moved and forgotten."""
    body = SetCaptureConfigJsonBody.from_dict(
        {"trigger_kind": "mqtt", "path": PATH, "is_flow": False, "trigger_config": CONFIG}
    )
    stored = set_capture_config.sync(WORKSPACE, client=plant.client, json_body=body)
    assert stored is not None

    def caught() -> list[Any]:
        ping_capture_config.sync_detailed(WORKSPACE, MQTT, SCRIPT, PATH, client=plant.client)
        plant.publish("plant/7/temp", "21.5")
        return list_captures.sync(WORKSPACE, SCRIPT, PATH, client=plant.client) or []

    newest = eventually(caught, 30, interval_s=0.5)[0]
    one = get_capture.sync(WORKSPACE, newest.id, client=plant.client)
    assert one is not None
    row = one.to_dict()
    assert row["main_args"] == {"payload": "MjEuNQ=="}
    event = row["preprocessor_args"]["event"]
    assert (event["kind"], event["topic"], event["qos"], event["payload"]) == ("mqtt", "plant/7/temp", 1, "MjEuNQ==")
    (config,) = get_capture_configs.sync(WORKSPACE, SCRIPT, PATH, client=plant.client) or []
    assert (config.trigger_kind.value, config.to_dict()["error"]) == ("mqtt", None)

    plant.publish("plant/7/temp", "x" * 600_000)

    def large() -> dict[str, Any]:
        listed = list_captures.sync(WORKSPACE, SCRIPT, PATH, client=plant.client) or []
        rows = [each.to_dict() for each in listed]
        return next((row for row in rows if row["main_args"] == {"payload": "WINDMILL_TOO_BIG"}), {})

    assert eventually(large, 20)["preprocessor_args"]["event"]["payload_too_large"] == 800_000

    move = MoveCapturesAndConfigsJsonBody.from_dict({"new_path": "f/t/moved"})
    moved = move_captures_and_configs.sync_detailed(WORKSPACE, SCRIPT, PATH, client=plant.client, json_body=move)
    assert moved.status_code == 200
    assert newest.id in [
        each.id for each in list_captures.sync(WORKSPACE, SCRIPT, "f/t/moved", client=plant.client) or []
    ]
    assert delete_capture.sync_detailed(WORKSPACE, newest.id, client=plant.client).status_code == 200
    assert get_capture.sync_detailed(WORKSPACE, newest.id, client=plant.client).status_code == 404


def test_a_capture_goes_on_by_the_configuration_that_it_has_now(plant: WindmillPlant) -> None:
    """Also while somebody looks all the time."""
    path = "f/t/changed"

    def set_topic(topic: str) -> None:
        config = CONFIG | {"subscribe_topics": [{"qos": "qos1", "topic": topic}]}
        body = {"trigger_kind": "mqtt", "path": path, "is_flow": False, "trigger_config": config}
        assert plant.request("POST", "/capture/set_config", json=body).status_code == 200

    def caught(topic: str) -> bool:
        plant.request("POST", f"/capture/ping_config/mqtt/script/{path}")
        plant.publish(topic, "x")
        rows = plant.request("GET", f"/capture/list/script/{path}").json()
        return any(row["preprocessor_args"]["event"]["topic"] == topic for row in rows)

    for topic in ("one/a", "two/a"):
        set_topic(topic)
        assert eventually(lambda topic=topic: caught(topic), 30, interval_s=0.5)  # type: ignore[misc]


def test_why_a_capture_has_stopped_stands_in_its_configuration(plant: WindmillPlant) -> None:
    """As ingest tells it."""
    body = {
        "trigger_kind": "mqtt",
        "path": "f/t/lost",
        "is_flow": True,
        "trigger_config": CONFIG | {"mqtt_resource_path": "f/t/none"},
    }
    assert plant.request("POST", "/capture/set_config", json=body).status_code == 200
    assert plant.request("POST", "/capture/ping_config/mqtt/flow/f/t/lost").status_code == 200

    def error() -> str | None:
        found: list[dict[str, Any]] = plant.request("GET", "/capture/get_configs/flow/f/t/lost").json()
        error: str | None = found[0]["error"]
        return error

    assert "f/t/none" in (eventually(error, 20) or "")


def test_what_cannot_be_captured_is_refused(plant: WindmillPlant) -> None:
    """By kind, without a configuration, without a resource."""
    wrong = {"trigger_kind": "kafka", "path": PATH, "is_flow": False, "trigger_config": {}}
    assert plant.request("POST", "/capture/set_config", json=wrong).status_code == 400
    assert plant.request("POST", "/capture/set_config", json=wrong | {"trigger_kind": "mqtt"}).status_code == 400
    assert plant.request("POST", "/capture/ping_config/mqtt/script/f/t/never").status_code == 400
    assert plant.request("GET", "/capture/list/app/f/t/on_temp").status_code == 400
    assert plant.request("GET", "/capture/get_configs/script/f/t/never").json() == []
    assert plant.request("GET", "/capture/4711").status_code == 404


def token_header(plant: WindmillPlant, scope: Any) -> str:
    """A header with a token of this scope."""
    return f"Bearer {token_of(plant.store, scope)}"
