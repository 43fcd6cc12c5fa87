"""Trying a trigger beside its deployed session: what its broker answers, and the messages that its code would get."""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec

from ingest.assignment import Assignment
from ingest.codec import ConnAckPacket, Protocol, PublishPacket, publish_digest
from ingest.deployments import named_by
from ingest.guest import Ended, Guest, GuestConfig, NotLetIn
from ingest.reporter import VERSIONS
from ingest.transport import BrokerRejected, Unreachable, UnusableCertificate, broker_url
from shared import keys
from shared.asking import Draft, Report, TopicReport
from shared.config import Settings
from shared.definitions import Broker, Flow, Script, Trigger, Variable
from shared.deploy import read_all, read_now
from shared.envelope import ENVELOPE_VERSION, Envelope, Properties
from shared.envelope import QoS as Level
from shared.errors import UserError
from shared.event import mqtt_event, payload_argument
from shared.modes import read_triggers
from shared.run_record import iso_ms
from shared.secrets import SecretBox
from shared.store import Store
from shared.topics import captures, matches, parse_filter

REFUSED: Final = 0x80
SYS: Final = {"$SYS/broker/version": "version", "$SYS/broker/publish/messages/dropped": "dropped"}
"""As Mosquitto and others name them. Their limits no broker tells."""
SYS_S: Final = 1.0
_COPIES: Final = 256
_LEVELS: Final[tuple[Level, ...]] = (0, 1, 2)


class Tried(msgspec.Struct, frozen=True):
    """A trigger as deployed, its broker with nothing left to resolve, how to connect, and which of its scripts have a
    preprocessor.
    """

    trigger: Trigger
    version: str
    broker: Broker
    protocols: list[Protocol]
    config: GuestConfig
    with_preprocessor: frozenset[str]


class Captured(msgspec.Struct, frozen=True):
    """A message as code would get it. `main` is the argument of `main` without a preprocessor (None: the payload is
    not of that form), `event` that of a preprocessor. `runs` are the runnables that it is for, each with the named
    levels of its topic, and whether it has a preprocessor.
    """

    trigger: str
    received_at: str
    runs: list[dict[str, Any]]
    main: dict[str, Any] | None
    event: dict[str, Any]


def look_up(store: Store, settings: Settings, path: str, client_id: str | None) -> Tried:
    """What is deployed at this path. Raises UserError, SecretError, UnknownReference."""
    trigger = read_triggers(store, [path])[path]
    spoken = store.command("HGET", keys.session(trigger.session), "protocol")
    return _resolved(store, settings, trigger, client_id, _protocols(trigger, spoken))


def look_up_draft(store: Store, settings: Settings, draft: Draft, client_id: str | None) -> Tried:
    """A trigger that is not deployed, at a broker whose resource is, or at one that is none. Raises as `look_up`."""
    box = SecretBox.load(settings, create=False)
    trigger = Trigger(
        "", "", "", draft.resource, "", {}, draft.topics, client_version=draft.client_version, payload="windmill"
    )
    return _resolved(store, settings, trigger, client_id, _protocols(trigger, None), draft.opened(box))


def _resolved(
    store: Store,
    settings: Settings,
    trigger: Trigger,
    client_id: str | None,
    protocols: list[Protocol],
    broker: Broker | None = None,
) -> Tried:
    deployed = read_now(store)
    triggers = read_all(store, deployed.of_kind("trigger"), Trigger)
    if client_id in {each.client_id for each in triggers.values()}:
        raise UserError(
            f"{client_id!r} is the client id of a deployed session", hint="choose another: that one is taken"
        )
    broker = broker or read_all(store, deployed.of_kind("broker"), Broker).get(trigger.broker)
    if broker is None:
        raise UserError(f"the broker {trigger.broker} is not deployed", hint="deploy it first, or say where it is")
    named = named_by(broker, read_all(store, deployed.of_kind("variable"), Variable))
    resolved = Assignment(trigger, "", broker, named).resolved_broker(SecretBox.load(settings, create=False))
    given = settings.ingest
    config = GuestConfig(
        client_id or f"headrace-try-{secrets.token_hex(4)}",
        trigger.keep_alive_s or given.keep_alive_s,
        trigger.receive_maximum or given.receive_maximum,
        trigger.max_payload or given.max_payload,
        given.connect_timeout_s,
    )
    version = deployed.versions.get(f"trigger:{trigger.path}", "")
    runnables = trigger.runnables.values()
    scripts = read_all(store, {each.path: each.version for each in runnables if not each.is_flow}, Script)
    flows = read_all(store, {each.path: each.version for each in runnables if each.is_flow}, Flow)
    found: dict[str, Script | Flow] = {**scripts, **flows}
    with_preprocessor = frozenset(path for path, each in found.items() if each.has_preprocessor)
    return Tried(trigger, version, resolved, protocols, config, with_preprocessor)


