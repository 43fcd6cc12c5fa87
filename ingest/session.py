"""An MQTT session without I/O: packets and answers of the store in, bytes and store requests out.

No socket, no clock, no randomness, no Redis: whoever has those calls the methods, one at a time, and after each takes
what is given out: `take_requests`, to be carried out and answered strictly in order; `take_output`, to be written;
`take_events`. The states are a table in `ingest.session_states`.

What holds whatever a broker does and whenever a connection or the process ends:

- PUBACK, PUBREC and PUBCOMP are given out only after the request that holds their message was answered: what the broker
  may forget is in the store. Acknowledgements keep their order; those of a batch are one write.
- The envelope and the packet identifier of a QoS 2 message are in one request (`ingest.inflight`).
- If the broker's session is new, a request to begin an epoch comes before all others, and nothing is subscribed before
  it is answered: a message cannot be taken for one of a session that is gone.
- Messages flow from CONNACK on: brokers resend their backlog before they answer SUBSCRIBE.
- Subscriptions are recorded before they are asked for and when all is answered, with the number of the connection. All
  is subscribed again if the record is missing, differs from what is wanted, or is not from the connection before (which
  may have begun a new session at the broker and ended before the store knew).
- After `fenced` nothing is given out.

Not covered: the broker has lost the session, and the connection on which it begins a new one ends before we learn that
and begin the epoch. All is subscribed again, but an identifier of the lost session may swallow an identical message.

A broker that sends more than Receive Maximum allows is not punished: Mosquitto 2.0 does it with every backlog.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ingest.codec import Inbound, MalformedPacket
from ingest.connection import Connection
from ingest.handshake import ConnectStep
from ingest.outbox import Outbox
from ingest.session_events import Malformed, SessionConfig, SessionEvent, SessionRecord, StoreRequest
from ingest.session_states import Input, State
from shared.definitions import Trigger
from shared.errors import InternalError

STUCK_AFTER = 3
"""The same malformed packet so often in a row will come again on every connection."""


class Session:
    """One trigger's session, over any number of connections, for as long as this process holds it."""

    def __init__(self, config: SessionConfig) -> None:
        self._config = config
        self._outbox = Outbox()
        self._connection: Connection | None = None
        self._reading = True
        self._malformed: tuple[object, ...] = ()
        self._malformed_times = 0

    @property
    def state(self) -> State:
        """Where the current connection is."""
        return self._connection.state if self._connection else State.CLOSED

    @property
    def buffered_bytes(self) -> int:
        """Bytes of messages that the store does not have yet."""
        return self._outbox.waiting_bytes + (self._connection.intake.buffered_bytes if self._connection else 0)

    @property
    def unanswered(self) -> int:
        """Requests that the store has not answered."""
        return len(self._outbox)

    @property
    def taken_in(self) -> int:
        """A number that grows with whatever comes and has to be stored, and stands still otherwise."""
        return self._outbox.admissions

    @property
    def reading(self) -> bool:
        """Whether the broker is listened to."""
        return self._reading

    @property
    def remembered(self) -> int:
        """Packet identifiers between PUBLISH and PUBREL."""
        return len(self._connection.inflight) if self._connection else 0

    def connect(self, now_ms: int, record: SessionRecord, step: ConnectStep) -> None:
        """Begin a connection: the transport is open, all requests are answered, `record` was read after that."""
        if self.state is not State.CLOSED or len(self._outbox):
            raise InternalError(
                f"the MQTT session cannot connect while {self.state.value} with {len(self._outbox)} requests unanswered"
            )
        self._reading = True
        self._connection = Connection(self._config, self._outbox, record, step, now_ms)

    def receive(self, packets: Sequence[Inbound], now_ms: int) -> None:
        """Packets came, in this order. What they need of the store gathers in one batch until requests are taken."""
        if (connection := self._open()) is not None and packets:
            try:
                connection.receive(packets, now_ms)
            except MalformedPacket as error:
                self.malformed(error)

    def malformed(self, error: MalformedPacket) -> None:
        """The broker sent what MQTT forbids: the connection ends, the reason is said where the protocol can."""
        if (connection := self._open()) is not None:
            seen = (error.packet_type, error.reason_code, error.detail, error.offset)
            self._malformed_times = self._malformed_times + 1 if seen == self._malformed else 1
            self._malformed = seen
            stuck = self._malformed_times >= STUCK_AFTER
            self._outbox.events.append(Malformed(error.reason_code, error.message, self._malformed_times, stuck))
            connection.reject(error)

    def stored(self) -> None:
        """The oldest request that was taken has been carried out."""
        request, acks = self._outbox.answered()
        if (connection := self._open()) is not None:  # acknowledgements of an ended connection are void
            connection.stored(request, acks)

    def fenced(self) -> None:
        """Another process holds the lease: the session is over, and not a byte more goes to the broker or the store."""
        if (connection := self._open()) is not None:
            connection.end(Input.END, "another process holds the session")
        self._outbox.silence()

    def tick(self, now_ms: int) -> None:
        """Time has passed. To be called at least every half second."""
        if (connection := self._open()) is not None:
            connection.tick(now_ms, reading=self._reading)

    def pause(self) -> None:
        """Nothing is read from the broker for now: that it is not heard means nothing."""
        self._reading = False

    def resume(self) -> None:
        """The broker is read again."""
        self._reading = True

    def disconnect(self) -> None:
        """End in good order: what was received is stored and acknowledged, then DISCONNECT. The broker's session stays.

        Nothing more is taken in from here on; go on with requests and answers until the event Closed.
        """
        if (connection := self._open()) is not None:
            connection.drain()

    def connection_lost(self, reason: str) -> None:
        """The transport is gone. Requests are still to be taken, carried out and answered before the next `connect`."""
        if (connection := self._open()) is not None:
            connection.end(Input.END, reason)

    def change_subscriptions(self, trigger: Trigger, version: str) -> None:
        """Deployed again: what differs is subscribed and unsubscribed, refused topics are tried again."""
        self._config = msgspec.structs.replace(self._config, trigger=trigger, version=version)
        if (connection := self._open()) is not None:
            connection.change(self._config)

    def unsubscribe(self) -> None:
        """Of a session that is left (`SessionConfig.leaving`): end its subscriptions. What waits still comes."""
        if (connection := self._open()) is not None:
            connection.unsubscribe()

    def take_output(self) -> list[bytes]:
        """What is to be written to the broker, in order; each item is one write."""
        return self._outbox.take_output()

    def take_requests(self) -> list[StoreRequest]:
        """What the store is asked for, in order. Each is answered in the same order by `stored`, or all by `fenced`."""
        if (connection := self._open()) is not None:
            connection.flush()
        return self._outbox.take_requests()

    def take_events(self) -> list[SessionEvent]:
        """What happened since the last time, in order."""
        return self._outbox.take_events()

    def _open(self) -> Connection | None:
        connection = self._connection
        return None if connection is None or connection.state is State.CLOSED else connection
