"""CONNECT, CONNACK, DISCONNECT: how to come to the session that a trigger asks for, and what a broker's no means.

The first connect has to start clean, and the session to outlive connections. One connection cannot be both on 3.1.1;
and Mosquitto 2.0 does not save to disk the session of an MQTT 5 client that is connected with clean start, whatever its
expiry. So it is two steps on both: a connection that ends whatever session there is, then one that resumes.
"""

from __future__ import annotations

import msgspec

from ingest.codec import (
    ConnAckPacket,
    ConnAckReasonCode,
    ConnectPacket,
    DisconnectPacket,
    DisconnectReasonCode,
    Protocol,
)
from ingest.session_events import (
    Connected,
    ProtocolRefused,
    Refused,
    ServerDisconnect,
    SessionConfig,
    SessionRecord,
    TakenOver,
)
from shared.definitions import Trigger
from shared.left import expiry_s

_PASSING = frozenset(
    map(
        int,
        (
            ConnAckReasonCode.UNSPECIFIED_ERROR,
            ConnAckReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,
            ConnAckReasonCode.SERVER_UNAVAILABLE,
            ConnAckReasonCode.SERVER_BUSY,
            ConnAckReasonCode.QUOTA_EXCEEDED,
            ConnAckReasonCode.USE_ANOTHER_SERVER,
            ConnAckReasonCode.CONNECTION_RATE_EXCEEDED,
        ),
    )
)
_LASTING = frozenset(
    map(
        int,
        (
            DisconnectReasonCode.NOT_AUTHORIZED,
            DisconnectReasonCode.SERVER_MOVED,
            DisconnectReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
            DisconnectReasonCode.SUBSCRIPTION_IDS_NOT_SUPPORTED,
            DisconnectReasonCode.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED,
        ),
    )
)
_OURS = {
    int(code): code
    for code in (
        DisconnectReasonCode.MALFORMED_PACKET,
        DisconnectReasonCode.TOPIC_NAME_INVALID,
        DisconnectReasonCode.TOPIC_ALIAS_INVALID,
        DisconnectReasonCode.PACKET_TOO_LARGE,
    )
}


class ConnectStep(msgspec.Struct, frozen=True):
    """One connection. `purge`: it is only to end an old session, and is over with CONNACK.

    `lasting`: the session is to outlive it, for `session_expiry_s` on MQTT 5.
    """

    protocol: Protocol
    clean_start: bool
    session_expiry_s: int = 0
    purge: bool = False
    lasting: bool = False


def protocol_of(trigger: Trigger, record: SessionRecord) -> Protocol:
    """What to speak: as the trigger says, else what the epoch began with, else MQTT 5."""
    if trigger.client_version is not None:
        return Protocol.V5 if trigger.client_version == "v5" else Protocol.V311
    return record.protocol or Protocol.V5


def connect_plan(trigger: Trigger, record: SessionRecord, protocol: Protocol, *, new_holder: bool) -> list[ConnectStep]:
    """The connections to make, one after the other; the last one stays.

    `clean_start` None: only the very first connection starts clean. True: that of each new holder does, and on 3.1.1 no
    session outlives its connection. False: none does. A session that an earlier deployment let last is resumed once
    more, for what the broker may still hold.
    """
    qos = any(topic.qos for topic in trigger.topics)
    lifetime_s = expiry_s(trigger)
    asked = trigger.clean_start
    lasting = lifetime_s > 0
    if protocol is Protocol.V311:
        lasting = asked is False or (lasting and qos and asked is None)
    left_behind = asked is None and record.subscriptions is not None and record.subscriptions.lasting
    clean = not lasting and not left_behind and asked is not False
    last = ConnectStep(protocol, clean_start=clean, session_expiry_s=lifetime_s, lasting=lasting)
    starts_clean = asked is not False and (record.epoch == 0 or (asked is True and new_holder))
    if starts_clean and not clean:
        return [ConnectStep(protocol, clean_start=True, purge=True), last]
    return [last]


def connect_packet(config: SessionConfig, step: ConnectStep) -> ConnectPacket:
    """CONNECT. Receive Maximum is always said; Maximum Packet Size never is, or brokers would drop in silence.

    Only where nothing will be received there are no properties at all: brokers that know 3.1.1 alone then understand
    enough to refuse (amqtt takes properties for a length, and waits for the rest).
    """
    password = None if config.password is None else config.password.encode()
    if step.purge:
        return ConnectPacket(
            config.trigger.client_id,
            username=config.username,
            password=password,
            clean_start=step.clean_start,
            keep_alive=config.keep_alive_s,
        )
    return ConnectPacket(
        config.trigger.client_id,
        username=config.username,
        password=password,
        clean_start=step.clean_start,
        keep_alive=config.keep_alive_s,
        session_expiry_interval=step.session_expiry_s,
        receive_max=config.receive_maximum,
        topic_alias_max=config.trigger.topic_alias_maximum,
    )


def limits_of(packet: ConnAckPacket, config: SessionConfig) -> Connected:
    """What an accepting CONNACK says about the connection (MQTT 5 §3.2.2.3)."""
    keep_alive_s = packet.server_keep_alive
    return Connected(
        packet.session_present,
        config.keep_alive_s if keep_alive_s is None else keep_alive_s,
        packet.session_expiry_interval,
        packet.receive_max,
        int(packet.max_qos),
        packet.retain_available,
        packet.wildcard_subscription_available,
        packet.subscription_id_available,
        packet.shared_subscription_available,
        packet.max_packet_size,
    )


def why_refused(packet: ConnAckPacket, protocol: Protocol) -> Refused | ProtocolRefused | None:
    """What a CONNACK that says no means (MQTT 5 §3.2.2.2; 3.1.1's codes come mapped to those). None: it says yes."""
    code = int(packet.reason_code)
    if code == ConnAckReasonCode.SUCCESS:
        return None
    if code == ConnAckReasonCode.UNSUPPORTED_PROTOCOL_VERSION and protocol is Protocol.V5:
        return ProtocolRefused()
    return Refused(code, reason_of(packet), permanent=code not in _PASSING)


def why_disconnected(packet: DisconnectPacket) -> TakenOver | ServerDisconnect:
    """What a DISCONNECT from the broker means (§3.14.2.1)."""
    code = int(packet.reason_code)
    if code == DisconnectReasonCode.SESSION_TAKEN_OVER:
        return TakenOver()
    return ServerDisconnect(code, reason_of(packet), permanent=code in _LASTING)


def reason_of(packet: ConnAckPacket | DisconnectPacket) -> str:
    """The reason in words: the code's name, and what the broker adds to it."""
    name = packet.reason_code.name.lower().replace("_", " ")
    return f"{name}: {packet.reason_str}" if packet.reason_str else name


def disconnect_code(reason_code: int) -> DisconnectReasonCode:
    """How to tell the broker what was wrong with what it sent (§4.13)."""
    return _OURS.get(reason_code, DisconnectReasonCode.PROTOCOL_ERROR)
