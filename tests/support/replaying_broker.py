"""A broker that does what a test tells it to: a raw socket that speaks MQTT packet by packet.

The test accepts each connection and drives it by hand, so that it can send what no real broker would (without DUP, out
of order, malformed), answer late or never, and end the connection at a chosen point. Everything received is recorded.
"""

from __future__ import annotations

import socket
import time
from types import TracebackType
from typing import Self, TypeVar

from ingest.codec import (
    ConnAckPacket,
    ConnAckReasonCode,
    ConnectPacket,
    Decoder,
    DisconnectPacket,
    Inbound,
    PingReqPacket,
    PingRespPacket,
    Protocol,
    PublishPacket,
    QoS,
    Role,
    SubAckPacket,
    SubAckReasonCode,
    SubscribePacket,
    encode,
)

TIMEOUT_S = 15.0
_READ = 1 << 18
PacketT = TypeVar("PacketT")


class ConnectionEnded(AssertionError):
    """The client closed the connection while the test expected a packet."""


class Peer:
    """One connection of a client, with the CONNECT that it began with."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.received: list[Inbound] = []
        """Every packet but PINGREQ, which is answered at once."""
        self.raw = bytearray()
        """Every byte."""
        self._decoder = Decoder(Protocol.V5, 1 << 20, Role.SERVER)
        self._next = 0
        self.connect = self.expect(ConnectPacket)

    @property
    def protocol(self) -> Protocol:
        """What the client asked for."""
        return self._decoder.protocol

    def expect(self, kind: type[PacketT], timeout_s: float = TIMEOUT_S) -> PacketT:
        """The next packet, which must be of this kind."""
        packet = self.next_packet(timeout_s)
        assert isinstance(packet, kind), f"expected {kind.__name__}, got {packet!r}"
        return packet

    def next_packet(self, timeout_s: float = TIMEOUT_S) -> Inbound:
        """The next packet. Raises TimeoutError, ConnectionEnded."""
        deadline = time.monotonic() + timeout_s
        while self._next == len(self.received):
            self._read(deadline - time.monotonic())
        self._next += 1
        return self.received[self._next - 1]

    def is_silent_for(self, seconds: float) -> bool:
        """Whether nothing but PINGREQ comes in this time."""
        try:
            self.next_packet(seconds)
        except TimeoutError:
            return True
        return False

    def is_closed_by_client(self, timeout_s: float = TIMEOUT_S) -> bool:
        """Whether the client ends the connection within this time; packets before that are recorded."""
        deadline = time.monotonic() + timeout_s
        try:
            while True:
                self._read(deadline - time.monotonic())
        except ConnectionEnded:
            return True
        except TimeoutError:
            return False

    def send(self, *packets: Inbound) -> None:
        """Send packets in the client's protocol, in one write."""
        self.send_bytes(b"".join(encode(packet, self.protocol) for packet in packets))  # type: ignore[arg-type]

    def send_bytes(self, data: bytes) -> None:
        """Send anything."""
        self.socket.settimeout(TIMEOUT_S)
        self.socket.sendall(data)

    def accept(self, *, session_present: bool = False) -> None:
        """Answer CONNECT."""
        self.send(ConnAckPacket(session_present=session_present))

    def refuse(self, reason: ConnAckReasonCode) -> None:
        """Answer CONNECT with a refusal and close."""
        self.send(ConnAckPacket(reason_code=reason))
        self.close()

    def grant(self) -> SubscribePacket:
        """Wait for SUBSCRIBE and grant what it asks for."""
        subscribe = self.expect(SubscribePacket)
        self.grant_now(subscribe)
        return subscribe

    def grant_now(self, subscribe: SubscribePacket) -> None:
        """Grant what this SUBSCRIBE asks for."""
        granted = [SubAckReasonCode(int(each.max_qos)) for each in subscribe.topic_filters]
        self.send(SubAckPacket(subscribe.packet_id, granted))

    def grant_all(self, count: int) -> list[SubscribePacket]:
        """Wait for so many topic filters to be asked for, in any number of SUBSCRIBEs, and grant them."""
        asked: list[SubscribePacket] = []
        while sum(len(each.topic_filters) for each in asked) < count:
            asked.append(self.grant())
        return asked

    def publish(self, topic: str, payload: bytes, qos: int = 0, packet_id: int | None = None, *,
                dup: bool = False) -> None:  # fmt: skip
        """Send one PUBLISH."""
        self.send(PublishPacket(topic, payload, qos=QoS(qos), packet_id=packet_id, duplicate=dup))

    def close(self) -> None:
        """End the connection in good order."""
        self.socket.close()

    def kill(self) -> None:
        """End the connection with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def _read(self, timeout_s: float) -> None:
        if timeout_s <= 0:
            raise TimeoutError
        self.socket.settimeout(timeout_s)
        try:
            data = self.socket.recv(_READ)
        except ConnectionError as error:
            raise ConnectionEnded(str(error)) from error
        if not data:
            raise ConnectionEnded(f"the client closed the connection after {self.received!r:.2000}")
        self.raw += data
        packets = self._decoder.feed(data)
        assert self._decoder.error is None, f"the client sent what is not MQTT: {self._decoder.error}"
        for packet in packets:
            if isinstance(packet, PingReqPacket):
                self.send(PingRespPacket())
            else:
                self.received.append(packet)


class ReplayingBroker:
    """Listens on a free port of 127.0.0.1."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.port: int = self._listener.getsockname()[1]
        self.peers: list[Peer] = []

    def next_peer(self, timeout_s: float = TIMEOUT_S) -> Peer:
        """The next connection, after its CONNECT. Raises TimeoutError."""
        self._listener.settimeout(timeout_s)
        connection, _ = self._listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = Peer(connection)
        self.peers.append(peer)
        return peer

    def next_session(self, filters: int = 1, *, session_present: bool = False) -> Peer:
        """The next connection that is to stay, with so many topic filters granted.

        A connection that comes before it only to end an old session is served too.
        """
        peer = self.next_peer()
        if peer.connect.clean_start:
            peer.accept()
            peer.expect(DisconnectPacket)
            peer.close()
            peer = self.next_peer()
        peer.accept(session_present=session_present)
        peer.grant_all(filters)
        return peer

    def close(self) -> None:
        """End all connections and stop listening."""
        for peer in self.peers:
            peer.close()
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()
