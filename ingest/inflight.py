"""Packet identifiers of QoS 2 deliveries between PUBLISH and PUBREL, to tell a PUBLISH that was stored before.

For each packet identifier an ordered list of entries: the message's digest (8 bytes) and the number of the connection
on which it came last (4 bytes, big-endian). Redis holds the entries of an identifier end to end; it gets them in the
same atomic step as the envelope, so that after a crash this memory is exactly what was admitted.

- An entry answers only for a PUBLISH on a *later* connection: within one, MQTT forbids resending (MQTT 5 §4.4), and
  brokers with a large backlog do reuse identifiers that are in flight, for messages that may well be identical.
- Neither the DUP flag nor the bare identifier decides anything: some brokers resend without DUP, some reuse
  identifiers.
- An entry answers once per connection, so that two identical messages under one identifier stay two.

aedes resends PUBREL *and* the PUBLISH when a client comes back. So until our first acknowledgement on a connection, a
PUBLISH shortly after a PUBREL that ended it is the same message. Shortly, because Mosquitto with more than 65,535
messages in flight does mean another message, that much later.

Not covered, because nothing in the packets tells it from a new message:

- Mosquitto with so many in flight, if the connection breaks while a PUBCOMP is under way whose identifier a second
  message has too. The PUBREL that comes again is then taken for the second message's.
- Mosquitto, if a connection breaks while a PUBCOMP is under way and the next one breaks while it resends. It then
  forgets that it had sent PUBREL and resends the PUBLISH, which MQTT forbids (§4.3.3), and the message counts twice.
- An exchange that a broker drops after PUBREC (an expired message), if an identical message comes under its identifier
  on a later connection.
"""

from __future__ import annotations

from collections.abc import Mapping

DIGEST_BYTES = 8
_CONNECTION_BYTES = 4
ENTRY_BYTES = DIGEST_BYTES + _CONNECTION_BYTES
RESENT_WITHIN = 1000
"""Packets of QoS 2 between a PUBREL and the PUBLISH that it had ended, where a broker sends both again."""


class Inflight:
    """What is remembered, as seen from one connection. Changes are kept until they are taken for the store."""

    def __init__(self, connection: int, packed: Mapping[int, bytes] | None = None) -> None:
        self._mark = (connection & 0xFFFFFFFF).to_bytes(_CONNECTION_BYTES, "big")
        self._packed = dict(packed or {})
        self._changed: dict[int, bytes] = {}
        self._released: dict[tuple[int, bytes], int] | None = {}
        self._since_release = 0

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
        self._since_release += 1
        at = self._stored_before(packed, digest)
        if at >= 0:
            end = at + DIGEST_BYTES
            self._change(packet_id, packed[:end] + self._mark + packed[at + ENTRY_BYTES :])
            return False
        self._change(packet_id, packed + digest + self._mark)
        return not self._was_released(packet_id, digest)

    def release(self, packet_id: int) -> None:
        """PUBREL: forget the entry that it ends. An unknown identifier is no error: it was forgotten before.

        That is the first entry of this connection, with whatever older ones stand before it (exchanges that the broker
        dropped without PUBREL, as Mosquitto does with expired messages); else the first of all.
        """
        self._since_release += 1
        packed = self._packed.get(packet_id)
        if packed is None:
            return
        at = self._first_of_this_connection(packed)
        if at < 0:
            at = 0
            if self._released is not None:
                self._released[packet_id, packed[:DIGEST_BYTES]] = self._since_release
        self._change(packet_id, packed[at + ENTRY_BYTES :])

    def answered(self) -> None:
        """An acknowledgement was written on this connection: identifiers that were released may be given again."""
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
        if self._released is None:
            return False
        released_at = self._released.pop((packet_id, digest), None)
        return released_at is not None and self._since_release - released_at <= RESENT_WITHIN
