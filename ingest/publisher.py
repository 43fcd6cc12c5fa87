"""A small client that publishes and knows what became of it: for outboxes, `headrace publish` and `headrace demo`.

It keeps nothing over a connection's end: what was not confirmed by then is not repeated, so that nothing is published
twice behind the caller's back.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any

import msgspec

from ingest.client import Client
from ingest.codec import (
    ConnAckPacket,
    ConnAckReasonCode,
    DisconnectPacket,
    Inbound,
    Protocol,
    PubAckPacket,
    PubCompPacket,
    PublishPacket,
    PubRecPacket,
    PubRelPacket,
    QoS,
)
from ingest.transport import broker_url
from shared.definitions import Broker
from shared.errors import PeerError, UserError

KEEP_ALIVE_S = 30
WINDOW = 50
"""Unconfirmed messages at once, unless the broker allows fewer."""
_LINGER_S = 0.3
_FAILED = 0x80
_NO_SUBSCRIBERS = 0x10
_MAX_PAYLOAD = 1 << 20


class Message(msgspec.Struct, frozen=True):
    """What is published. `properties` are user properties; these and what follows them need MQTT 5."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    properties: Sequence[tuple[str, str]] = ()
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    expires_in_s: int | None = None


class Refused(PeerError):
    """The broker does not take the connection or the message. Field `code`: its reason code, where it gave one."""


class ConnectionLost(PeerError):
    """The connection ended before everything was confirmed: messages under way may or may not have arrived."""


