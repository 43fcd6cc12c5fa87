"""From PUBLISH to envelope: what each message comes to, and which of several copies counts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ingest.admission import BATCH_MESSAGES, Batch, Intake
from ingest.codec import PUBACKS, PUBCOMPS, PUBRECS, OversizedPublish, Protocol, PublishPacket
from ingest.inflight import Inflight
from ingest.overlap import HOLD_MAX, HOLD_MS
from ingest.subscriptions import (
    GENERATIONS,
    Generation,
    Subscriptions,
    generation_number,
    next_subscriptions,
    plan_subscriptions,
    wanted_filters,
    with_grants,
)
from shared.dead import decode_letter
from shared.definitions import Topic, Trigger
from shared.envelope import Envelope, Properties, decode_envelope
from tests.support.factories import TRIGGER, VERSION, make_trigger
from tests.unit.ingest.session_driver import NOW_MS, publish


class Desk:
    """An intake under subscriptions that were granted as asked, and the identifiers of their filters."""

    def __init__(self, *topics: Topic, protocol: Protocol = Protocol.V5, **changes: Any) -> None:
        self.trigger = make_trigger(*topics)
        self.inflight = Inflight(3)
        self.intake = Intake(protocol, self.inflight, self.trigger, VERSION)
        self.subscriptions: Subscriptions | None = None
        self.deploy(self.trigger, **changes)

    def deploy(
        self, trigger: Trigger, *, copies: bool = False, identifiers: bool = True, codes: dict[str, int] | None = None
    ) -> None:
        """The next generation of subscriptions; `codes` are what is granted otherwise than asked, by filter."""
        wanted = wanted_filters(trigger)
        known = self.subscriptions
        number = generation_number(1, len(known.generations) if known else 0)
        plan = plan_subscriptions(wanted, known, Protocol.V5, certain=False)
        planned = next_subscriptions(wanted, plan, known, number, identifiers=identifiers)
        granted = with_grants(planned, {each.filter: each.qos for each in wanted} | (codes or {}))
        self.subscriptions = Subscriptions(1, granted.generations, copies=copies)
        self.intake.use(trigger, VERSION, self.subscriptions)

    def identifiers(self, *filters: str) -> list[int]:
        """Their subscription identifiers now."""
        assert self.subscriptions is not None
        by_filter = {each.filter: each.identifier for each in self.subscriptions.current}
        return [by_filter[each] for each in filters]

    def take(self, *packets: PublishPacket) -> Batch:
        """What these come to, as the one batch that there must be."""
        for packet in packets:
            self.intake.publish(packet, packet.topic, NOW_MS)
        (batch,) = self.intake.take() or [Batch()]
        return batch

    def admitted(self, *packets: PublishPacket) -> list[Envelope]:
        """The envelopes that these come to."""
        return [decode_envelope(each) for each in self.take(*packets).envelopes]


def test_an_envelope_says_all_that_came_and_all_that_is_known() -> None:
    """It is everything that code will ever learn of the message."""
    desk = Desk(Topic("demo/+", 1), Topic("demo/hello", 2))
    packet = publish(
        payload=b"\0\xff",
        duplicate=True,
        payload_format_indicator=1,
        message_expiry_interval=30,
        content_type="text/plain",
        response_topic="reply",
        correlation_data=b"c",
        subscription_ids=desk.identifiers("demo/hello"),
        user_properties=[("a", "1"), ("a", "2")],
    )

    assert desk.admitted(packet) == [
        Envelope(
            version=1,
            trigger=TRIGGER,
            trigger_version=VERSION,
            topic="demo/hello",
            payload=b"\0\xff",
            qos=1,
            retain=False,
            dup=True,
            packet_id=7,
            received_at=NOW_MS,
            protocol=5,
            filters=[1, 0],
            properties=Properties(
                1, 30, "text/plain", "reply", b"c", packet.subscription_ids, None, [("a", "1"), ("a", "2")]
            ),
        )
    ]


def test_on_3_1_1_there_are_no_properties() -> None:
    """Code can tell that from empty ones."""
    (envelope,) = Desk(protocol=Protocol.V311).admitted(publish(qos=0))

    assert envelope.properties is None
    assert envelope.protocol == 4
    assert envelope.packet_id == 0


@pytest.mark.parametrize("qos, acks", [(0, []), (1, [PUBACKS[7]]), (2, [PUBRECS[7]])])
def test_each_qos_has_its_acknowledgement(qos: int, acks: list[bytes]) -> None:
    """It waits in the batch until that is stored."""
    batch = Desk().take(publish(qos=qos))

    assert batch.acks == acks
    assert len(batch.envelopes) == 1


def test_a_qos_2_message_and_its_identifier_are_in_one_batch() -> None:
    """The store takes both or neither."""
    batch = Desk().take(publish(qos=2))

    assert [packet_id for packet_id, _ in batch.packet_ids] == [7]
    admission = batch.admission()
    assert admission is not None
    assert (admission.received, admission.duplicate) == (1, 0)


def test_a_qos_2_message_that_comes_again_is_counted_and_acknowledged() -> None:
    """On a later connection it is known by identifier and digest, without DUP."""
    first = Desk().take(publish(qos=2))
    desk = Desk()
    desk.intake = Intake(Protocol.V5, Inflight(4, dict(first.packet_ids)), desk.trigger, VERSION)
    batch = desk.take(publish(qos=2, message_expiry_interval=5))

    assert batch.envelopes == []
    assert batch.acks == [PUBRECS[7]]
    assert batch.duplicate == batch.received == 1


def test_a_qos_1_message_is_never_taken_for_another() -> None:
    """Identifiers of QoS 1 are free as soon as they are acknowledged."""
    assert len(Desk().admitted(publish(), publish(), publish(duplicate=True))) == 3


def test_pubcomp_waits_for_what_came_before() -> None:
    """Also where the identifier is unknown and nothing has to be forgotten."""
    desk = Desk()
    desk.intake.release(9)
    alone = desk.take()
    desk.intake.release(9)
    together = desk.take(publish())

    assert alone.acks == [PUBCOMPS[9]]
    assert alone.admission() is None
    assert together.acks == [PUBCOMPS[9], PUBACKS[7]]


def test_a_long_burst_is_cut_into_batches() -> None:
    """No single step may keep Redis busy for long; acknowledgements stay with their messages."""
    desk = Desk()
    for number in range(BATCH_MESSAGES + 1):
        desk.intake.publish(publish(packet_id=number + 1), "demo/hello", NOW_MS)
    batches = desk.intake.take()

    assert [len(each.envelopes) for each in batches] == [BATCH_MESSAGES, 1]
    assert [len(each.acks) for each in batches] == [BATCH_MESSAGES, 1]
    assert desk.intake.buffered_bytes == 0


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_over_the_limit_becomes_a_dead_letter(qos: int) -> None:
    """It is settled: acknowledged, counted, and at QoS 2 not buried twice."""
    over = OversizedPublish(publish("demo/big", b"", qos=qos, content_type="x"), 99, b"12345678", b"head")
    desk = Desk()
    desk.intake.oversized(over, "demo/big", NOW_MS)
    batch = desk.take()

    letter = decode_letter(batch.dead_letters[0])
    assert (letter.reason, letter.topic, letter.qos, letter.payload, letter.size) == (
        "oversized", "demo/big", qos, b"head", 99,
    )  # fmt: skip
    assert letter.digest == b"12345678".hex()
    assert letter.properties is not None
    assert letter.properties.content_type == "x"
    assert len(batch.acks) == (qos > 0)
    admission = batch.admission()
    assert admission is not None
    assert (admission.received, admission.oversized) == (1, 1)

    again = Intake(Protocol.V5, Inflight(4, dict(batch.packet_ids)), desk.trigger, VERSION)
    again.oversized(over, "demo/big", NOW_MS)
    (second,) = again.take()
    assert second.duplicate == (qos == 2)


def test_topics_that_were_refused_are_not_named() -> None:
    """The message came through the other one."""
    desk = Desk(Topic("demo/hello", 1), Topic("demo/+", 2), codes={"demo/+": 0x87})

    assert desk.admitted(publish())[0].filters == [0]


def test_a_message_of_a_topic_that_is_gone_is_admitted() -> None:
    """The broker had queued it under an earlier deployment."""
    assert Desk(Topic("other", 1)).admitted(publish())[0].filters == []


# --- retained messages


@pytest.mark.parametrize("identifiers", [False, True])
def test_retained_messages_are_skipped_where_the_topic_says_so(identifiers: bool) -> None:  # noqa: FBT001
    """Acknowledged and counted; a live message of the topic runs."""
    desk = Desk(Topic("demo/hello", 1, retained="skip"), identifiers=identifiers)
    known = desk.identifiers("demo/hello") if identifiers else None
    batch = desk.take(publish(retain=True, subscription_ids=known), publish(subscription_ids=known))

    assert batch.skipped == 1
    assert len(batch.envelopes) == 1
    assert len(batch.acks) == 2


def test_a_retained_message_runs_for_the_topics_that_want_it() -> None:
    """Where two topics match, each as it says; the copy for the one that does not want it is skipped."""
    desk = Desk(Topic("demo/hello", 2, retained="skip"), Topic("demo/+", 1))
    wanted, unwanted = desk.identifiers("demo/+"), desk.identifiers("demo/hello")

    assert desk.take(publish(retain=True, subscription_ids=unwanted)).skipped == 1
    assert desk.admitted(publish(retain=True, subscription_ids=wanted))[0].filters == [1]
    assert desk.admitted(publish(retain=True))[0].filters == [1]


def test_retained_copies_for_two_new_topics_count_once() -> None:
    """They come once for each SUBSCRIBE, on every broker, so nothing has to be learnt first."""
    desk = Desk(Topic("demo/hello", 2), Topic("demo/+", 1))
    copies = [publish(retain=True, subscription_ids=desk.identifiers(each)) for each in ("demo/hello", "demo/+")]

    batch = desk.take(*copies)
    assert (len(batch.envelopes), batch.duplicate) == (1, 1)


def test_a_retained_message_for_a_new_topic_counts_though_an_older_one_matches() -> None:
    """The older one's subscription brought it long ago, if it was there then."""
    desk = Desk(Topic("demo/hello", 2))
    desk.deploy(make_trigger(Topic("demo/hello", 2), Topic("demo/+", 1)))

    assert len(desk.admitted(publish(retain=True, subscription_ids=desk.identifiers("demo/+")))) == 1