async def examine(tried: Tried) -> Report:
    """Connect, ask for every topic, and leave. What goes wrong is in the report."""
    try:
        guest = await Guest.connect(tried.broker, tried.protocols, tried.config)
    except (NotLetIn, Unreachable, BrokerRejected, UnusableCertificate) as error:
        return _report(tried, None, error.message, [])
    topics: list[TopicReport] = []
    says: dict[str, str] = {}
    problem = None
    try:
        for topic in tried.trigger.topics:
            if problem is not None:
                topics.append(TopicReport(topic.topic, topic.qos, None, "not asked: the connection had ended"))
                continue
            try:
                code = await guest.subscribe(parse_filter(topic.topic).subscription, topic.qos, retained=False)
                topics.append(_topic_report(topic.topic, topic.qos, code))
            except Ended as error:
                problem = error.message
                topics.append(TopicReport(topic.topic, topic.qos, None, f"the connection ended: {guest.why}"))
        if problem is None:
            says = await _says(guest)
    finally:
        await guest.close()
    return msgspec.structs.replace(_report(tried, guest, problem, topics), says=says)


async def _says(guest: Guest) -> dict[str, str]:
    """What the broker publishes of itself, as far as it comes at once: it is retained."""
    says: dict[str, str] = {}
    with suppress(Ended, TimeoutError):
        async with asyncio.timeout(SYS_S):
            for topic in SYS:
                await guest.subscribe(topic, 0)
            while len(says) < len(SYS) and (message := await guest.next_message()) is not None:
                if isinstance(message, PublishPacket) and message.topic in SYS:
                    says[SYS[message.topic]] = message.payload.decode("utf-8", "replace")
    return says