class Publisher(Client):
    """One connection. Made by `connect`."""

    def __init__(self, broker: Broker, protocol: Protocol) -> None:
        super().__init__(broker, protocol, _MAX_PAYLOAD)
        self._loop = asyncio.get_running_loop()
        self.connack: asyncio.Future[ConnAckPacket] = self._loop.create_future()
        """What the broker allows, once `connect` has returned."""
        self._pending: dict[int, asyncio.Future[int]] = {}
        self._window = asyncio.Semaphore(WINDOW)
        self._writable = asyncio.Event()
        self._writable.set()
        self._last_id = 0

    @classmethod
    async def connect(
        cls, broker: Broker, protocol: Protocol | None, timeout_s: float, client_id: str | None = None
    ) -> Publisher:
        """Connect with this protocol; None: MQTT 5, and 3.1.1 where the broker does not speak it. The client id is one
        that nobody else has, unless it is given.

        Raises Refused, ConnectionLost, and what `open_transport` does.
        """
        client_id = client_id or f"headrace-publish-{secrets.token_hex(4)}"
        publisher = cls(broker, protocol or Protocol.V5)
        answer = await publisher._open(client_id, timeout_s)
        if protocol is None and answer.reason_code == ConnAckReasonCode.UNSUPPORTED_PROTOCOL_VERSION:
            publisher = cls(broker, Protocol.V311)
            answer = await publisher._open(client_id, timeout_s)
        if answer.reason_code != ConnAckReasonCode.SUCCESS:
            raise Refused(
                f"{broker_url(broker)} refuses the connection: {_said(answer)}",
                hint="check user, password and version",
                code=int(answer.reason_code),
            )
        return publisher

    async def publish(self, message: Message) -> asyncio.Future[int]:
        """Send a message once there is room for it. The future gives the broker's last word: a reason code below 0x80.

        QoS 0 has no last word: its future is done at once. The future raises Refused and ConnectionLost; so does this
        method. Raises UserError for what MQTT, or this connection's protocol, cannot say.
        """
        if message.properties and self.protocol is Protocol.V311:
            raise UserError("user properties need MQTT 5, and this connection speaks 3.1.1", hint="leave them out")
        await self._writable.wait()
        if message.qos:
            await self._window.acquire()
        if self._ended.is_set():
            raise self._lost()
        packet_id = self._free_id() if message.qos else None
        try:
            packet = _packet(message, packet_id)
        except ValueError as error:
            if message.qos:
                self._window.release()
            raise UserError(f"the message cannot be published: {error}", topic=message.topic) from error
        done: asyncio.Future[int] = self._loop.create_future()
        if packet_id is None:
            done.set_result(0)
        else:
            self._pending[packet_id] = done
        self._send(packet)
        return done

    def check(self) -> None:
        """Raises ConnectionLost where the connection has ended."""
        if not self.is_open:
            raise self._lost()

    async def close(self) -> None:
        """Say good-bye and wait until the broker has read everything. Never raises."""
        if self.protocol is Protocol.V311 and not self._ended.is_set():
            # amqtt drops what it has confirmed but not yet passed on when the publisher leaves.
            await asyncio.sleep(_LINGER_S)
        await super().close()

    def _over(self) -> None:
        self._writable.set()
        waiting: list[asyncio.Future[Any]] = [self.connack, *self._pending.values()]
        self._pending.clear()
        for future in waiting:
            self._window.release()
            if not future.done():
                future.set_exception(self._lost())
                future.exception()  # one that nobody awaits any more is no error

    def pause_writing(self) -> None:
        """The broker does not read as fast as we write."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._writable.set()

    async def _open(self, client_id: str, timeout_s: float) -> ConnAckPacket:
        await self._begin(client_id, KEEP_ALIVE_S, timeout_s)
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self.connack
        except TimeoutError:
            self._abort()
            raise Refused(f"{broker_url(self.broker)} did not answer CONNECT within {timeout_s:g} s") from None
        if answer.reason_code == ConnAckReasonCode.SUCCESS:
            self._keep_alive(KEEP_ALIVE_S / 2)
        else:
            self._abort()
        return answer

    def _receive(self, packet: Inbound) -> None:
        match packet:
            case ConnAckPacket() if not self.connack.done():
                self._window = asyncio.Semaphore(min(WINDOW, packet.receive_max))
                self.connack.set_result(packet)
            case PubRecPacket(packet_id=packet_id) if int(packet.reason_code) < _FAILED:
                self._send(PubRelPacket(packet_id))
            case PubAckPacket() | PubRecPacket() | PubCompPacket():
                self._confirm(packet)
            case DisconnectPacket():
                self.why = _said(packet)

    def _confirm(self, packet: PubAckPacket | PubRecPacket | PubCompPacket) -> None:
        done = self._pending.pop(packet.packet_id, None)
        if done is None:
            return
        self._window.release()
        if done.done():
            return
        if int(packet.reason_code) < _FAILED or isinstance(packet, PubCompPacket):
            done.set_result(int(packet.reason_code))
        else:
            code = int(packet.reason_code)
            done.set_exception(Refused(f"the broker refuses the message: {_said(packet)}", code=code))

    def _free_id(self) -> int:
        while True:
            self._last_id = self._last_id % 65535 + 1
            if self._last_id not in self._pending:
                return self._last_id

    def _lost(self) -> ConnectionLost:
        return ConnectionLost(
            f"the connection to {broker_url(self.broker)} ended: {self.why}",
            hint="what was not confirmed may or may not have arrived",
        )


def _packet(message: Message, packet_id: int | None) -> PublishPacket:
    return PublishPacket(
        message.topic, message.payload, qos=QoS(message.qos), retain=message.retain, packet_id=packet_id,
        user_properties=list(message.properties), content_type=message.content_type,
        response_topic=message.response_topic, correlation_data=message.correlation_data,
        message_expiry_interval=message.expires_in_s,
    )  # fmt: skip


def _said(packet: ConnAckPacket | PubAckPacket | PubRecPacket | DisconnectPacket) -> str:
    return packet.reason_str or packet.reason_code.name.replace("_", " ").lower()


def had_no_subscribers(reason: int) -> bool:
    """Whether the broker said that nobody has subscribed to the topic (MQTT 5 §3.4.2.1)."""
    return reason == _NO_SUBSCRIBERS
