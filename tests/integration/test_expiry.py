"""Messages that are of use for a while only: in the inbox, in the queue, while their trigger is suspended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shared import keys
from shared.definitions import Runnable, Topic, encode_definition
from shared.doctor import check_registries
from shared.envelope import Properties
from shared.history import read_runs
from shared.retry_policy import ConstantRetry, Retry
from shared.scripts.operate import deploy
from shared.status import read_status
from shared.store import Store
from shared.suspended import resume
from tests.support.eventually import eventually
from tests.support.factories import ON_RECORD, TRIGGER, HeldSession, counters, make_envelope, make_trigger
from tests.support.processes import HeadraceProcess
from tests.support.workers import FAST, SCRIPT
from tests.support.workers import deploy as deploy_script

Start = Callable[..., HeadraceProcess]
FRESH = Properties(message_expiry_interval=3600)
SHORT = Properties(message_expiry_interval=0)
SOON_S = 4
SOON = Properties(message_expiry_interval=SOON_S - 1)


class Messages:
    """A trigger for demo/# whose script returns what it gets."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.store = Store.connect(url)
        self.held = HeldSession(self.store)
        self.script = deploy_script(self.store, "def main(payload: bytes): return payload.decode()")

    def send(self, *properties: Properties | None, qos: int = 1, **trigger: Any) -> None:
        """Deploy the trigger with these fields, and let it receive a message with each of these properties."""
        known = {SCRIPT: Runnable(SCRIPT, self.script, 60)}
        made = make_trigger(Topic("demo/#", 2), runnable=SCRIPT, runnables=known, **trigger)
        version, blob = encode_definition(made)
        number = int(self.store.command("HGET", keys.DEPLOYMENT, "number") or 0)
        self.store.run(deploy(number, ON_RECORD, {version: blob}, {f"trigger:{TRIGGER}": version}, []))
        self.held.admit(*[make_envelope(trigger_version=version, qos=qos, properties=each) for each in properties])

    def wait_s(self, seconds: float) -> None:
        """Until so much time has passed, by Redis' clock."""
        until = self.now() + seconds
        eventually(lambda: self.now() > until)

    def now(self) -> float:
        """Redis' clock."""
        seconds, micros = self.store.command("TIME")
        return int(seconds) + int(micros) / 1_000_000

    def cells(self, *names: str) -> tuple[int, ...]:
        """These cells; the identities hold, and RQ's registries agree."""
        assert all(identity.holds for identity in read_status(self.store, self.url).identities)
        assert check_registries(self.store).level == "ok"
        return tuple(counters(self.store).get(name, 0) for name in names)


@pytest.fixture
def messages(redis_url: str) -> Iterator[Messages]:
    """On the shared server, emptied."""
    made = Messages(redis_url)
    yield made
    made.store.close()


def test_what_expires_in_the_inbox_makes_no_run_and_is_counted(messages: Messages, headrace: Start) -> None:
    """While nobody dispatched. What its publisher gives longer, or has said nothing about, runs."""
    messages.send(SHORT, FRESH, None)
    messages.wait_s(1)
    headrace("dispatch", REDIS_URL=messages.url).wait_ready()

    eventually(lambda: messages.cells("inbox", "placed", "runs", "expired", "queued") == (0, 3, 3, 1, 2))
    assert messages.store.command("ZCARD", keys.RUNS) == 2


def test_a_trigger_can_run_what_has_expired_and_bound_the_age_itself(messages: Messages, headrace: Start) -> None:
    """The interval is the publisher's, the age is counted from when the message was stored."""
    messages.send(SHORT, expired="run")
    messages.send(None, max_age_s=1)
    messages.wait_s(1)
    headrace("dispatch", REDIS_URL=messages.url).wait_ready()

    eventually(lambda: messages.cells("inbox", "expired", "queued") == (0, 1, 1))


def test_what_expires_in_the_queue_never_begins(messages: Messages, headrace: Start) -> None:
    """While no worker lived: it is in the history as expired and not among the dead letters."""
    headrace("dispatch", REDIS_URL=messages.url).wait_ready()
    messages.send(SOON, FRESH, qos=2)
    eventually(lambda: messages.store.command("LLEN", keys.RQ_QUEUE) == 2)
    messages.wait_s(SOON_S)
    headrace("worker", REDIS_URL=messages.url, **FAST).wait_ready()

    eventually(lambda: messages.cells("queued", "expired", "succeeded") == (0, 1, 1))
    found = read_runs(messages.store, messages.store.command("ZRANGE", keys.RUNS, 0, -1))
    assert [run.state for run in found] == ["expired", "succeeded"]
    assert messages.store.command("ZCARD", keys.DEAD) == 0


def test_a_run_that_was_suspended_does_not_expire_once_it_is_released(messages: Messages, headrace: Start) -> None:
    """Whoever releases it has seen how old it is."""
    headrace("dispatch", REDIS_URL=messages.url).wait_ready()
    messages.send(SOON, suspended=True)
    eventually(lambda: messages.cells("suspended") == (1,))
    messages.wait_s(SOON_S)
    assert resume(messages.store, TRIGGER, None, None).done == 1
    headrace("worker", REDIS_URL=messages.url, **FAST).wait_ready()

    eventually(lambda: messages.cells("suspended", "expired", "succeeded") == (0, 0, 1))


def test_a_run_that_has_begun_does_not_expire(messages: Messages, headrace: Start) -> None:
    """Its retries are the trigger's choice."""
    failing = "import headrace\ndef main():\n  if headrace.run.attempt == 1: raise ValueError('once')"
    messages.script = deploy_script(messages.store, failing)
    headrace("worker", REDIS_URL=messages.url, **FAST).wait_ready()
    headrace("dispatch", REDIS_URL=messages.url).wait_ready()
    messages.send(None, max_age_s=5, retry=Retry(ConstantRetry(1, 6)))

    eventually(lambda: messages.cells("scheduled", "expired", "succeeded") == (0, 0, 1), timeout_s=20)
