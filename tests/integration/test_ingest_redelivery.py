"""Messages that a broker sends again, or under packet identifiers that are in use: each is admitted as QoS promises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from ingest.codec import (
    PubAckPacket,
    PubCompPacket,
    PublishPacket,
    PubRecPacket,
    PubRelPacket,
    QoS,
    SubscribePacket,
)
from ingest.inflight import ENTRY_BYTES
from shared import keys
from shared.definitions import Topic
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import SESSION, counters
from tests.support.ingest import FAST, deploy_trigger, inbox, inbox_length, session_field
from tests.support.processes import HeadraceProcess
from tests.support.replaying_broker import Peer, ReplayingBroker

Start = Callable[..., HeadraceProcess]
UNACKNOWLEDGED = 7000
IDENTIFIERS = 65_535
MORE_THAN_IDENTIFIERS = 100_000
AT_ONCE = 1000
PATIENCE_S = 60


@pytest.fixture
def broker() -> Iterator[ReplayingBroker]:
    """A broker that does what the test says."""
    with ReplayingBroker() as broker:
        yield broker


def window(qos: int, *, dup: bool = False) -> list[PublishPacket]:
    """What a broker has in flight: half of it the same message."""
    return [
        PublishPacket("a", b"%d" % (i // 2 * (i % 2)), qos=QoS(qos), packet_id=i, duplicate=dup)
        for i in range(1, UNACKNOWLEDGED + 1)
    ]


def come_back(broker: ReplayingBroker, store: Store) -> tuple[Peer, list[SubscribePacket]]:
    """The next connection, whose SUBSCRIBE, due to a deployment since the one before, is not answered yet."""
    deploy_trigger(store, broker.port, Topic("a", 2), Topic("b", 2), client_version=session_version(store))
    peer = broker.next_peer()
    assert not peer.connect.clean_start
    peer.accept(session_present=True)
    asked = [peer.expect(SubscribePacket)]
    while "b" not in [each.pattern for each in asked[-1].topic_filters]:
        asked.append(peer.expect(SubscribePacket))
    return peer, asked


def session_version(store: Store) -> str:
    """How the trigger names the protocol that the session began with."""
    return {"4": "v3", "5": "v5"}[session_field(store, "protocol")]


@pytest.fixture(params=["v5", "v3"])
def peer(
    request: pytest.FixtureRequest, store: Store, redis_url: str, headrace: Start, broker: ReplayingBroker
) -> Peer:
    """The first connection of a trigger at QoS 2, subscribed."""
    deploy_trigger(store, broker.port, Topic("a", 2), client_version=request.param)
    headrace("ingest", REDIS_URL=redis_url, **FAST)
    peer = broker.next_session()
    eventually(lambda: session_field(store, "subscriptions"))
    return peer


@pytest.mark.parametrize(
    "stored,dup",
    [(True, True), (True, False), (False, True)],
    ids=["after it was stored", "without DUP", "before all was stored"],
)
def test_a_window_of_qos_2_that_comes_again_is_admitted_once(
    peer: Peer, broker: ReplayingBroker, store: Store, *, stored: bool, dup: bool
) -> None:
    """7000 unacknowledged messages, the connection lost, and all of them again before SUBACK."""
    peer.send(*window(2))
    if stored:
        eventually(lambda: inbox_length(store) == UNACKNOWLEDGED, PATIENCE_S)
    peer.kill()
    peer, asked = come_back(broker, store)
    before = inbox_length(store)
    peer.send(*window(2, dup=dup))
    assert [peer.expect(PubRecPacket).packet_id for _ in range(UNACKNOWLEDGED)] == list(range(1, UNACKNOWLEDGED + 1))
    for subscribe in asked:
        peer.grant_now(subscribe)
    peer.send(*[PubRelPacket(i) for i in range(1, UNACKNOWLEDGED + 1)])
    assert [peer.expect(PubCompPacket).packet_id for _ in range(UNACKNOWLEDGED)] == list(range(1, UNACKNOWLEDGED + 1))

    assert Counter(each.payload for each in inbox(store)) == Counter(each.payload for each in window(2))
    assert counters(store) == nonzero(
        received=UNACKNOWLEDGED + before, admitted=UNACKNOWLEDGED, inbox=UNACKNOWLEDGED, duplicate=before
    )
    assert before == UNACKNOWLEDGED or not stored
    assert not store.command("EXISTS", keys.inflight(SESSION))


def nonzero(**cells: int) -> dict[str, int]:
    """The cells as the store keeps them."""
    return {name: value for name, value in cells.items() if value}


@pytest.mark.parametrize("dup", [True, False], ids=["with DUP", "without DUP"])
def test_a_window_of_qos_1_that_comes_again_loses_nothing(
    peer: Peer, broker: ReplayingBroker, store: Store, *, dup: bool
) -> None:
    """Nothing tells it from new messages, so it is admitted again."""
    peer.send(*window(1))
    eventually(lambda: inbox_length(store) == UNACKNOWLEDGED, PATIENCE_S)
    peer.kill()
    peer, asked = come_back(broker, store)
    peer.send(*window(1, dup=dup))
    assert [peer.expect(PubAckPacket).packet_id for _ in range(UNACKNOWLEDGED)] == list(range(1, UNACKNOWLEDGED + 1))
    for subscribe in asked:
        peer.grant_now(subscribe)

    sent = Counter(each.payload for each in window(1) + window(1))
    assert Counter(each.payload for each in inbox(store)) == sent
    assert counters(store) == dict.fromkeys(("received", "admitted", "inbox"), 2 * UNACKNOWLEDGED)


def test_packet_identifiers_reused_in_flight_are_told_apart(peer: Peer, store: Store) -> None:
    """100 000 equal messages under 65 535 identifiers, none released before all were sent: each counts, once."""
    ids = [1 + i % IDENTIFIERS for i in range(MORE_THAN_IDENTIFIERS)]
    for start in range(0, MORE_THAN_IDENTIFIERS, AT_ONCE):
        these = ids[start : start + AT_ONCE]
        peer.send(*[PublishPacket("a", b"21.5", qos=QoS(2), packet_id=i) for i in these])
        assert [peer.expect(PubRecPacket).packet_id for _ in these] == these
    held = [len(entries) // ENTRY_BYTES for entries in store.command("HVALS", keys.inflight(SESSION))]
    assert Counter(held) == {2: MORE_THAN_IDENTIFIERS - IDENTIFIERS, 1: 2 * IDENTIFIERS - MORE_THAN_IDENTIFIERS}
    for start in range(0, MORE_THAN_IDENTIFIERS, AT_ONCE):
        these = ids[start : start + AT_ONCE]
        peer.send(*[PubRelPacket(i) for i in these])
        assert [peer.expect(PubCompPacket).packet_id for _ in these] == these

    assert inbox_length(store) == MORE_THAN_IDENTIFIERS
    assert counters(store) == dict.fromkeys(("received", "admitted", "inbox"), MORE_THAN_IDENTIFIERS)
    assert not store.command("EXISTS", keys.inflight(SESSION))