# --- copies through overlapping topics


def overlapping(**changes: Any) -> tuple[Desk, PublishPacket, PublishPacket]:
    """Two topics that match, and a copy for each: the one that counts, the other."""
    desk = Desk(Topic("demo/+", 1), Topic("demo/hello", 2), **changes)
    best, other = desk.identifiers("demo/hello", "demo/+")
    return (
        desk,
        publish(qos=2, packet_id=1, subscription_ids=[best]),
        publish(qos=1, packet_id=2, subscription_ids=[other]),
    )


@pytest.mark.parametrize("best_first", [True, False])
def test_of_two_copies_the_one_with_the_highest_qos_counts(best_first: bool) -> None:  # noqa: FBT001
    """From the first message on, in whatever order the broker's tree yields them; all topics are named."""
    desk, best, other = overlapping()
    batch = desk.take(best, other) if best_first else desk.take(other, best)

    (envelope,) = [decode_envelope(each) for each in batch.envelopes]
    assert (envelope.qos, envelope.filters) == (2, [1, 0])
    assert batch.duplicate == 1
    assert set(batch.acks) == {PUBRECS[1], PUBACKS[2]}
    assert desk.intake.copies.known


def test_a_copy_that_does_not_count_waits_unacknowledged_for_the_one_that_does() -> None:
    """Whether this broker makes copies is not known yet."""
    desk, best, other = overlapping()
    held = desk.take(other)
    settled = desk.take(best)

    assert (held.acks, held.envelopes) == ([], [])
    assert len(settled.envelopes) == settled.duplicate == 1


