"""A run on a message that somebody has captured: as one that came, but under no session, and outside the identities."""

from __future__ import annotations

import base64
import binascii
import secrets
import time
from typing import Any, Final, Literal

import msgspec

from shared.clock import iso_utc
from shared.create_runs import DESCRIPTION_LENGTH
from shared.definitions import Trigger, encode_definition
from shared.envelope import ENVELOPE_VERSION, Envelope, QoS, encode_envelope
from shared.errors import UserError
from shared.event import EventV5
from shared.modes import read_triggers
from shared.runs import RunSpec, encode_job
from shared.scripts.operate import MadeRun, create_runs
from shared.store import Store
from shared.topics import captures, matches, parse_filter

ORIGIN: Final = "api"
_V5, _V311 = 5, 4


class Event(msgspec.Struct, frozen=True):
    """The event of a message, as a preprocessor gets it and a capture shows it (`shared.event`)."""

    topic: str
    payload: str
    qos: QoS = 0
    retain: bool = False
    kind: Literal["mqtt"] = "mqtt"
    v5: EventV5 | None = None


def read_event(document: Any) -> Event:
    """An event, or a capture that holds one. Raises UserError."""
    given = document.get("event", document) if isinstance(document, dict) else document
    try:
        return msgspec.convert(given, Event)
    except msgspec.ValidationError as error:
        raise UserError(f"this is no captured message: {error}", hint="headrace capture writes one") from error


def run_on(store: Store, path: str, event: Event, who: str = "") -> list[str]:
    """Queue a run of each runnable that a deployed trigger has for this message; their ids. `who` asks for it.

    The trigger's filters are not asked. Raises UserError where no topic of it matches.
    """
    trigger = read_triggers(store, [path])[path]
    envelope = _envelope(trigger, event, time.time_ns() // 1_000_000)
    routes = _routes(trigger, event.topic)
    made = [_make(trigger, envelope, runnable, named, who) for runnable, named in routes.items()]
    if not made:
        raise UserError(f"no topic of {path} matches {event.topic}", hint="the message is of another trigger")
    now_ns = time.time_ns()
    store.run(create_runs(made, iso_utc(now_ns), now_ns // 1000))
    return [run.id for run in made]


def _routes(trigger: Trigger, topic: str) -> dict[str, dict[str, str]]:
    """Each runnable with the named levels of the best filter that asks for it."""
    found: dict[str, dict[str, str]] = {}
    for each in sorted(trigger.topics, key=lambda entry: -entry.qos):
        asked = parse_filter(each.topic)
        if matches(asked, topic):
            found.setdefault(each.runnable or trigger.runnable, captures(asked, topic))
    return found


def _envelope(trigger: Trigger, event: Event, now_ms: int) -> Envelope:
    try:
        payload = base64.b64decode(event.payload, validate=True)
    except binascii.Error as error:
        raise UserError("the payload of the message is not base64", hint="take it as it was captured") from error
    return Envelope(
        version=ENVELOPE_VERSION,
        trigger=trigger.path,
        trigger_version=encode_definition(trigger)[0],
        topic=event.topic,
        payload=payload,
        qos=event.qos,
        retain=event.retain,
        dup=False,
        packet_id=0,
        received_at=now_ms,
        protocol=_V5 if event.v5 else _V311,
        filters=[],
        properties=None if event.v5 is None else event.v5.properties(),
    )


def _make(trigger: Trigger, envelope: Envelope, path: str, named: dict[str, str], who: str) -> MadeRun:
    runnable = trigger.runnables[path]
    key = f"{ORIGIN}-{secrets.token_hex(16)}"
    spec = RunSpec(
        trigger.path, path, runnable.version, key, named, encode_envelope(envelope), origin=ORIGIN,
        is_flow=runnable.is_flow,
    )  # fmt: skip
    description = f"{path} on {envelope.topic}"[:DESCRIPTION_LENGTH]
    # q2: a crash never starts it again on its own
    return MadeRun(
        f"q2-{key}", encode_job(spec), description, runnable.timeout_s, ORIGIN, trigger=trigger.path, created_by=who
    )
