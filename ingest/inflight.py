"""Packet identifiers of QoS 2 deliveries between PUBLISH and PUBREL, to tell a PUBLISH that was stored before.

For each packet identifier an ordered list of entries: the message's digest (8 bytes) and the number of the connection
on which it came last (4 bytes, big-endian). Redis holds the entries of an identifier end to end; it gets them in the
same atomic step as the envelope, so that after a crash this memory is exactly what was admitted.

- An entry answers only for a PUBLISH on a *later* connection: within one, MQTT forbids resending (MQTT 5 §4.4), and
  brokers with a large backlog do reuse identifiers that are in flight, for messages that may well be identical.
- Neither the DUP flag nor the bare identifier decides anything: some brokers resend without DUP, some reuse
  identifiers.
- An entry answers once per connection, so that two identical messages under one identifier stay two.
"""

from __future__ import annotations

from collections.abc import Mapping

DIGEST_BYTES = 8
_CONNECTION_BYTES = 4
ENTRY_BYTES = DIGEST_BYTES + _CONNECTION_BYTES


class Inflight:
    """What is remembered, as seen from one connection. Changes are kept until they are taken for the store."""

    def __init__(self, connection: int, packed: Mapping[int, bytes] | None = None) -> None:
        self._mark = (connection & 0xFFFFFFFF).to_bytes(_CONNECTION_BYTES, "big")
        self._packed = dict(packed or {})
        self._changed: dict[int, bytes] = {}
        self._released: dict[int, set[bytes]] | None = {}

    def __len__(self) -> int:
        """Packet identifiers that are remembered."""
        return len(self._packed)

    def publish(self, packet_id: int, digest: bytes) -> bool:
        """Is this PUBLISH a new message? False: it was stored on an earlier connection and is only to be acknowledged.

        Either way it is remembered as seen on this connection.
        """
        packed = self._packed.get(packet_id)
        if packed is None and not self._released:
            self._change(packet_id, digest + self._mark)
            return True
        packed = packed or b""
        at = self._stored_before(packed, digest)
        if at >= 0:
            end = at + DIGEST_BYTES
            self._change(packet_id, packed[:end] + self._mark + packed[at + ENTRY_BYTES :])
            return False
        self._change(packet_id, packed + digest + self._mark)
        return not self._was_released(packet_id, digest)

    def release(self, packet_id: int) -> None:
        """PUBREL: forget the entry that it ends. An unknown identifier is no error (§4.3.3): it was forgotten before.

        That is the first entry of this connection, with whatever older ones stand before it (exchanges that the broker
        dropped without PUBREL, as Mosquitto does with expired messages); else the first of all.
        """
        packed = self._packed.get(packet_id)
        if packed is None:
            return
        at = self._first_of_this_connection(packed)
        if at < 0:
            at = 0
            if self._released is not None:
                self._released.setdefault(packet_id, set()).add(packed[:DIGEST_BYTES])
        self._change(packet_id, packed[at + ENTRY_BYTES :])

    def answered(self) -> None:
        """The first acknowledgement of this connection is written: from now on a packet identifier may be reused.

        Until then, a PUBLISH under an identifier that was just released can only be the released message again: aedes
        resends both PUBREL and PUBLISH when a client comes back.
        """
        self._released = None

    def clear(self) -> None:
        """Forget everything: the broker's session is a new one. The store does the same in its own step."""
        self._packed.clear()
        self._changed.clear()

    def take_changes(self) -> list[tuple[int, bytes]]:
        """What changed since it was last taken: (packet identifier, packed entries now), empty entries forget it."""
        changes = list(self._changed.items())
        self._changed.clear()
        return changes

    def _change(self, packet_id: int, packed: bytes) -> None:
        self._changed[packet_id] = packed
        if packed:
            self._packed[packet_id] = packed
        else:
            self._packed.pop(packet_id, None)

    def _stored_before(self, packed: bytes, digest: bytes) -> int:
        for at in range(0, len(packed), ENTRY_BYTES):
            if packed[at : at + DIGEST_BYTES] == digest and packed[at + DIGEST_BYTES : at + ENTRY_BYTES] != self._mark:
                return at
        return -1

    def _first_of_this_connection(self, packed: bytes) -> int:
        for at in range(0, len(packed), ENTRY_BYTES):
            if packed[at + DIGEST_BYTES : at + ENTRY_BYTES] == self._mark:
                return at
        return -1

    def _was_released(self, packet_id: int, digest: bytes) -> bool:
        if self._released is None or digest not in self._released.get(packet_id, ()):
            return False
        self._released[packet_id].discard(digest)
        return True