async def capture(tried: Tried) -> AsyncIterator[Captured]:
    """Messages as they come, until the connection ends. Raises NotLetIn, Ended, and what `open_transport` does."""
    guest = await Guest.connect(tried.broker, tried.protocols, tried.config)
    try:
        for index, topic in enumerate(tried.trigger.topics):
            subscription = parse_filter(topic.topic).subscription
            code = await guest.subscribe(
                subscription, topic.qos, identifier=index + 1, retained=topic.retained == "run"
            )
            if code >= REFUSED:
                raise UserError(f"{topic.topic} is refused (0x{code:02x})", hint="headrace trigger test tells more")
        copies: dict[tuple[str, bytes], set[int]] = {}
        while (message := await guest.next_message()) is not None:
            if isinstance(message, PublishPacket) and not _is_copy(message, copies):
                yield captured(tried, message, guest.protocol, time.time_ns() // 1_000_000)
        raise Ended(f"the connection to {broker_url(tried.broker)} ended: {guest.why}")
    finally:
        await guest.close()


def captured(tried: Tried, message: PublishPacket, protocol: Protocol, now_ms: int) -> Captured:
    """A message as the code of this trigger would get it."""
    trigger = tried.trigger
    filters = [parse_filter(topic.topic) for topic in trigger.topics]
    best_first = sorted(range(len(filters)), key=lambda index: -trigger.topics[index].qos)
    fitting = [index for index in best_first if matches(filters[index], message.topic)]
    runs: dict[str, dict[str, Any]] = {}
    for index in fitting:
        path = trigger.topics[index].runnable or trigger.runnable
        named = captures(filters[index], message.topic)
        runs.setdefault(path, {"runnable": path, "captures": named, "preprocessor": path in tried.with_preprocessor})
    envelope = _envelope(tried, message, protocol, fitting, now_ms)
    event = mqtt_event(envelope) | {"payload": base64.b64encode(message.payload).decode()}
    main = payload_argument(message.payload, trigger.payload)
    return Captured(trigger.path, iso_ms(now_ms), list(runs.values()), main, event)


def _envelope(tried: Tried, message: PublishPacket, protocol: Protocol, filters: list[int], now_ms: int) -> Envelope:
    properties = None
    if protocol is Protocol.V5:
        properties = Properties(
            message.payload_format_indicator or None, message.message_expiry_interval, message.content_type,
            message.response_topic, message.correlation_data, message.subscription_ids, message.topic_alias,
            message.user_properties,
        )  # fmt: skip
    return Envelope(
        ENVELOPE_VERSION, tried.trigger.path, tried.version, message.topic, message.payload, _LEVELS[int(message.qos)],
        message.retain,
        message.duplicate, message.packet_id or 0, now_ms, int(protocol), filters, properties,
    )  # fmt: skip


def _is_copy(message: PublishPacket, copies: dict[tuple[str, bytes], set[int]]) -> bool:
    """Whether the same message has come for another of our filters: brokers may send one for each (MQTT 5 §3.3.4)."""
    now = set(message.subscription_ids or ())
    if not now:
        return False
    key = message.topic, publish_digest(message, message.topic)
    seen = copies.get(key)
    if seen is not None and not seen & now:
        seen |= now
        return True
    copies.pop(key, None)
    copies[key] = now
    if len(copies) > _COPIES:
        del copies[next(iter(copies))]
    return False


def _protocols(trigger: Trigger, spoken: bytes | None) -> list[Protocol]:
    """What to try: as the trigger says, else as its session has found out, else MQTT 5 and then 3.1.1."""
    if trigger.client_version is not None:
        return [Protocol.V5 if trigger.client_version == "v5" else Protocol.V311]
    return [Protocol(int(spoken))] if spoken else [Protocol.V5, Protocol.V311]


def _topic_report(topic: str, qos: int, code: int) -> TopicReport:
    if code >= REFUSED:
        return TopicReport(topic, qos, None, f"refused: {_CODES.get(code, 'unknown reason')} (0x{code:02x})")
    return TopicReport(topic, qos, code, f"only QoS {code} is granted" if code < qos else None)


def _report(tried: Tried, guest: Guest | None, problem: str | None, topics: list[TopicReport]) -> Report:
    connack = guest.connack if guest else None
    return Report(
        trigger=tried.trigger.path,
        broker=broker_url(tried.broker),
        client_id=tried.config.client_id,
        ok=guest is not None and problem is None and not any(each.problem for each in topics),
        connected=guest is not None,
        problem=problem,
        protocol=VERSIONS[guest.protocol] if guest else None,
        limits=_limits(connack) if guest and connack and guest.protocol is Protocol.V5 else None,
        topics=topics,
    )


def _limits(connack: ConnAckPacket) -> dict[str, Any]:
    return {
        "receive_maximum": connack.receive_max,
        "maximum_qos": int(connack.max_qos),
        "maximum_packet_size": connack.max_packet_size,
        "topic_alias_maximum": connack.topic_alias_max,
        "retain_available": connack.retain_available,
        "wildcard_subscription_available": connack.wildcard_subscription_available,
        "subscription_identifiers_available": connack.subscription_id_available,
        "shared_subscription_available": connack.shared_subscription_available,
        "server_keep_alive_s": connack.server_keep_alive,
    }


_CODES: Final[Mapping[int, str]] = {
    0x80: "no reason given",
    0x83: "implementation specific error",
    0x87: "not authorized",
    0x8F: "topic filter invalid",
    0x91: "packet identifier in use",
    0x97: "quota exceeded",
    0x9E: "shared subscriptions not supported",
    0xA1: "subscription identifiers not supported",
    0xA2: "wildcard subscriptions not supported",
}
"""Reason codes of SUBACK (MQTT 5 §3.9.3)."""