def test_a_single_copy_with_the_lesser_identifier_counts_after_a_while() -> None:
    """Some brokers send one copy with one identifier: no message may be lost to the rule."""
    desk, _, other = overlapping()
    desk.take(other)
    desk.intake.tick(NOW_MS + HOLD_MS - 1, reading=True)
    early = desk.take()
    desk.intake.tick(NOW_MS + HOLD_MS, reading=True)
    late = desk.take()
    following = desk.take(other)

    assert early.envelopes == []
    assert len(late.envelopes) == 1
    assert late.acks == [PUBACKS[2]]
    assert len(following.envelopes) == 1


def test_a_clock_that_is_set_back_makes_no_copy_wait_for_longer() -> None:
    """Else it would hold its place among the unacknowledged until the clock is there again."""
    desk, _, other = overlapping()
    desk.take(other)
    for later in range(0, 2 * HOLD_MS, HOLD_MS):
        desk.intake.tick(NOW_MS - 3_600_000 + later, reading=True)

    assert len(desk.take().envelopes) == 1


@pytest.mark.parametrize("pairs", [1, 3])
def test_the_other_copy_does_not_count_when_it_comes_after_that_while(pairs: int) -> None:
    """A broker that allows one message in flight sends it only when the held one is acknowledged."""
    desk, best, other = overlapping()
    desk.intake.copies.fresh = True
    envelopes = 0
    for _ in range(pairs):
        desk.take(other)
        desk.intake.tick(NOW_MS + HOLD_MS, reading=True)
        envelopes += len(desk.take().envelopes)
        envelopes += len(desk.admitted(best))

    assert envelopes == pairs
    assert desk.intake.copies.known


