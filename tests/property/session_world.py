"""The session in the middle of everything that can happen to it: a world to be walked through step by step."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ingest.codec import Protocol
from ingest.handshake import connect_plan
from ingest.session import Session
from ingest.session_events import BeginEpoch, Closed, Purged, SessionConfig, StoreRequest
from ingest.session_states import State
from shared.definitions import Topic, Trigger
from tests.property.model_broker import Habits, Message, ModelBroker, ModelStore
from tests.support.factories import VERSION, make_trigger

ONE = [Topic("t/#", 2)]
OVERLAPPING = [Topic("t/#", 1), Topic("t/+", 2), Topic("t/a", 2)]
DEPLOYMENTS = [
    ONE,
    OVERLAPPING,
    [Topic("t/a", 2), Topic("t/b", 2)],
    [Topic("t/#", 2), Topic("t/b", 1), Topic("t/a", 1)],
]


@dataclass
class World:
    """Broker, store, publisher, and the process that holds the session, if it lives."""

    habits: Habits
    trigger: Trigger
    identical: bool
    broker: ModelBroker = field(init=False)
    store: ModelStore = field(default_factory=ModelStore)
    owed: dict[int, tuple[Message, int]] = field(default_factory=dict)
    strict: set[int] = field(default_factory=set)
    excused: set[int] = field(default_factory=set)
    changing: bool = False
    lost: bool = False
    covered: bool = False
    now_ms: int = 0
    serial: int = 0

    def __post_init__(self) -> None:
        self.broker = ModelBroker(self.habits)
        self._start()

    def _start(self) -> None:
        config = SessionConfig(self.trigger, VERSION, None, None, 3, 60, 10.0)
        self.session = Session(config)
        self.requested: deque[StoreRequest] = deque()
        self.applied = 0
        self.to_broker = b""

    # --- steps

    def publish(self, argument: int) -> None:
        """Somebody publishes on one of two topics, often what was published before."""
        self.serial += 1
        payload = b"same" if self.identical else str(self.serial).encode()
        message = Message(self.serial, "t/a" if argument % 2 else "t/b", payload, argument // 2 % 3)
        qos = self.broker.publish(message)
        assert qos is not None or not message.qos or not self.covered, "no subscription covers the topic any more"
        self.covered |= self.session.state is State.ESTABLISHED
        if qos is not None:
            self.owed[message.serial] = (message, qos)
            if self._comes_once():
                self.strict.add(message.serial)

    def connect(self, _: int = 0) -> None:
        """As the owner of the session does it: after all requests are answered."""
        if self.session.state is not State.CLOSED:
            return
        self.store_all()
        self.to_broker_all()
        self.broker.accept()
        record = self.store.open()
        plan = connect_plan(self.trigger, record, self.habits.protocol, new_holder=True)
        for step in plan:
            self.session.connect(self.now_ms, record, step)
            self._gather()
            if step.purge:
                self.to_broker_all()
                self.session.receive([self.broker.to_client.popleft()], self.now_ms)
                events = self.session.take_events()
                assert isinstance(events[0], Purged)
                assert isinstance(events[1], Closed)
                self._gather()
                self.to_broker_all()
                self.broker.accept()

    def receive(self, argument: int) -> None:
        """Some packets reach the session in one read."""
        if self.session.state is State.CLOSED or not self.broker.to_client:
            return
        count = argument % 4 + 1
        if self.habits.republishes:
            count = max(count, self.broker.burst)  # a reconnect's burst comes before our first acknowledgement
        count = min(count, len(self.broker.to_client))
        self.broker.burst = max(0, self.broker.burst - count)
        self.session.receive([self.broker.to_client.popleft() for _ in range(count)], self.now_ms)
        self._gather()

    def send(self, argument: int) -> None:
        """Some bytes reach the broker, cut anywhere."""
        count = len(self.to_broker) if argument % 2 else argument * 4
        data, self.to_broker = self.to_broker[:count], self.to_broker[count:]
        if self.broker.connected:
            self.broker.read(data)

    def request(self, _: int = 0) -> None:
        """The owner takes what the session asks of the store."""
        self.requested += self.session.take_requests()
        self._gather()

    def apply(self, _: int = 0) -> None:
        """The store carries out a request; its answer is on the way."""
        if self.applied < len(self.requested):
            request = self.requested[self.applied]
            self.store.apply(request)
            self.applied += 1
            self.lost = self.lost and not isinstance(request, BeginEpoch)

    def answer(self, _: int = 0) -> None:
        """An answer of the store reaches the session."""
        if self.applied:
            self.requested.popleft()
            self.applied -= 1
            self.session.stored()
            self._gather()

    def drop(self, argument: int) -> None:
        """The connection breaks; what was under way arrives in part or not at all."""
        if self._fragile():
            return
        self.send(argument)
        self.broker.disconnect()
        self.to_broker = b""
        self.session.connection_lost("dropped")

    def kill(self, argument: int) -> None:
        """The process dies; what the store has done stays done."""
        if self._fragile():
            return
        self.send(argument)
        self.broker.disconnect()
        self._start()

    def stop(self, _: int = 0) -> None:
        """The process is asked to stop, or the trigger is disabled for a moment."""
        if not self._fragile():
            self.session.disconnect()
            self._gather()

    def lose_session(self, _: int = 0) -> None:
        """The broker forgets everything: what it still held is excused."""
        if self._fragile() or self.store.epoch == 0:
            return
        self.excused |= self.owed.keys()
        self.lost = True
        self.covered = False
        self.broker.lose_session()
        self.to_broker = b""
        self.session.connection_lost("broker restarted")

    def deploy(self, argument: int) -> None:
        """The trigger is deployed with other topics: a message may then count under the old and the new ones."""
        self.changing = True
        self.trigger = make_trigger(*DEPLOYMENTS[argument % len(DEPLOYMENTS)])
        self.session.change_subscriptions(self.trigger, VERSION)
        self._gather()

    def tick(self, _: int = 0) -> None:
        """A third of a second passes."""
        self.now_ms += 300
        self.session.tick(self.now_ms)
        self._gather()

    # --- helpers

    def _gather(self) -> None:
        self.to_broker += b"".join(self.session.take_output())
        self.session.take_events()

    def store_all(self) -> None:
        """Everything asked of the store is carried out and answered."""
        self.request()
        while self.requested:
            self.apply()
            self.answer()

    def to_broker_all(self) -> None:
        """Everything written reaches the broker."""
        self.send(1)

    def _fragile(self) -> bool:
        """Moments after which no client can know better; the modules under test name them as not covered."""
        inflight = self.broker.session.inflight if self.broker.session else []
        shared = Counter(each.packet_id for each in inflight)
        ambiguous = any(each.released and shared[each.packet_id] > 1 for each in inflight)
        burst = self.habits.republishes and (self.broker.burst > 0 or self._forgotten())
        unseen = self.lost and bool(self.store.inflight) and self.session.state is not State.CLOSED
        return ambiguous or burst or unseen

    def _forgotten(self) -> bool:
        """Whether an exchange is over for the session and not for the broker, which does not know of PUBCOMP yet."""
        connection = self.session._connection
        inflight = self.broker.session.inflight if self.broker.session else []
        remembered = connection.inflight._packed if connection else self.store.inflight
        return any(each.released and each.packet_id not in remembered for each in inflight)

    def _comes_once(self) -> bool:
        """Whether a message published now is promised to be taken once, overlapping filters or not."""
        broker = self.broker.session
        if self.changing:
            return False
        if broker is None or len(self.trigger.topics) == 1 or self.habits.copies != "each":
            return True
        return self.store.knows_copies({identifier for _, identifier in broker.subscriptions.values()})

    def settle(self) -> None:
        """Everything heals, and goes on until nothing moves any more."""
        for _ in range(40 + 4 * self.serial):
            self.connect()
            self.receive(3)
            self.store_all()
            self.to_broker_all()
            self.tick()
        broker = self.broker.session
        assert broker is not None
        assert not broker.queued, "messages are left at the broker"
        assert not broker.inflight, "exchanges are left at the broker"
        assert set(broker.subscriptions) == {topic.topic for topic in self.trigger.topics}

    def check(self) -> None:
        """The promise."""
        assert self.store.received == len(self.store.admitted) + self.store.duplicate
        if self.habits.protocol is Protocol.V311 and self.identical:
            self._check_contents()
            return
        came = Counter(
            each.properties.message_expiry_interval if each.properties else int(each.payload)
            for each in self.store.admitted
        )
        for serial, (_, qos) in self.owed.items():
            if qos and serial not in self.excused:
                assert came[serial] >= 1, f"message {serial} at QoS {qos} is lost"
            if qos != 1 and serial in self.strict:
                assert came[serial] <= 1, f"message {serial} at QoS {qos} came {came[serial]} times"

    def _check_contents(self) -> None:
        """The same where messages cannot be told apart: by numbers."""
        came = Counter((each.topic, int(each.qos)) for each in self.store.admitted)
        for topic in ("t/a", "t/b"):
            owed = {serial: qos for serial, (message, qos) in self.owed.items() if message.topic == topic}
            for level in (1, 2):
                due = [serial for serial, qos in owed.items() if qos == level and serial not in self.excused]
                assert came[topic, level] >= len(due), f"of {len(due)} at QoS {level} only {came[topic, level]} came"
            for level in (0, 2):
                most = [serial for serial, qos in owed.items() if qos == level]
                if self.strict >= set(most):
                    assert came[topic, level] <= len(most), f"of {len(most)} at QoS {level} {came[topic, level]} came"


Step = Callable[[World, int], None]
STEPS: list[Step] = [
    World.publish,
    World.publish,
    World.connect,
    World.receive,
    World.receive,
    World.send,
    World.request,
    World.apply,
    World.answer,
    World.drop,
    World.kill,
    World.stop,
    World.lose_session,
    World.tick,
]
