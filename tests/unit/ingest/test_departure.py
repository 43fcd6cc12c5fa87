"""How a session that was left behind comes to its end."""

from __future__ import annotations

import msgspec
import pytest

from ingest.assignment import Assignment
from ingest.codec import ConnAckPacket, DisconnectPacket, Protocol, UnsubscribePacket
from ingest.departure import EMPTYING_MAX_S, QUIET_S, SETTLE_S, UNFINISHED_S, Act, Departure, Seen, Stage
from ingest.moving import moved
from ingest.session import Session
from ingest.session_events import BeginEpoch, Connected, Purged, SessionConfig, SessionRecord
from ingest.session_states import State
from ingest.subscriptions import Generation, Subscribed, Subscriptions
from shared.definitions import Broker, Topic
from shared.left import WEEK_S, decode_left
from shared.scripts.ingest import SessionReply
from tests.support.factories import make_trigger
from tests.unit.ingest.session_driver import Driver, publish, resuming

KNOWN = SessionRecord(1, 5, Protocol.V5, Subscriptions(4, [Generation(0, [Subscribed("a", 2, 0, 2)])]), {})
HOME = Broker("f/b", "here.example", 1883)


def connected(*, present: bool) -> Connected:
    """CONNACK."""
    return Connected(present, 60, None, 100, 2, True, True, True, True)  # noqa: FBT003


def quiet(taken_in: int = 3, unfinished: int = 0) -> Seen:
    """Nothing is under way."""
    return Seen(taken_in, unfinished, busy=False)


def emptied() -> tuple[Departure, float]:
    """A departure whose subscriptions have just been ended, and when."""
    departure = Departure("drain")
    departure.happened(connected(present=True))
    assert departure.look(quiet(), 0.0) is None
    assert departure.look(quiet(), SETTLE_S) is Act.UNSUBSCRIBE
    return departure, SETTLE_S


def test_ending_is_one_connection_with_a_clean_start() -> None:
    """It is over when the broker has accepted that."""
    departure = Departure("end")
    step = departure.next_step(make_trigger(), KNOWN)
    departure.happened(Purged())

    assert (step.clean_start, step.purge, step.session_expiry_s) == (True, True, 0)
    assert departure.over


def test_draining_resumes_the_session_first() -> None:
    """It is to outlive a connection that breaks."""
    step = Departure("drain").next_step(make_trigger(), KNOWN)

    assert (step.clean_start, step.purge, step.lasting, step.session_expiry_s) == (False, False, True, WEEK_S)


def test_subscriptions_end_when_nothing_has_come_for_a_while() -> None:
    """What comes begins the wait anew, and so does what keeps us from seeing what comes."""
    departure = Departure("drain")
    departure.happened(connected(present=True))

    assert departure.look(quiet(1), 0.0) is None
    assert departure.look(quiet(2), SETTLE_S) is None
    assert departure.look(Seen(2, 0, busy=True), 2 * SETTLE_S) is None
    assert departure.look(quiet(2), 3 * SETTLE_S - 0.1) is None
    assert departure.look(quiet(2), 3 * SETTLE_S) is Act.UNSUBSCRIBE


def test_subscriptions_end_though_it_is_never_silent() -> None:
    """Else a busy topic would be drained for ever."""
    departure = Departure("drain")
    departure.happened(connected(present=True))
    departure.look(quiet(0), 0.0)

    assert departure.look(quiet(1), EMPTYING_MAX_S) is Act.UNSUBSCRIBE


def test_the_connection_ends_after_a_longer_silence() -> None:
    """And the next one ends the session."""
    departure, at = emptied()

    assert departure.look(quiet(), at + QUIET_S - 0.1) is None
    assert departure.look(quiet(), at + QUIET_S) is Act.DISCONNECT
    assert departure.next_step(make_trigger(), KNOWN).purge


def test_unfinished_messages_are_waited_for_but_not_for_ever() -> None:
    """Some brokers never send PUBREL."""
    departure, at = emptied()

    assert departure.look(quiet(unfinished=1), at + QUIET_S) is None
    assert departure.look(quiet(unfinished=1), at + UNFINISHED_S) is Act.DISCONNECT


def test_a_connection_that_breaks_begins_anew() -> None:
    """Whether UNSUBSCRIBE came through is not known."""
    departure, _ = emptied()
    departure.happened(connected(present=True))

    assert departure.stage is Stage.EMPTYING
    assert not departure.next_step(make_trigger(), KNOWN).clean_start


