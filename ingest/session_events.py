"""What an MQTT session takes in and gives out, besides packets: settings, memory, store requests, events."""

from __future__ import annotations

import msgspec

from ingest.codec import Protocol
from ingest.receipts import Receipt
from ingest.subscriptions import Subscriptions, decode_subscriptions
from shared.config import IngestSettings
from shared.definitions import Broker, Trigger
from shared.scripts.ingest import Admission, LeftBehind, SessionReply


class SessionConfig(msgspec.Struct, frozen=True):
    """A trigger and how to present it to its broker. Durations in the unit that their name ends with.

    `leaving`: nothing is subscribed any more; the session is only emptied.
    """

    trigger: Trigger
    version: str
    username: str | None
    password: str | None
    receive_maximum: int
    keep_alive_s: int
    connect_timeout_s: float
    leaving: bool = False

    @classmethod
    def of(
        cls, trigger: Trigger, version: str, broker: Broker, settings: IngestSettings, *, leaving: bool = False
    ) -> SessionConfig:
        """From what is deployed and set; what the trigger says wins."""
        return cls(
            trigger,
            version,
            broker.username,
            broker.password,
            trigger.receive_maximum or settings.receive_maximum,
            trigger.keep_alive_s or settings.keep_alive_s,
            settings.connect_timeout_s,
            leaving,
        )


class SessionRecord(msgspec.Struct, frozen=True):
    """What Redis holds of the session as a connection begins. `epoch` 0: it has never been connected.

    `moved`: all this is of a session at another address, which is `left` there if this broker has none.
    """

    epoch: int
    connection: int
    protocol: Protocol | None
    subscriptions: Subscriptions | None
    inflight: dict[int, bytes]
    moved: bool = False
    left: LeftBehind | None = None

    @classmethod
    def of(cls, reply: SessionReply) -> SessionRecord:
        """From the answer of `session_open`."""
        return cls(
            reply.epoch,
            reply.connection,
            Protocol(reply.protocol) if reply.protocol else None,
            decode_subscriptions(reply.subscriptions),
            reply.inflight,
        )


class BeginEpoch(msgspec.Struct, frozen=True):
    """The broker's session is new: `session_epoch`. Its answer is the epoch. `left`: what stays at another broker."""

    protocol: Protocol
    left: LeftBehind | None = None


class RecordSubscriptions(msgspec.Struct, frozen=True):
    """What is subscribed: `session_subscribed` with this JSON."""

    json: str


class Admit(msgspec.Struct, frozen=True):
    """A batch: `admit`. `size` is its bytes; `receipts`: its messages, where their way is traced."""

    batch: Admission
    size: int
    receipts: list[Receipt] = []


StoreRequest = BeginEpoch | RecordSubscriptions | Admit


class Connected(msgspec.Struct, frozen=True):
    """The broker accepted us, with these limits. `session_expiry_s` None: as asked (3.1.1: for the broker to say)."""

    session_present: bool
    keep_alive_s: int
    session_expiry_s: int | None
    receive_maximum: int
    max_qos: int
    retained_available: bool
    wildcards_available: bool
    identifiers_available: bool
    shared_available: bool
    max_packet_size: int | None = None


class SubscriptionRefused(msgspec.Struct, frozen=True):
    """The broker refused a topic (as the trigger names it). It is asked for again on the next connection."""

    topic: str
    reason_code: int


class SubscriptionsGranted(msgspec.Struct, frozen=True):
    """All was answered: granted QoS by topic (as the trigger names it), without those that were refused."""

    granted: dict[str, int]


class Refused(msgspec.Struct, frozen=True):
    """CONNACK said no. `permanent`: a person has to mend it."""

    reason_code: int
    reason: str
    permanent: bool


class ProtocolRefused(msgspec.Struct, frozen=True):
    """The broker does not speak MQTT 5: fall back to 3.1.1."""


class TakenOver(msgspec.Struct, frozen=True):
    """Another client connected with our client id."""


class ServerDisconnect(msgspec.Struct, frozen=True):
    """The broker said DISCONNECT. `permanent`: a person has to mend it."""

    reason_code: int
    reason: str
    permanent: bool


class Malformed(msgspec.Struct, frozen=True):
    """The broker sent what MQTT forbids, for the `times`-th time in a row exactly this.

    `stuck`: it comes again on every connection and nothing behind it gets through; only the broker's side can mend it.
    """

    reason_code: int
    detail: str
    times: int
    stuck: bool


class Silent(msgspec.Struct, frozen=True):
    """The broker did not answer in time: CONNECT, or PINGREQ."""

    to: str


class OversizedDropped(msgspec.Struct, frozen=True):
    """A payload over the limit went to the dead letters."""

    topic: str
    qos: int
    size: int


class Purged(msgspec.Struct, frozen=True):
    """The connection that was only to end an old session has done so: go on with the next step of the plan."""


class Closed(msgspec.Struct, frozen=True):
    """The last event of every connection: write what there is to write, then close the transport."""

    reason: str
    accepted: bool
    """Whether the broker had accepted the connection."""


SessionEvent = (
    Connected
    | SubscriptionRefused
    | SubscriptionsGranted
    | Refused
    | ProtocolRefused
    | TakenOver
    | ServerDisconnect
    | Malformed
    | Silent
    | OversizedDropped
    | Purged
    | Closed
)
