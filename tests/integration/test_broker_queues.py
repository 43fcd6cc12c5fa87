"""A real Mosquitto tells of its queues, and Headrace warns before and when it drops; nobody's session is disturbed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from ingest.deployments import Deployments
from ingest.queue_watch import Pace, QueueWatch
from shared import keys
from shared.broker_queues import QueueReport, decode_report
from shared.config import Settings
from shared.definitions import Broker, Topic, Variable
from shared.doctor import Check, examine_running
from shared.status import Status, read_status
from shared.status_page import status_page
from shared.store import AsyncStore, Store
from tests.support.eventually import eventually
from tests.support.factories import make_trigger
from tests.support.ingest import (
    BROKER,
    FAST,
    deploy_all,
    deploy_trigger,
    inbox_length,
    is_subscribed,
    send,
    session_field,
)
from tests.support.mosquitto import Mosquitto, only_with_password
from tests.support.ports import HOST
from tests.support.processes import HeadraceProcess

Start = Callable[..., HeadraceProcess]
LIMIT = 40
SOON = {"sys_interval": "1"}
PACE = Pace(look_s=0.05, together_s=0.05, silent_s=0.5)


class World:
    """What status and doctor say."""

    def __init__(self, store: Store, url: str) -> None:
        self.store = store
        self.url = url

    def status(self) -> Status:
        """Now."""
        return read_status(self.store, self.url)

    def warning(self, word: str) -> Check | None:
        """The doctor's about the queues that speaks of this."""
        found = examine_running(self.store, self.status())
        return next((c for c in found if c.name == f"queues of {BROKER}" and c.fix and word in c.found), None)


def test_a_broker_is_warned_of_before_its_queue_is_full_and_when_it_drops(
    store: Store, redis_url: str, headrace: Start, tmp_path: Path
) -> None:
    """The queue is that of a trigger which was disabled: its session waits at the broker."""
    options = SOON | {"max_queued_messages": str(LIMIT), "max_inflight_messages": "10"}
    world = World(store, redis_url)
    with Mosquitto(tmp_path / "full", options) as broker:
        broker.start()
        deploy_trigger(store, broker.port, Topic("here/#", 1), broker={"max_queued_messages": LIMIT})
        away = make_trigger(Topic("away/#", 1), path="f/demo/away", session="awayaway", client_id="away")
        deploy_all(store, away)
        ingest = headrace("ingest", REDIS_URL=redis_url, **FAST)
        eventually(lambda: is_subscribed(store) and is_subscribed(store, "awayaway"))
        deploy_all(store, make_trigger(Topic("away/#", 1), path="f/demo/away", session="awayaway", enabled=False))
        eventually(lambda: world.status().brokers[0].state == "told", 30)
        connection = session_field(store, "connection")
        assert (world.warning("keeps"), world.warning("dropped")) == (None, None)

        send(broker.port, *[(f"away/{i}", b"", 1) for i in range(LIMIT * 3 // 4)])
        near = eventually(lambda: world.warning("keeps"), 30)
        assert "as its resource says" in near.found
        assert world.warning("dropped") is None
        send(broker.port, *[(f"away/{i}", b"", 1) for i in range(LIMIT)])
        dropped = eventually(lambda: world.warning("dropped"), 30)
        assert "max_queued_messages" in dropped.fix

        page = status_page(world.status(), 100)
        assert dropped.found in page
        assert "broker.dropped" in ingest.output
        send(broker.port, *[(f"here/{i}", b"", 1) for i in range(5)])
        eventually(lambda: inbox_length(store) == 5)
        assert (session_field(store, "epoch"), session_field(store, "connection")) == ("1", connection)
        assert session_field(store, "admitted") == "5"


def reported(store: Store) -> QueueReport | None:
    """What is on record of the broker."""
    return decode_report(store.command("HGET", keys.BROKER_REPORTS, BROKER))


async def listen_until(url: str, store: Store, state: str) -> QueueReport:
    """Let one listener work until it has told this state."""
    async_store = AsyncStore.connect(url)
    try:
        deployments = Deployments(async_store)
        await deployments.refresh()
        task = asyncio.create_task(QueueWatch(BROKER, async_store, deployments, Settings(), PACE).run())
        try:
            async with asyncio.timeout(20):
                while (report := reported(store)) is None or report.state != state:
                    assert not task.done(), task.exception()
                    await asyncio.sleep(0.02)
                return report
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    finally:
        await async_store.close()


def test_a_broker_that_lets_nobody_read_what_it_tells_counts_as_silent(
    store: Store, redis_url: str, tmp_path: Path
) -> None:
    """Mosquitto grants the subscription and sends nothing."""
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite plant/#\n")
    with Mosquitto(tmp_path / "closed", SOON | {"acl_file": str(acl)}) as broker:
        broker.start()
        deploy_all(store, Broker(BROKER, HOST, broker.port))
        assert asyncio.run(listen_until(redis_url, store, "silent")).dropped is None


def test_a_listener_that_is_not_let_in_says_so_and_goes_on_where_the_last_one_was(
    store: Store, redis_url: str, tmp_path: Path
) -> None:
    """What was told before is kept."""
    with Mosquitto(tmp_path / "open", SOON) as broker:
        broker.start()
        deploy_all(store, Broker(BROKER, HOST, broker.port))
        assert asyncio.run(listen_until(redis_url, store, "told")).dropped == 0
    with Mosquitto(tmp_path / "locked", only_with_password(tmp_path / "locked", "me", "right")) as broker:
        broker.start()
        deploy_all(store, Broker(BROKER, HOST, broker.port, "me", "wrong"))
        refused = asyncio.run(listen_until(redis_url, store, "refused"))
        assert refused.dropped == 0
        assert refused.reason


def test_a_broker_that_is_out_of_reach_is_away(store: Store, redis_url: str, tmp_path: Path) -> None:
    """It is tried again as a session is; what a variable says of it is not told."""
    with Mosquitto(tmp_path / "gone", SOON) as broker:
        host = Variable("f/demo/host", HOST)
        deploy_all(store, Broker(BROKER, f"$var:{host.path}", broker.port), host)
        reason = asyncio.run(listen_until(redis_url, store, "away")).reason
        assert f"$var:{host.path}" in reason
        assert HOST not in reason
