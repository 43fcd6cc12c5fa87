"""What tests of ingest share: deploying triggers, and reading what became of the messages."""

from __future__ import annotations

from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from shared import keys
from shared.dead import DeadLetter, decode_letter
from shared.definitions import Broker, Definition, Topic, Trigger, encode_definition, kind_of
from shared.deployment import NUMBER, read_number
from shared.envelope import Envelope, decode_envelope
from shared.scripts.operate import deploy
from shared.store import Store
from tests.support.factories import ON_RECORD, SESSION, make_trigger
from tests.support.ports import HOST

BROKER = "f/demo/broker"
CONFIRM_S = 30.0
FAST = {
    "HEADRACE_INGEST__LEASE_TTL_MS": "1500",
    "HEADRACE_INGEST__RECONNECT_INITIAL_S": "0.1",
    "HEADRACE_INGEST__RECONNECT_MAX_S": "1",
}
"""Settings with which a test need not wait long."""


def deploy_trigger(
    store: Store, port: int, *topics: Topic, broker: dict[str, Any] | None = None, **trigger: Any
) -> Trigger:
    """Deploy a trigger for these topics and its broker on this port, with these fields changed."""
    made = make_trigger(*topics, **({"broker": BROKER} | trigger))
    fields: dict[str, Any] = {"host": HOST, "port": port} | (broker or {})
    deploy_all(store, made, Broker(made.broker, **fields))
    return made


def send(port: int, *messages: tuple[str, bytes | str, int], **options: Any) -> None:
    """Publish (topic, payload, QoS) with a client that is not ours, and wait until the broker has them.

    `username` and `password` are for the broker, the rest goes with each message.
    """
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.max_inflight_messages_set(50)
    if (username := options.pop("username", None)) is not None:
        client.username_pw_set(username, options.pop("password", None))
    client.connect(HOST, port)
    client.loop_start()
    try:
        for each in [client.publish(topic, payload, qos, **options) for topic, payload, qos in messages]:
            each.wait_for_publish(CONFIRM_S)
    finally:
        client.disconnect()
        client.loop_stop()


def deploy_all(store: Store, *definitions: Definition, delete: tuple[str, ...] = ()) -> int:
    """Make these definitions current beside what is; the number of the deployment."""
    changed, blobs = {}, {}
    for definition in definitions:
        version, blob = encode_definition(definition)
        changed[f"{kind_of(definition)}:{definition.path}"] = version
        blobs[version] = blob
    against = read_number(store.command(*NUMBER))
    return store.run(deploy(against, ON_RECORD, blobs, changed, delete))


def inbox(store: Store) -> list[Envelope]:
    """The messages in the inbox, in order."""
    return [decode_envelope(fields[b"e"]) for _, fields in store.command("XRANGE", keys.INBOX, "-", "+")]


def inbox_keys(store: Store) -> list[str]:
    """Their idempotency keys."""
    return [fields[b"k"].decode() for _, fields in store.command("XRANGE", keys.INBOX, "-", "+")]


def inbox_length(store: Store) -> int:
    """How many there are."""
    length: int = store.command("XLEN", keys.INBOX)
    return length


def dead_letters(store: Store) -> list[DeadLetter]:
    """The messages that became no run."""
    return [decode_letter(blob) for blob in store.command("HVALS", keys.DEAD_LETTERS)]


def session_field(store: Store, field: str, session: str = SESSION) -> str:
    """What Redis holds of a session; '' if it is not there."""
    value = store.command("HGET", keys.session(session), field)
    return value.decode() if value is not None else ""


def session_state(store: Store, session: str = SESSION) -> str:
    """What the session says of itself."""
    return session_field(store, "state", session)


def is_subscribed(store: Store, session: str = SESSION) -> bool:
    """Whether the session is connected and what was granted is on record."""
    return session_state(store, session) == "connected" and session_field(store, "subscriptions", session) != ""
