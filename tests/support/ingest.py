"""What tests of ingest share: deploying triggers, and reading what became of the messages."""

from __future__ import annotations

from typing import Any

from shared import keys
from shared.dead import DeadLetter, decode_letter
from shared.definitions import Broker, Definition, Topic, Trigger, encode_definition, kind_of
from shared.deployment import NUMBER, read_number
from shared.envelope import Envelope, decode_envelope
from shared.scripts.operate import deploy
from shared.store import Store
from tests.support.factories import SESSION, TRIGGER, make_trigger
from tests.support.ports import HOST

BROKER = "f/demo/broker"


def deploy_trigger(store: Store, port: int, *topics: Topic, broker: dict[str, Any] | None = None, **trigger: Any) -> Trigger:
    """Deploy a trigger for these topics and its broker on this port, with these fields changed."""
    made = make_trigger(*topics, **({"broker": BROKER} | trigger))
    deploy_all(store, made, Broker(made.broker, HOST, port, **(broker or {})))
    return made


def deploy_all(store: Store, *definitions: Definition, delete: tuple[str, ...] = ()) -> int:
    """Make these definitions current beside what is; the number of the deployment."""
    changed, blobs = {}, {}
    for definition in definitions:
        version, blob = encode_definition(definition)
        changed[f"{kind_of(definition)}:{definition.path}"] = version
        blobs[version] = blob
    against = read_number(store.command(*NUMBER))
    return store.run(deploy(against, b"{}", blobs, changed, delete))


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


