"""What a deployment does to the sessions of triggers: which are left behind, which are taken up again. Pure.

**A session is a client id at a broker.** Under its id Redis keeps what belongs to that very session: the packet
identifiers in flight, what is subscribed, the numbers of its admissions. So:

- A trigger with another client id gets another session id. The old one keeps its packet identifiers.
- A session that is on record as left behind is taken up again by whatever trigger comes with its client id to its
  broker: an undone deletion, or a return from another broker, goes on where it was, and loses and repeats nothing.
- A trigger that is sent to another address keeps its session id, because only the broker there can tell whether it is
  another one (a new name or port of the same broker is as likely, and a clean start there would throw away what
  waits). It says so in CONNACK: if it has no session of ours, ingest moves the old state to a session of its own,
  `<session>_<epoch>`, and puts that on record, in the step that begins the new epoch.
- A session id never counts from the beginning again, not even after its session was ended: idempotency keys are made
  of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from shared.definitions import Broker, Trigger, encode_definition
from shared.left import Left, LeftEntry, Why, address_of, encode_left, lasts
from shared.scripts.operate import SessionChanges
from shared.values import broker_references
from shared.workspace.changes import Change
from shared.workspace.plan import Plan


class Before(msgspec.Struct, frozen=True):
    """What is deployed: triggers and brokers by path, versions by `<kind>:<path>`, and what is known of sessions.

    `homes` are the brokers that last accepted a session, `epochs` how often one was begun there (0: never connected).
    """

    triggers: Mapping[str, Trigger]
    brokers: Mapping[str, Broker]
    versions: Mapping[str, str]
    left: Mapping[str, LeftEntry]
    homes: Mapping[str, Broker]
    epochs: Mapping[str, int]


class After(msgspec.Struct, frozen=True):
    """What will be deployed."""

    triggers: Mapping[str, Trigger]
    brokers: Mapping[str, Broker]


def settle_sessions(plan: Plan, before: Before, after: After, now_ms: int, new_session: Callable[[], str]) -> Plan:
    """The plan with the right session for each trigger, and with the records of those that are left behind.

    Its `taken` are records that must still be as they were when it is applied.
    """
    settled = {path: _settled(trigger, before, after, new_session) for path, trigger in after.triggers.items()}
    for path, trigger in settled.items():
        if trigger.session != after.triggers[path].session:
            plan = _with_trigger(plan, trigger, before)
    sessions = {trigger.session: trigger for trigger in settled.values()}
    taken: dict[str, bytes] = {}
    left: dict[str, Left] = {}
    for session, entry in before.left.items():
        if (owner := sessions.get(session)) is not None:
            if owner.enabled:
                taken[session] = entry.blob
            elif entry.left.why != "disabled":
                left[session] = msgspec.structs.replace(entry.left, why="disabled")
    for path, trigger in before.triggers.items():
        why = _why(trigger, sessions.get(trigger.session), settled.get(path))
        if why is not None and (record := _left(trigger, why, before, now_ms)) is not None:
            left[trigger.session] = record
    moving = [path for path, trigger in settled.items() if _moves(trigger, before, after)]
    return msgspec.structs.replace(plan, left=left, taken=taken, moving=moving)


def session_changes(plan: Plan) -> SessionChanges:
    """The records as the `deploy` verb takes them."""
    return SessionChanges({session: encode_left(left) for session, left in plan.left.items()}, plan.taken)


def _settled(trigger: Trigger, before: Before, after: After, new_session: Callable[[], str]) -> Trigger:
    """The trigger with its session."""
    earlier = next((each for each in before.triggers.values() if each.session == trigger.session), None)
    broker = after.brokers.get(trigger.broker)
    place = None if broker is None else address_of(broker)
    own_home = before.homes.get(trigger.session)
    stays = earlier is not None and earlier.client_id == trigger.client_id
    if stays and (not trigger.enabled or own_home is None or address_of(own_home) == place):
        return trigger
    for session, entry in before.left.items():
        there = entry.broker is not None and address_of(entry.broker) == place
        if there and entry.left.client_id == trigger.client_id:
            return msgspec.structs.replace(trigger, session=session)
    if earlier is None or stays:
        return trigger
    return msgspec.structs.replace(trigger, session=new_session())


def _with_trigger(plan: Plan, trigger: Trigger, before: Before) -> Plan:
    """The plan with another record of this trigger."""
    name = f"trigger:{trigger.path}"
    version, blob = encode_definition(trigger)
    definitions = {key: value for key, value in plan.definitions.items() if key != plan.changed.get(name)}
    changes = list(plan.changes)
    if name in before.versions and not any(change.name == name for change in changes):
        changes.append(Change("changed", "trigger", trigger.path, ["session"]))
    return msgspec.structs.replace(
        plan,
        definitions=definitions | {version: blob},
        changed=plan.changed | {name: version},
        changes=changes,
        unchanged=[item for item in plan.unchanged if item.name != name],
    )


def _why(before: Trigger, goes_on: Trigger | None, now: Trigger | None) -> Why | None:
    """Why the session of a trigger is left; None: it is not. `goes_on` has its session then, `now` its path."""
    if goes_on is not None:
        return "disabled" if before.enabled and not goes_on.enabled else None
    if now is None:
        return "deleted"
    return "broker" if now.client_id == before.client_id else "client id"


def _left(trigger: Trigger, why: Why, before: Before, now_ms: int) -> Left | None:
    """The record; of a session that is on record already, only the reason changes."""
    if (known := before.left.get(trigger.session)) is not None:
        return msgspec.structs.replace(known.left, why=why)
    if not trigger.enabled or not lasts(trigger):
        return None
    broker = before.brokers.get(trigger.broker)
    named = [path for _, path in broker_references(broker)] if broker else []
    versions = {path: before.versions.get(f"variable:{path}", "") for path in named}
    return Left(
        trigger=trigger.path,
        trigger_version=before.versions[f"trigger:{trigger.path}"],
        broker_version=before.versions.get(f"broker:{trigger.broker}", ""),
        client_id=trigger.client_id,
        epoch=before.epochs.get(trigger.session, 0),
        why=why,
        at=now_ms,
        variables={path: version for path, version in versions.items() if version},
    )


def _moves(trigger: Trigger, before: Before, after: After) -> bool:
    """Whether the trigger goes to an address where its session is not known to be."""
    home, broker = before.homes.get(trigger.session), after.brokers.get(trigger.broker)
    if home is None or broker is None or not trigger.enabled:
        return False
    return lasts(trigger) and address_of(home) != address_of(broker)
