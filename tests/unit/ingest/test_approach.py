"""The way to a session over several connections: steps of the plan, and the protocol version."""

from __future__ import annotations

from ingest.approach import Approach
from ingest.codec import Protocol
from ingest.session_events import Connected, ProtocolRefused, Purged, Refused, SessionRecord
from tests.support.factories import make_trigger

NEW = SessionRecord(0, 1, None, None, {})
KNOWN_311 = SessionRecord(1, 5, Protocol.V311, None, {})
CONNECTED = Connected(False, 60, None, 100, 2, True, True, True, True)  # noqa: FBT003


def test_the_first_connect_ends_an_old_session_and_then_begins_a_lasting_one() -> None:
    """Two connections; the second one resumes."""
    approach = Approach()
    first = approach.next_step(make_trigger(), NEW)
    approach.happened(Purged())
    second = approach.next_step(make_trigger(), NEW)

    assert (first.clean_start, first.purge) == (True, True)
    assert (second.clean_start, second.purge, second.lasting) == (False, False, True)


def test_a_step_that_failed_is_planned_anew() -> None:
    """The old session may be back: a half-way plan is not continued."""
    approach = Approach()
    approach.next_step(make_trigger(), NEW)
    approach.happened(Purged())
    approach.start_over()

    assert approach.next_step(make_trigger(), NEW).purge


def test_a_new_holder_starts_clean_once() -> None:
    """An explicit clean start is for the holder's first connection, not for each reconnection."""
    trigger = make_trigger(clean_start=True, client_version="v5")
    record = SessionRecord(3, 9, Protocol.V5, None, {})
    approach = Approach()
    assert approach.next_step(trigger, record).clean_start
    approach.happened(Purged())
    approach.next_step(trigger, record)
    approach.happened(CONNECTED)
    approach.start_over()

    assert not approach.next_step(trigger, record).clean_start


def test_it_falls_back_to_3_1_1_and_stays_there() -> None:
    """For a trigger that leaves the version to us."""
    approach = Approach()
    assert approach.next_step(make_trigger(), NEW).protocol is Protocol.V5
    approach.happened(ProtocolRefused())

    assert approach.next_step(make_trigger(), NEW).protocol is Protocol.V311


def test_a_broker_that_gave_up_3_1_1_is_spoken_to_in_mqtt_5() -> None:
    """What the epoch began with is no longer possible."""
    approach = Approach()
    assert approach.next_step(make_trigger(), KNOWN_311).protocol is Protocol.V311
    approach.happened(Refused(0x84, "unsupported protocol version", permanent=True))

    assert approach.next_step(make_trigger(), KNOWN_311).protocol is Protocol.V5


def test_a_version_that_the_trigger_names_is_kept() -> None:
    """Whatever the broker says to it."""
    trigger = make_trigger(client_version="v5")
    approach = Approach()
    approach.next_step(trigger, NEW)
    approach.happened(ProtocolRefused())

    assert approach.next_step(trigger, NEW).protocol is Protocol.V5


def test_without_any_answer_the_versions_take_turns_until_one_is_accepted() -> None:
    """Brokers of 3.1.1 may say nothing to MQTT 5; nor does a broker that is just going down."""
    approach, spoken = Approach(), []
    for _ in range(3):
        spoken.append(approach.next_step(make_trigger(), NEW).protocol)
        assert approach.unanswered(make_trigger(), NEW)
        approach.start_over()

    assert spoken == [Protocol.V5, Protocol.V311, Protocol.V5]


def test_a_version_that_is_known_is_not_doubted_because_of_silence() -> None:
    """The trigger names it, or the epoch began with it."""
    named, known = make_trigger(client_version="v5"), SessionRecord(1, 5, Protocol.V5, None, {})
    for trigger, record in ((named, NEW), (make_trigger(), known)):
        approach = Approach()
        approach.next_step(trigger, record)
        assert not approach.unanswered(trigger, record)
        approach.start_over()
        assert approach.next_step(trigger, record).protocol is Protocol.V5


def test_versions_take_turns_with_a_broker_that_says_nothing() -> None:
    """Some of 3.1.1 just close the connection; one that has accepted us before is only away."""
    approach = Approach()
    approach.next_step(make_trigger(), NEW)
    assert approach.unanswered(make_trigger(), NEW)
    approach.start_over()
    assert approach.next_step(make_trigger(), NEW).protocol is Protocol.V311
    assert not approach.unanswered(make_trigger(), KNOWN_311)
    assert not approach.unanswered(make_trigger(client_version="v5"), NEW)
