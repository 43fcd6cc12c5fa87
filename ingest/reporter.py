"""What a session tells the world: its state in Redis, for status and console, and one event per change of state."""

from __future__ import annotations

import msgspec

from ingest.codec import Protocol
from ingest.handshake import ConnectStep
from ingest.link import now_ms
from ingest.reconnect import Ending
from ingest.session_events import (
    Connected,
    Malformed,
    OversizedDropped,
    SessionRecord,
    SubscriptionRefused,
    SubscriptionsGranted,
)
from ingest.transport import broker_url
from ingest.writer import StoreWriter
from shared.definitions import Broker, Trigger
from shared.events import emit
from shared.metrics.catalogue import CONNECTIONS, DISCONNECTIONS
from shared.scripts.call import Arg

VERSIONS = {Protocol.V5: "5", Protocol.V311: "3.1.1"}
_EVENTS = {"reconnecting": "session.reconnecting", "refused": "session.refused"}


class Reporter:
    """The voice of one keeper. Times are epoch milliseconds."""

    def __init__(self, writer: StoreWriter) -> None:
        self._writer = writer
        self._state = ""
        self._reason = ""
        self._was_connected = False
        self._who: dict[str, object] = {}

    def about(self, trigger: Trigger, broker: Broker) -> None:
        """Whose session it is from now on."""
        self._who = {
            "trigger": trigger.path,
            "session": trigger.session,
            "client_id": trigger.client_id,
            "broker": broker_url(broker),
        }

    def connecting(self) -> None:
        """The first try. Later ones keep the state that says why they are needed."""
        if not self._state:
            self._enter("connecting")

    def connected(self, event: Connected, step: ConnectStep, epoch: int) -> None:
        """The broker accepted us. `epoch` is that of the session that it has, if it has one."""
        self._who["protocol"] = VERSIONS[step.protocol]
        CONNECTIONS.of(str(self._who["trigger"])).add()
        at = now_ms()
        limits = msgspec.json.encode(event).decode()
        home = {"broker": self._writer.broker} if event.session_present else {}
        self._enter("connected", connected_at=at, limits=limits, **home)
        if event.session_present:
            emit("session.connected", **self._who, resumed=True, epoch=epoch)
        else:
            emit("session.connected", **self._who, resumed=False)

    def epoch_started(self, epoch: int, record: SessionRecord, step: ConnectStep) -> None:
        """The store has begun a new epoch; `record` is what there was before."""
        if not record.epoch:
            reason = "the first connection"
        elif step.clean_start:
            reason = "the trigger starts clean"
        else:
            reason = "the broker has no session of ours in this protocol version"
        emit("session.epoch_started", **self._who, epoch=epoch, reason=reason)
        if record.left is not None:
            emit("session.left", **self._who, left=record.left.session, epoch=record.epoch)

    def subscribed(self, event: SubscriptionsGranted, version: str) -> None:
        """SUBACK came, for what this version of the trigger wants."""
        self._writer.report({"version": version})
        emit("session.subscribed", **self._who, granted=event.granted)

    def subscription_refused(self, event: SubscriptionRefused, retry_in_s: float) -> None:
        """SUBACK said no to a topic."""
        emit(
            "session.subscription_refused",
            **self._who,
            topic=event.topic,
            reason="the broker refuses it",
            reason_code=_hexadecimal(event.reason_code),
            retry_in_s=retry_in_s,
        )

    def fallback(self) -> None:
        """On with 3.1.1."""
        self._who["protocol"] = VERSIONS[Protocol.V311]
        emit("session.protocol_fallback", **self._who, reason="the broker refuses MQTT 5")

    def malformed(self, event: Malformed) -> None:
        """The broker broke MQTT."""
        emit(
            "session.malformed_packet",
            **self._who,
            reason_code=_hexadecimal(event.reason_code),
            detail=event.detail,
        )

    def oversized(self, event: OversizedDropped, limit: int) -> None:
        """A payload went to the dead letters without its body."""
        who = {name: self._who[name] for name in ("trigger", "session")}
        emit("message.oversized", **who, topic=event.topic, qos=event.qos, bytes=event.size, limit=limit)

    def failed(self, ending: Ending, attempt: int, retry_in_s: float) -> None:
        """The connection ended, or none came about."""
        DISCONNECTIONS.of(str(self._who.get("trigger", "")), ending.state.replace(" ", "_")).add()
        news = (ending.state, ending.reason) != (self._state, self._reason)
        at = now_ms() + int(retry_in_s * 1000)
        self._enter(ending.state, ending.reason, attempt=attempt, next_try_at=at)
        if not news:
            return
        if ending.state == "taken over":
            emit("session.taken_over", **self._who, attempt=attempt, retry_in_s=retry_in_s)
            return
        code = {} if ending.reason_code is None else {"reason_code": _hexadecimal(ending.reason_code)}
        emit(
            _EVENTS[ending.state],
            **self._who,
            **code,
            reason=ending.reason,
            attempt=attempt,
            retry_in_s=retry_in_s,
        )

    def draining(self) -> None:
        """It ends: what was received is handed over first."""
        self._was_connected = self._state == "connected"
        self._enter("draining")

    def ended(self, state: str) -> None:
        """It has ended in good order."""
        if self._was_connected:
            emit("session.disconnected", **self._who, reason=state)
        self._enter(state)

    def _enter(self, state: str, reason: str = "", **more: Arg) -> None:
        fields: dict[str, Arg] = {"state": state, "reason": reason, "attempt": "", "next_try_at": ""}
        if state != self._state:
            fields["since"] = now_ms()
        self._state, self._reason = state, reason
        self._writer.report(fields | more)


def _hexadecimal(code: int) -> str:
    return f"{code:02x}"
