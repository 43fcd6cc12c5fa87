"""A connection without a session of its own that outlives it: what a publisher and a guest have in common."""

from __future__ import annotations

import asyncio

from ingest.codec import ConnectPacket, Decoder, DisconnectPacket, Inbound, Packet, PingReqPacket, Protocol, encode
from ingest.transport import open_transport
from shared.definitions import Broker

_CLOSE_S = 2.0


class Client(asyncio.Protocol):
    """Sends, receives, stays alive and says good-bye. What packets mean is up to who derives from it."""

    def __init__(self, broker: Broker, protocol: Protocol, max_payload: int) -> None:
        self.broker = broker
        self.protocol = protocol
        self.why = ""
        """Why the connection is over; empty while it is not."""
        self._transport: asyncio.Transport | None = None
        self._decoder = Decoder(protocol, max_payload)
        self._ended = asyncio.Event()
        self._ping: asyncio.TimerHandle | None = None

    def _receive(self, packet: Inbound) -> None:
        """A packet from the broker."""
        raise NotImplementedError

    def _over(self) -> None:
        """The connection has ended: tell whoever waits."""
        raise NotImplementedError

    async def close(self) -> None:
        """Say good-bye and wait until the broker has read everything. Never raises."""
        if self._transport is None or self._transport.is_closing():
            return
        self._send(DisconnectPacket())
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._ended.wait()
        except TimeoutError:
            self._transport.abort()

    @property
    def is_open(self) -> bool:
        """The connection has not ended, for all that is known here."""
        return self._transport is not None and not self.why and not self._ended.is_set()

    def abandon(self, why: str) -> None:
        """End the connection without a word."""
        self.why = why
        self._abort()

    def data_received(self, data: bytes) -> None:
        """Packets from the broker."""
        for packet in self._decoder.feed(data):
            self._receive(packet)
        if self._decoder.error is not None:
            self.abandon(self._decoder.error.message)

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits learns that nothing more will come."""
        self._ended.set()
        if self._ping is not None:
            self._ping.cancel()
        self.why = self.why or (str(exc) if exc else "") or "the broker closed it"
        self._over()

    async def _begin(self, client_id: str, keep_alive_s: int, timeout_s: float, receive_max: int = 65_535) -> None:
        """Open the way and send CONNECT. Raises what `open_transport` does."""
        self._transport = await open_transport(self.broker, self, timeout_s)
        password = None if self.broker.password is None else self.broker.password.encode()
        self._send(ConnectPacket(client_id, username=self.broker.username, password=password, clean_start=True,
                                 keep_alive=keep_alive_s, receive_max=receive_max))  # fmt: skip

    def _send(self, packet: Packet) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode(packet, self.protocol))

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _keep_alive(self, interval_s: float) -> None:
        """Send PINGREQ every `interval_s` from now on."""

        def ping() -> None:
            self._send(PingReqPacket())
            self._keep_alive(interval_s)

        self._ping = asyncio.get_running_loop().call_later(interval_s, ping)
