"""A connection that looks at a broker with a trigger's eyes and leaves no trace: `headrace trigger test`, `capture`.

Its client id is its own and its session is clean and ends with the connection, so that the deployed session is never
taken over and nothing that is meant for it is taken away. For the same reason it joins no share group of the trigger's:
`$share/<group>/…` is asked for under a group name of its own.
"""

from __future__ import annotations

import asyncio
import secrets

import msgspec

from ingest.client import Client
from ingest.codec import (
    ConnAckPacket,
    ConnAckReasonCode,
    DisconnectPacket,
    Inbound,
    OversizedPublish,
    Protocol,
    PubAckPacket,
    PubCompPacket,
    PublishPacket,
    PubRecPacket,
    PubRelPacket,
    QoS,
    RetainHandling,
    SubAckPacket,
    SubscribePacket,
    TopicFilter,
)
from ingest.handshake import reason_of
from ingest.transport import broker_url
from shared.definitions import Broker
from shared.errors import PeerError

_QOS = (QoS.AT_MOST_ONCE, QoS.AT_LEAST_ONCE, QoS.EXACTLY_ONCE)
_SHARE = "$share/"
_CLOSE_S = 2.0
_KEPT = 1000


class NotLetIn(PeerError):
    """The broker did not accept the connection, or did not answer CONNECT. `code` None: it said nothing."""

    def __init__(self, message: str, code: int | None, reason: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


class Ended(PeerError):
    """The connection is over."""


class GuestConfig(msgspec.Struct, frozen=True):
    """How to present itself, and how much to take. Durations in seconds."""

    client_id: str
    keep_alive_s: int
    receive_maximum: int
    max_payload: int
    timeout_s: float


class Guest(Client):
    """One connection. Made by `connect`. What arrives is acknowledged and kept until `next_message` gives it; while
    much is kept, nothing is read.
    """

    def __init__(self, broker: Broker, protocol: Protocol, config: GuestConfig) -> None:
        super().__init__(broker, protocol, config.max_payload)
        self.connack: ConnAckPacket | None = None
        self._messages: asyncio.Queue[PublishPacket | OversizedPublish | None] = asyncio.Queue()
        self._config = config
        self._group = f"headrace-{secrets.token_hex(4)}"
        self._answer: asyncio.Future[ConnAckPacket | SubAckPacket] = asyncio.get_running_loop().create_future()
        self._last_id = 0

    @classmethod
    async def connect(cls, broker: Broker, protocols: list[Protocol], config: GuestConfig) -> Guest:
        """Connect with the first of these protocols that the broker speaks.

        Raises NotLetIn, and what `open_transport` does.
        """
        for protocol in protocols[:-1]:
            guest = cls(broker, protocol, config)
            try:
                await guest._open()
            except NotLetIn as error:
                if error.code not in {None, int(ConnAckReasonCode.UNSUPPORTED_PROTOCOL_VERSION)}:
                    raise
            else:
                return guest
        guest = cls(broker, protocols[-1], config)
        await guest._open()
        return guest

    async def subscribe(self, subscription: str, qos: int, *, identifier: int = 0, retained: bool = True) -> int:
        """Ask for one filter; the QoS that is granted, or a reason code from 0x80 on (MQTT 5 §3.9.3).

        `retained`: get what the broker has stored too (3.1.1 brokers always send it). Raises Ended.
        """
        handling = RetainHandling.SEND_ALWAYS if retained else RetainHandling.SEND_NEVER
        wanted = TopicFilter(self._own(subscription), max_qos=_QOS[qos], retain_as_published=False,
                             retain_handling=handling)  # fmt: skip
        self._last_id += 1
        names_it = (
            identifier and self.protocol is Protocol.V5 and self.connack and self.connack.subscription_id_available
        )
        packet = SubscribePacket(self._last_id, [wanted], subscription_id=identifier if names_it else None)
        if self._ended.is_set():
            raise Ended(f"the connection to {broker_url(self.broker)} ended: {self.why}")
        self._answer = asyncio.get_running_loop().create_future()
        self._send(packet)
        answer = await self._answered("SUBSCRIBE")
        if not isinstance(answer, SubAckPacket):
            raise Ended(f"{broker_url(self.broker)} answered SUBSCRIBE with CONNACK")
        return int(answer.reason_codes[0])

    async def next_message(self) -> PublishPacket | OversizedPublish | None:
        """The next one; None when the connection is over (`why`)."""
        message = await self._messages.get()
        if self._transport is not None and not self._ended.is_set():
            self._transport.resume_reading()
        return message

    def take(self) -> list[PublishPacket | OversizedPublish]:
        """What has come and was not given yet."""
        taken = []
        while not self._messages.empty():
            if (message := self._messages.get_nowait()) is not None:
                taken.append(message)
        return taken

    def _over(self) -> None:
        if not self._answer.done():
            self._answer.set_exception(Ended(f"the connection to {broker_url(self.broker)} ended: {self.why}"))
            self._answer.exception()  # one that nobody awaits is no error
        self._messages.put_nowait(None)

    async def _open(self) -> None:
        config, url = self._config, broker_url(self.broker)
        await self._begin(config.client_id, config.keep_alive_s, config.timeout_s, config.receive_maximum)
        try:
            answer = await self._answered("CONNECT")
        except Ended as error:
            self._abort()
            raise NotLetIn(f"{url} did not accept CONNECT: {self.why or error.message}", None, self.why) from None
        if not isinstance(answer, ConnAckPacket):
            self._abort()
            raise NotLetIn(f"{url} answered CONNECT with SUBACK", None, "protocol error")
        self.connack = answer
        if answer.reason_code != ConnAckReasonCode.SUCCESS:
            self._abort()
            reason = reason_of(answer)
            raise NotLetIn(f"{url} refuses the connection: {reason}", int(answer.reason_code), reason)
        # The broker's keep alive counts where it names one (MQTT 5 §3.2.2.3.14); 0 is none.
        named_s = answer.server_keep_alive
        if keep_alive_s := config.keep_alive_s if named_s is None else named_s:
            self._keep_alive(keep_alive_s / 2)

    async def _answered(self, name: str) -> ConnAckPacket | SubAckPacket:
        try:
            async with asyncio.timeout(self._config.timeout_s):
                return await self._answer
        except TimeoutError:
            self.why = f"it did not answer {name} within {self._config.timeout_s:g} s"
            raise Ended(f"{broker_url(self.broker)}: {self.why}") from None

    def _receive(self, packet: Inbound) -> None:
        match packet:
            case ConnAckPacket() | SubAckPacket() if not self._answer.done():
                self._answer.set_result(packet)
            case PublishPacket() | OversizedPublish():
                self._messages.put_nowait(packet)
                if self._messages.qsize() >= _KEPT and self._transport is not None:
                    self._transport.pause_reading()
                if packet.packet_id is not None:
                    two = packet.qos is QoS.EXACTLY_ONCE
                    self._send(PubRecPacket(packet.packet_id) if two else PubAckPacket(packet.packet_id))
            case PubRelPacket(packet_id=packet_id):
                self._send(PubCompPacket(packet_id))
            case DisconnectPacket():
                self.why = reason_of(packet)

    def _own(self, subscription: str) -> str:
        if not subscription.startswith(_SHARE):
            return subscription
        return f"{_SHARE}{self._group}/{subscription.removeprefix(_SHARE).partition('/')[2]}"