def test_as_many_copies_do_not_count_as_have_counted_ahead() -> None:
    """Identical messages, of which several were given up at once."""
    desk, best, other = overlapping()
    desk.intake.copies.fresh = True
    desk.take(other, other)
    desk.intake.tick(NOW_MS + HOLD_MS, reading=True)

    assert len(desk.take().envelopes) == 2
    assert [len(desk.admitted(best)) for _ in range(3)] == [0, 0, 1]


def test_in_a_resumed_session_the_other_copy_counts_also_then() -> None:
    """Its own other copy may have come on the connection before: rather twice than lost."""
    desk, best, other = overlapping()
    desk.take(other)
    desk.intake.tick(NOW_MS + HOLD_MS, reading=True)

    assert len(desk.take().envelopes) == 1
    assert len(desk.admitted(best)) == 1


@pytest.mark.parametrize("codes, admitted", [({}, [2]), ({"demo/hello": 0x87}, [1])], ids=["granted", "refused"])
def test_copies_wait_for_what_is_granted_where_that_decides(codes: dict[str, int], admitted: list[int]) -> None:
    """After a crash between SUBSCRIBE and SUBACK the broker may send its backlog before it answers again."""
    desk, best, other = overlapping()
    assert desk.subscriptions is not None
    granted = desk.subscriptions
    asked = [msgspec.structs.replace(each, granted=None) for each in granted.current]
    desk.intake.use(desk.trigger, VERSION, Subscriptions(0, [Generation(granted.generations[0].number, asked)]))
    before = desk.take(*([] if codes else [best]), other)
    desk.intake.use(desk.trigger, VERSION, with_grants(granted, codes))
    desk.intake.tick(NOW_MS + 2 * HOLD_MS, reading=True)
    after = desk.take()

    assert PUBACKS[2] not in before.acks
    assert PUBACKS[2] in after.acks
    assert [decode_envelope(each).qos for each in [*before.envelopes, *after.envelopes]] == admitted


def test_while_nothing_is_read_no_copy_is_given_up() -> None:
    """The other one may be waiting in the socket."""
    desk, best, other = overlapping()
    desk.take(other)
    desk.intake.tick(NOW_MS + 10 * HOLD_MS, reading=False)
    desk.intake.tick(NOW_MS + 10 * HOLD_MS + 1, reading=True)

    assert len(desk.admitted(best)) == 1


