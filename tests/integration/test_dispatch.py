"""The dispatch process against a real server: every admitted message is placed once, whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import msgspec
import pytest

from shared import keys
from shared.definitions import Topic, encode_definition
from shared.envelope import ENVELOPE_VERSION, Envelope
from shared.scripts.operate import deploy
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import ON_RECORD, TRIGGER, HeldSession, counters, make_envelope, make_trigger
from tests.support.processes import HeadraceProcess
from tests.support.proxy import CuttingProxy
from tests.support.valkey import ValkeyServer

Start = Callable[..., HeadraceProcess]
QUICK = {"HEADRACE_DISPATCH__CLAIM_IDLE_MS": "500", "HEADRACE_DISPATCH__BLOCK_MS": "100"}


class Inbox:
    """A deployed trigger for demo/# and its messages."""

    def __init__(self, url: str) -> None:
        self.store = Store.connect(url)
        version, blob = encode_definition(make_trigger(Topic("demo/#", 1)))
        self.store.run(deploy(0, ON_RECORD, {version: blob}, {f"trigger:{TRIGGER}": version}, []))
        self.version = version
        self.held = HeldSession(self.store)

    def message(self, **changes: object) -> Envelope:
        """A message for the deployed trigger."""
        return make_envelope(trigger_version=self.version, **changes)

    def admit(self, count: int, **changes: object) -> None:
        """Put messages into the inbox."""
        self.held.admit(*[self.message(**changes) for _ in range(count)])

    def placed(self, count: int) -> bool:
        """Whether so many were placed, none is left, and each made one run."""
        cells = counters(self.store)
        queued = self.store.command("LRANGE", keys.RQ_QUEUE, 0, -1)
        assert len(queued) == len(set(queued)) == cells.get("runs", 0) <= count
        return cells.get("runs", 0) == count and self.store.command("XLEN", keys.INBOX) == 0

    def has_moved(self, before: int) -> bool:
        """Whether more runs were made than that, or all of them."""
        return counters(self.store).get("runs", 0) > before or self.placed(20_000)


@pytest.fixture
def inbox(redis_url: str) -> Iterator[Inbox]:
    """On the shared server, emptied."""
    made = Inbox(redis_url)
    yield made
    made.store.close()


def test_what_is_admitted_is_placed_and_sigterm_ends_with_0(inbox: Inbox, redis_url: str, headrace: Start) -> None:
    """Entries from before the start and from after it."""
    inbox.admit(700)
    dispatcher = headrace("dispatch", REDIS_URL=redis_url, **QUICK).wait_ready()
    inbox.admit(1)

    eventually(lambda: inbox.placed(701))
    assert dispatcher.sigterm() == 0


def test_entries_of_a_killed_dispatcher_are_taken_over(inbox: Inbox, redis_url: str, headrace: Start) -> None:
    """They lie pending on its consumer until they have been idle for a while."""
    inbox.admit(10)
    inbox.store.command("XREADGROUP", "GROUP", keys.GROUP, "killed", "COUNT", 10, "STREAMS", keys.INBOX, ">")
    headrace("dispatch", REDIS_URL=redis_url, **QUICK).wait_ready()

    eventually(lambda: inbox.placed(10))


def test_a_stalled_dispatcher_places_nothing_again(inbox: Inbox, redis_url: str, headrace: Start) -> None:
    """Stopped at some point of its work under load, it wakes up when another has placed everything."""
    stalled = headrace("dispatch", REDIS_URL=redis_url, **QUICK).wait_ready()
    for before in range(0, 5 * 2001, 2001):
        inbox.admit(2000)
        eventually(lambda seen=before: counters(inbox.store).get("runs", 0) > seen)  # type: ignore[misc]
        stalled.sigstop()
        other = headrace("dispatch", REDIS_URL=redis_url, **QUICK).wait_ready()
        eventually(lambda wanted=before + 2000: inbox.placed(wanted))  # type: ignore[misc]
        stalled.sigcont()
        other.sigterm()
        inbox.admit(1)
        eventually(lambda wanted=before + 2001: inbox.placed(wanted))  # type: ignore[misc]


def test_dispatchers_that_are_killed_again_and_again_place_each_message_once(
    inbox: Inbox, redis_url: str, headrace: Start
) -> None:
    """Kill -9 in the middle of the work."""
    inbox.admit(20_000)
    for _ in range(8):
        dispatcher = headrace("dispatch", REDIS_URL=redis_url, **QUICK)
        eventually(partial(inbox.has_moved, counters(inbox.store).get("runs", 0)))
        dispatcher.kill9()
    headrace("dispatch", REDIS_URL=redis_url, **QUICK)

    eventually(lambda: inbox.placed(20_000), timeout_s=30)


@pytest.mark.parametrize("verb", [b"EVALSHA", b"XREADGROUP"])
def test_lost_replies_place_each_message_once(inbox: Inbox, valkey: ValkeyServer, headrace: Start, verb: bytes) -> None:
    """The request was carried out, and the dispatcher was not told."""
    with CuttingProxy(valkey.port) as proxy:
        headrace("dispatch", REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0", **QUICK).wait_ready()
        for batch in range(1, 11):
            proxy.cut_replies(1, after=verb)
            inbox.admit(50)
            eventually(partial(inbox.placed, 50 * batch))
            eventually(partial(proxy.has_cut, batch))  # a reply is lost only when it comes


def test_redis_that_goes_away_and_comes_back_is_no_reason_to_stop(own_valkey: ValkeyServer, headrace: Start) -> None:
    """Killed and restarted from its append-only file."""
    inbox = Inbox(own_valkey.url)
    dispatcher = headrace("dispatch", REDIS_URL=own_valkey.url, **QUICK).wait_ready()
    inbox.admit(100)
    eventually(lambda: inbox.placed(100))
    own_valkey.kill9()
    eventually(lambda: "Redis" in dispatcher.output)
    own_valkey.start()
    inbox.held.store = inbox.store = Store.connect(own_valkey.url)  # this test's own connection went too
    inbox.admit(100)

    eventually(lambda: inbox.placed(200))
    assert dispatcher.running


def test_poison_is_buried_and_stops_nobody(inbox: Inbox, redis_url: str, headrace: Start) -> None:
    """Bytes that are no envelope, between messages that are."""
    inbox.held.admit(inbox.message(), b"\x93garbage", inbox.message())
    headrace("dispatch", REDIS_URL=redis_url, **QUICK)

    eventually(lambda: inbox.placed(2))
    assert counters(inbox.store)["poisoned"] == 1
    assert inbox.store.command("ZCARD", keys.DEAD) == 1


def test_an_envelope_of_a_newer_release_ends_this_one_and_stays(inbox: Inbox, redis_url: str, headrace: Start) -> None:
    """With what came before it placed, and an error that says what to do."""
    newer = msgspec.msgpack.encode([ENVELOPE_VERSION + 1, *msgspec.structs.astuple(inbox.message())[1:], "new field"])
    inbox.held.admit(inbox.message(), newer)
    dispatcher = headrace("dispatch", REDIS_URL=redis_url, **QUICK)

    assert dispatcher.wait() == 1
    assert "upgrade" in dispatcher.output
    assert counters(inbox.store)["runs"] == 1
    assert inbox.store.command("XPENDING", keys.INBOX, keys.GROUP)["pending"] == 1
