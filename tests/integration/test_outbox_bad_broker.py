"""Brokers that drop connections, never acknowledge or read no more: no message holds up the others for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

import ingest.sender
from ingest.codec import ConnAckPacket, DisconnectPacket, PubAckPacket, PublishPacket
from ingest.deployments import Deployments
from ingest.sender import GUILTY, Sender
from shared import keys
from shared.config import IngestSettings, Settings
from shared.definitions import Broker
from shared.outgoing import OUTGOING_VERSION, Outgoing, encode_outgoing
from shared.store import AsyncStore, Store
from tests.support.factories import counters
from tests.support.ingest import BROKER, dead_letters, deploy_all
from tests.support.ports import HOST
from tests.support.replaying_broker import ConnectionEnded, Peer, ReplayingBroker
from tests.support.valkey import ValkeyServer

Answer = Callable[[Peer, PublishPacket], bool]
LOOK_S = 0.2
"""After so long the broker looks whether anything waits."""


@pytest.fixture
def store(own_valkey: ValkeyServer) -> Iterator[Store]:
    """A store on an empty server of the test's own."""
    store = Store.connect(own_valkey.url)
    yield store
    store.close()


def put(store: Store, payloads: list[bytes]) -> None:
    """Into the outbox, as `finish` does it."""
    for number, payload in enumerate(payloads):
        message = Outgoing(OUTGOING_VERSION, BROKER, "", "", "q1-run", f"q1-run.1.{number}", "out/a", payload)
        store.command("XADD", keys.outbox(BROKER), "*", "m", encode_outgoing(message))
    store.command("HSET", keys.counters("?"), "said", len(payloads), "outbox", len(payloads))
    store.command("SADD", keys.OUTBOXES, BROKER)
    store.command("SADD", keys.COUNTERS, "?")


def serve(broker: ReplayingBroker, connack: ConnAckPacket, answer: Answer, waiting: Callable[[], int]) -> None:
    """Serve connections until nothing waits; `answer` is False where the connection is to be dropped."""
    while waiting():
        with suppress(ConnectionEnded, TimeoutError):
            peer = broker.next_peer(LOOK_S)
            peer.send(connack)
            serve_one(peer, answer, waiting)
            peer.kill()


def serve_one(peer: Peer, answer: Answer, waiting: Callable[[], int]) -> None:
    """Until it is to be dropped, says good-bye, or nothing waits. Raises ConnectionEnded."""
    while waiting():
        try:
            packet = peer.next_packet(LOOK_S)
        except TimeoutError:
            continue
        if isinstance(packet, DisconnectPacket) or (isinstance(packet, PublishPacket) and not answer(peer, packet)):
            return


def send_all(url: str, store: Store, connack: ConnAckPacket, answer: Answer) -> None:
    """Have one sender, that lives through it all, empty the outbox into such a broker."""

    def waiting() -> int:
        length: int = store.command("XLEN", keys.outbox(BROKER))
        return length

    async def main() -> None:
        settings = Settings(ingest=IngestSettings(reconnect_initial_s=0.01, reconnect_max_s=0.02))
        async_store = AsyncStore.connect(url)
        deployments = Deployments(async_store)
        await deployments.refresh()
        sender = asyncio.create_task(Sender(BROKER, async_store, deployments, settings).run())
        served = asyncio.create_task(asyncio.to_thread(serve, broker, connack, answer, waiting))
        async with asyncio.timeout(60):
            await asyncio.wait([sender, served], return_when=asyncio.FIRST_COMPLETED)
            assert not sender.done()
            await served
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        await async_store.close()

    with ReplayingBroker() as broker:
        deploy_all(store, Broker(BROKER, HOST, broker.port))
        asyncio.run(main())


def test_a_message_that_ends_every_connection_is_given_up_however_many_wait_behind_it(
    store: Store, own_valkey: ValkeyServer
) -> None:
    """It is told from those that were under way with it, which are all published."""
    published: list[bytes] = []

    def answer(peer: Peer, packet: PublishPacket) -> bool:
        if packet.payload == b"poison":
            return False
        published.append(packet.payload)
        peer.send(PubAckPacket(packet.packet_id or 0))
        return True

    others = [b"%d" % number for number in range(200)]
    put(store, [*others[:3], b"poison", *others[3:]])
    send_all(own_valkey.url, store, ConnAckPacket(), answer)
    assert set(published) == set(others)
    (letter,) = dead_letters(store)
    assert (letter.payload, f"{GUILTY} connections" in letter.detail) == (b"poison", True)
    assert counters(store, "?") == {"said": 201, "sent": 200, "unsent": 1}


@pytest.mark.parametrize("receive_max", [10, 65_535])
def test_a_message_that_is_never_acknowledged_is_given_up_and_the_others_are_published_once(
    store: Store, own_valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch, receive_max: int
) -> None:
    """What the broker has acknowledged meanwhile leaves the outbox, also where it takes few messages at once."""
    monkeypatch.setattr(ingest.sender, "ACK_S", 0.5)
    published: list[bytes] = []

    def answer(peer: Peer, packet: PublishPacket) -> bool:
        if packet.payload != b"silent":
            published.append(packet.payload)
            peer.send(PubAckPacket(packet.packet_id or 0))
        return True

    others = [b"%d" % number for number in range(30)]
    put(store, [b"silent", *others])
    send_all(own_valkey.url, store, ConnAckPacket(receive_max=receive_max), answer)
    assert sorted(published) == sorted(others)
    assert [letter.payload for letter in dead_letters(store)] == [b"silent"]
    assert counters(store, "?") == {"said": 31, "sent": 30, "unsent": 1}


def test_a_broker_that_acknowledges_nothing_does_not_keep_the_sender_waiting_for_room(
    store: Store, own_valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes two at once, and acknowledges none until the third connection."""
    monkeypatch.setattr(ingest.sender, "ACK_S", 0.5)
    peers: list[Peer] = []

    def answer(peer: Peer, packet: PublishPacket) -> bool:
        if peer not in peers:
            peers.append(peer)
        if len(peers) > 2:
            peer.send(PubAckPacket(packet.packet_id or 0))
        return True

    put(store, [b"%d" % number for number in range(8)])
    send_all(own_valkey.url, store, ConnAckPacket(receive_max=2), answer)
    assert counters(store, "?") == {"said": 8, "sent": 8}