def test_a_session_that_is_gone_is_not_waited_for() -> None:
    """CONNACK tells; the one that has come in its place is ended."""
    departure = Departure("drain")
    departure.happened(connected(present=False))

    assert departure.look(quiet(), 0.0) is Act.DISCONNECT
    assert departure.next_step(make_trigger(), KNOWN).purge


class Leaving(Driver):
    """A session that is left, for topic a at QoS 2."""

    def __init__(self, protocol: Protocol) -> None:
        super().__init__(Topic("a", 2), protocol=protocol)
        self.session = Session(SessionConfig(self.trigger, "v", None, None, 1000, 60, 10.0, leaving=True))


@pytest.mark.parametrize("protocol", Protocol)
def test_a_session_that_is_left_subscribes_to_nothing_and_takes_in_what_comes(protocol: Protocol) -> None:
    """Before and after its subscriptions have ended, for the topics of its trigger."""
    driver = Leaving(protocol)
    driver.connect(msgspec.structs.replace(KNOWN, protocol=protocol), resuming(protocol))
    driver.feed(connack(present=True))
    driver.feed(publish("a", b"1", 2, packet_id=1))
    first = driver.envelopes()
    assert driver.session.state is State.ESTABLISHED
    driver.session.unsubscribe()
    driver.store()
    (unsubscribe,) = [packet for packet in driver.grant() if isinstance(packet, UnsubscribePacket)]
    driver.feed(publish("a", b"2", 2, packet_id=2))
    second = driver.envelopes()
    driver.session.disconnect()

    assert unsubscribe.patterns == ["a"]
    assert [(each.payload, each.filters) for each in (*first, *second)] == [(b"1", [0]), (b"2", [0])]
    assert isinstance(driver.sent()[-1], DisconnectPacket)


def test_a_new_session_is_not_subscribed_when_it_is_left() -> None:
    """It is only there to be ended."""
    driver = Leaving(Protocol.V5)
    driver.connect(KNOWN)
    driver.feed(connack(present=False))
    asked = driver.store()

    assert [type(each) for each in asked] == [BeginEpoch]
    assert driver.sent() == []
    assert driver.session.state is State.ESTABLISHED


def connack(*, present: bool) -> ConnAckPacket:
    """CONNACK of a broker that has the session, or has not."""
    return ConnAckPacket(session_present=present)


def opened(broker: str = "home", version: str = "then") -> SessionReply:
    """What Redis has of a session that was connected to a broker."""
    return SessionReply(5, 1, 5, "", {}, broker, version)


def test_a_session_stays_at_a_broker_that_the_trigger_has_left() -> None:
    """Its record goes under an id of its own, with the trigger as it was there."""
    trigger = make_trigger()
    now = Assignment(trigger, "now", Broker("f/b", "there.example", 1883), {}, "there")
    record = moved(KNOWN, opened(), HOME, now, 7)

    assert record.moved
    assert record.left is not None
    assert record.left.session == "abcdefgh_1"
    left = decode_left(record.left.record)
    assert (left.trigger_version, left.broker_version, left.epoch, left.why, left.at) == (
        "then",
        "home",
        1,
        "broker",
        7,
    )


def test_other_credentials_do_not_make_another_broker() -> None:
    """Only the address does."""
    now = Assignment(make_trigger(), "now", msgspec.structs.replace(HOME, username="u"), {}, "newer")

    assert moved(KNOWN, opened(), HOME, now, 7) == KNOWN


def test_a_session_that_did_not_last_is_not_left() -> None:
    """The broker has forgotten it."""
    subscriptions = Subscriptions(4, [Generation(0, [])], lasting=False)
    record = msgspec.structs.replace(KNOWN, subscriptions=subscriptions)
    now = Assignment(make_trigger(), "now", Broker("f/b", "there.example", 1883), {}, "there")

    assert moved(record, opened(), HOME, now, 7).left is None


def test_a_left_session_goes_on_record_only_if_the_broker_has_none() -> None:
    """Where it has, it is the same broker under another name: the session goes on, and all is subscribed again."""
    now = Assignment(make_trigger(), "now", Broker("f/b", "there.example", 1883), {}, "there")
    record = moved(KNOWN, opened(), HOME, now, 7)
    gone, there = Driver(Topic("a", 2)), Driver(Topic("a", 2))
    for driver, present in ((gone, False), (there, True)):
        driver.connect(record)
        driver.feed(connack(present=present))

    assert gone.store()[0] == BeginEpoch(Protocol.V5, record.left)
    assert not any(isinstance(each, BeginEpoch) for each in there.store())
    assert there.sent()
