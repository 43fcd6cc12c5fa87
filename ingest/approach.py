"""The way to a trigger's session over several connections: which step comes next, which protocol is spoken. Pure."""

from __future__ import annotations

from ingest.codec import ConnAckReasonCode, Protocol
from ingest.handshake import ConnectStep, connect_plan, protocol_of
from ingest.session_events import Connected, ProtocolRefused, Purged, Refused, SessionEvent, SessionRecord
from shared.definitions import Trigger


class Approach:
    """Remembers, for one term of a lease, what the broker answered so far.

    A trigger that names no version speaks what its epoch began with, or MQTT 5; what the broker refuses is given up for
    the other. The clean start of a new holder is made once per term.
    """

    def __init__(self) -> None:
        self._steps: list[ConnectStep] = []
        self._instead: Protocol | None = None
        self._new_holder = True

    @property
    def over(self) -> bool:
        """Whether there is nothing left to connect for."""
        return False

    def next_step(self, trigger: Trigger, record: SessionRecord) -> ConnectStep:
        """The connection to make now."""
        if not self._steps:
            protocol = protocol_of(trigger, record)
            if trigger.client_version is None:
                protocol = self._instead or protocol
            self._steps = self._plan(trigger, record, protocol)
        return self._steps[0]

    def _plan(self, trigger: Trigger, record: SessionRecord, protocol: Protocol) -> list[ConnectStep]:
        """The connections to make, one after the other."""
        return connect_plan(trigger, record, protocol, new_holder=self._new_holder)

    def happened(self, event: SessionEvent) -> None:
        """Take note of what the connection of this step came to."""
        match event:
            case Connected():
                self._new_holder = False
                self._steps = []
            case Purged():
                self._steps = self._steps[1:]
            case ProtocolRefused():
                self._instead = Protocol.V311
                self._steps = []
            case Refused(reason_code=ConnAckReasonCode.UNSUPPORTED_PROTOCOL_VERSION):
                self._instead = Protocol.V5
                self._steps = []

    def unanswered(self, trigger: Trigger, record: SessionRecord) -> bool:
        """The connection ended without CONNACK. True: the other protocol version is tried next.

        Brokers of 3.1.1 may say nothing to a CONNECT of MQTT 5. So where the version is ours to choose and this broker
        has never accepted us, the versions take turns.
        """
        if trigger.client_version is not None or record.epoch or not self._steps:
            return False
        self._instead = Protocol.V311 if self._steps[0].protocol is Protocol.V5 else Protocol.V5
        return True

    def start_over(self) -> None:
        """The step failed: the plan is made anew."""
        self._steps = []
