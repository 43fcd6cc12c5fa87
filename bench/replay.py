"""A broker that costs next to nothing: replays ready PUBLISH frames and counts the PUBACKs.

A process of its own, driven over stdin: each line is a number of messages to send at the QoS of its argument; the
answer is the seconds from the first write to the last PUBACK (at QoS 0: to the last write).
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time

from bench.load import PAYLOAD_BYTES
from bench.system import TOPIC
from ingest.codec import SubscribePacket
from tests.support.replaying_broker import Peer, ReplayingBroker

CONNECT_S = 60.0
IDS = 65_535
_RECEIVE = 1 << 18
_SEND_FRAMES = 2000
_PUBACK, _PINGREQ, _PINGRESP = 0x40, 0xC0, b"\xd0\x00"


class Replay:
    """One session: what was sent, and what was acknowledged."""

    def __init__(self, peer: Peer, subscribe: SubscribePacket, qos: int) -> None:
        self._socket = peer.socket
        self._socket.settimeout(0)
        self._qos = qos
        self._window = peer.connect.receive_max if qos else 1 << 60
        frames = [_publish(number, qos, subscribe.subscription_id) for number in range(1, IDS + 1)]
        self._size = len(frames[0])
        self._frames = memoryview(b"".join(frames))
        self._sent_bytes = 0
        self._acked = 0
        self._rest = b""

    def send(self, count: int) -> float:
        """Send this many and wait for their acknowledgements; the seconds that it took."""
        begun = time.perf_counter()
        target_bytes = self._sent_bytes + count * self._size
        target_acks = self._acked + (count if self._qos else 0)
        while self._sent_bytes < target_bytes or self._acked < target_acks:
            may_send = min(target_bytes, (self._acked + self._window) * self._size) if self._qos else target_bytes
            wants_to_send = self._sent_bytes < may_send
            readable, writable, _ = select.select([self._socket], [self._socket] if wants_to_send else [], [])
            if readable:
                self.receive()
            if writable:
                self._write(may_send)
        return time.perf_counter() - begun

    @property
    def socket(self) -> socket.socket:
        """To wait for what comes."""
        return self._socket

    def _write(self, may_send: int) -> None:
        at = self._sent_bytes % len(self._frames)
        most = min(may_send - self._sent_bytes, len(self._frames) - at, _SEND_FRAMES * self._size)
        self._sent_bytes += self._socket.send(self._frames[at : at + most])

    def receive(self) -> None:
        """Count what has come, and answer PINGREQ. Ends the process when the client has gone."""
        data = self._socket.recv(_RECEIVE)
        if not data:
            raise SystemExit(0)  # the client has gone
        data = self._rest + data
        whole = len(data) // 4
        if len(data) == whole * 4 and data[::4].count(_PUBACK) == whole:
            self._acked += whole
            self._rest = b""
        else:
            self._rest = self._one_by_one(data)

    def _one_by_one(self, data: bytes) -> bytes:
        at = 0
        while len(data) - at >= 2 and len(data) - at >= 2 + data[at + 1]:
            self._acked += data[at] == _PUBACK
            if data[at] == _PINGREQ:
                self._socket.send(_PINGRESP)
            at += 2 + data[at + 1]
        return data[at:]


def _subscribed(broker: ReplayingBroker) -> tuple[Peer, SubscribePacket]:
    """The connection on which the client subscribes: one before that only makes sure that it starts clean."""
    while True:
        peer = broker.next_peer(CONNECT_S)
        peer.accept()
        packet = peer.next_packet()
        if isinstance(packet, SubscribePacket):
            peer.grant_now(packet)
            return peer, packet


def _publish(packet_id: int, qos: int, subscription_id: int | None) -> bytes:
    """A frame of MQTT 5 (§3.3)."""
    topic = TOPIC.encode()
    properties = b"" if subscription_id is None else b"\x0b" + _varint(subscription_id)
    body = struct.pack("!H", len(topic)) + topic + (struct.pack("!H", packet_id) if qos else b"")
    body += _varint(len(properties)) + properties + b"%0*d" % (PAYLOAD_BYTES, packet_id)
    return bytes([0x30 | qos << 1]) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def main() -> None:
    """Serve one client."""
    with ReplayingBroker() as broker:
        print(broker.port, flush=True)
        replay = Replay(*_subscribed(broker), int(sys.argv[1]))
        print("connected", flush=True)
        while True:
            ready, _, _ = select.select([sys.stdin, replay.socket], [], [])
            if replay.socket in ready:
                replay.receive()
            if sys.stdin in ready:
                line = sys.stdin.readline()
                if not line:
                    return
                print(replay.send(int(line)), flush=True)


if __name__ == "__main__":
    main()