def test_only_so_many_copies_wait() -> None:
    """Beyond that they count, rather than pile up."""
    desk, _, other = overlapping()
    batch = desk.take(*[other] * (HOLD_MAX + 5))

    assert len(batch.envelopes) == 5


def test_what_was_seen_before_needs_no_second_proof() -> None:
    """Then the identifier alone decides, also for the first message after a crash."""
    desk, best, other = overlapping(copies=True)

    assert desk.take(other).duplicate == 1
    assert len(desk.admitted(best)) == 1


def test_one_copy_with_all_identifiers_counts() -> None:
    """The other way that MQTT 5 allows."""
    desk, best, other = overlapping(copies=True)
    merged = publish(qos=2, subscription_ids=[*other.subscription_ids, *best.subscription_ids])

    assert len(desk.admitted(merged, merged)) == 2


def test_copies_without_identifier_all_count() -> None:
    """Nothing says that they are copies."""
    assert len(overlapping(copies=True)[0].admitted(publish(), publish())) == 2


def test_identical_messages_are_as_many_as_there_are_pairs_of_copies() -> None:
    """Not one for all."""
    desk, best, other = overlapping()
    batch = desk.take(other, other, best, best, best, other)

    assert (len(batch.envelopes), batch.duplicate) == (3, 3)


def test_a_copy_that_was_queued_before_the_better_topic_existed_counts() -> None:
    """Its identifier says under which topics it was routed."""
    desk = Desk(Topic("demo/+", 1))
    queued = publish(subscription_ids=desk.identifiers("demo/+"))
    desk.deploy(make_trigger(Topic("demo/+", 1), Topic("demo/hello", 2)), copies=True)

    assert len(desk.admitted(queued)) == 1


def test_copies_that_were_queued_under_the_topics_of_before_count_once() -> None:
    """The rule holds within each generation."""
    desk, best, other = overlapping()
    desk.deploy(make_trigger(Topic("else", 1)), copies=True)
    batch = desk.take(best, other)

    assert (len(batch.envelopes), batch.duplicate) == (1, 1)


def test_a_copy_of_a_generation_that_is_forgotten_proves_nothing() -> None:
    """It is the same copy once more, of an identical message."""
    desk, _, other = overlapping()
    held = desk.take(other)
    for number in range(GENERATIONS):
        desk.deploy(make_trigger(Topic("demo/+", 1), Topic("demo/hello", 2), Topic(f"else/{number}", 1)))
    forgotten = desk.take(other)
    desk.intake.tick(NOW_MS + HOLD_MS, reading=True)

    assert held.envelopes == []
    assert len(forgotten.envelopes) == 1
    assert not desk.intake.copies.known
    assert len(desk.take().envelopes) == 1


def test_a_topic_that_was_refused_absorbs_nothing() -> None:
    """No copy comes for it."""
    desk = Desk(Topic("demo/+", 1), Topic("demo/hello", 2), copies=True, codes={"demo/hello": 0x87})

    assert len(desk.admitted(publish(subscription_ids=desk.identifiers("demo/+")))) == 1


def test_a_topic_that_was_granted_less_absorbs_nothing_better() -> None:
    """The better copy is the one to keep."""
    desk = Desk(Topic("demo/+", 1), Topic("demo/hello", 2), copies=True, codes={"demo/hello": 0})

    assert len(desk.admitted(publish(subscription_ids=desk.identifiers("demo/+")))) == 1


def test_a_share_subscription_delivers_independently() -> None:
    """Its copy counts and names only its own topic; the ordinary copy names only the others."""
    desk = Desk(Topic("demo/hello", 2), Topic("$share/g/demo/+", 1), copies=True)
    ordinary, shared = desk.identifiers("demo/hello", "$share/g/demo/+")
    envelopes = desk.admitted(publish(subscription_ids=[ordinary]), publish(subscription_ids=[shared]))

    assert [each.filters for each in envelopes] == [[0], [1]]
