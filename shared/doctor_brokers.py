"""Can the brokers do what the triggers ask of them? What CONNACK told, against what is wanted. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Literal

import msgspec

from shared.definitions import Trigger
from shared.deployment import Deployed, read_all
from shared.errors import TopicError
from shared.left import FOR_EVER_S, expiry_s
from shared.scripts.operate import SessionSnapshot, snapshot
from shared.status import session_status
from shared.store import Store
from shared.tables import duration, size
from shared.topics import common_topic, parse_filter

_WILDCARDS = frozenset("+#{")
_SHARE = "$share/"
_MS = 1000


class Limits(msgspec.Struct, frozen=True):
    """What CONNACK says (MQTT 5 §3.2.2.3), as ingest has kept it. `max_packet_size` None: any, or not kept."""

    session_expiry_s: int | None = None
    receive_maximum: int = 65_535
    max_qos: int = 2
    retained_available: bool = True
    wildcards_available: bool = True
    identifiers_available: bool = True
    shared_available: bool = True
    max_packet_size: int | None = None


class Shortfall(msgspec.Struct, frozen=True):
    """Something that a broker does not do as a trigger asks."""

    level: Literal["warn", "fail"]
    what: str
    fix: str


class BrokerCheck(msgspec.Struct, frozen=True):
    """What one session's broker told, and where it falls short. `told`: for people."""

    trigger: str
    told: str
    shortfalls: list[Shortfall]


def check_brokers(store: Store) -> list[BrokerCheck]:
    """One for each session that is connected. Raises StoreUnavailable."""
    found = store.run(snapshot())
    deployed = Deployed(int(found.deployment.get("number", 0)), found.deployed)
    checks = []
    for trigger in read_all(store, deployed.of_kind("trigger"), Trigger).values():
        session = found.sessions.get(trigger.session)
        if session is not None and session_status(trigger, session).state == "connected":
            checks.append(check_session_limits(trigger, session))
    return checks


def check_session_limits(trigger: Trigger, session: SessionSnapshot) -> BrokerCheck:
    """For the session of this trigger, which is connected."""
    status = session_status(trigger, session)
    wanted = {topic.topic: topic.qos for topic in trigger.topics}
    less = {topic: qos for topic, qos in status.granted.items() if qos is not None and qos < wanted[topic]}
    shortfalls = [_granted_less(less, wanted)] if less else []
    if status.protocol != "5":
        return BrokerCheck(trigger.path, "MQTT 3.1.1, which tells no limits", shortfalls)
    limits = _limits(session.fields)
    if limits is None:
        return BrokerCheck(trigger.path, "nothing that can be read", shortfalls)
    return BrokerCheck(trigger.path, _told(limits), [*shortfalls, *short_of(trigger, limits)])


def short_of(trigger: Trigger, limits: Limits) -> Iterator[Shortfall]:
    """Where the limits do not allow what the trigger asks for, whatever SUBACK has said."""
    topics = [topic.topic for topic in trigger.topics]
    most = max(topic.qos for topic in trigger.topics)
    if limits.max_qos < most:
        what = f"its maximum QoS is {limits.max_qos}, and a topic asks for {most}"
        yield Shortfall("warn", what, "messages come at the lower QoS: let the code be safe to run twice")
    if not limits.wildcards_available and any(_WILDCARDS & set(topic) for topic in topics):
        yield Shortfall("fail", "it allows no wildcards", "name each topic by itself, or allow wildcards at the broker")
    if not limits.shared_available and any(topic.startswith(_SHARE) for topic in topics):
        yield Shortfall("fail", "it has no shared subscriptions", "write the topic filter without $share/<group>/")
    if not limits.retained_available and any(topic.retained == "run" for topic in trigger.topics):
        yield Shortfall("warn", "it keeps no retained messages", "none come when the trigger connects; publish anew")
    if not limits.identifiers_available and (example := _overlap(topics)):
        what = f"it has no subscription identifiers, and two filters match {example!r}"
        yield Shortfall("warn", what, "copies of a message cannot be told apart: use filters that do not overlap")
    asked_s, granted_s = expiry_s(trigger), limits.session_expiry_s
    if most and granted_s is not None and granted_s < asked_s:
        what = f"it keeps the session for {_for_long(granted_s)}, and {_for_long(asked_s)} was asked for"
        yield Shortfall("warn", what, "an outage that lasts longer loses messages: allow more at the broker")


def _granted_less(less: Mapping[str, int], wanted: Mapping[str, int]) -> Shortfall:
    each = ", ".join(f"{topic} (QoS {qos} instead of {wanted[topic]})" for topic, qos in less.items())
    return Shortfall("warn", f"granted less: {each}", "allow more at the broker, or let the code be safe to run twice")


def _limits(fields: Mapping[str, str]) -> Limits | None:
    try:
        return msgspec.json.decode(fields.get("limits") or "{}", type=Limits)
    except msgspec.DecodeError:
        return None


def _told(limits: Limits) -> str:
    kept = "" if limits.session_expiry_s is None else f", session expiry {_for_long(limits.session_expiry_s)}"
    most = "" if limits.max_packet_size is None else f", packets up to {size(limits.max_packet_size)}"
    missing = [
        name
        for name, there in (
            ("retained messages", limits.retained_available),
            ("wildcards", limits.wildcards_available),
            ("subscription identifiers", limits.identifiers_available),
            ("shared subscriptions", limits.shared_available),
        )
        if not there
    ]
    without = f", without {', '.join(missing)}" if missing else ""
    return f"maximum QoS {limits.max_qos}, receive maximum {limits.receive_maximum}{most}{kept}{without}"


def _for_long(seconds: int) -> str:
    return "ever" if seconds == FOR_EVER_S else duration(seconds * _MS)


def _overlap(topics: list[str]) -> str | None:
    """A topic that two of the filters match."""
    try:
        filters = [parse_filter(topic) for topic in topics]
    except TopicError:
        return None
    return next((found for one, other in combinations(filters, 2) if (found := common_topic(one, other))), None)
