"""`headrace dispatch` with filters and an idempotency key: what is counted, and that it adds up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shared import keys
from shared.definitions import Filter, Topic, encode_definition
from shared.runs import decode_job
from shared.scripts.dispatch import Placement, place
from shared.scripts.operate import deploy
from shared.status import read_status
from shared.store import Store
from tests.support.command_line import CommandLine
from tests.support.eventually import eventually
from tests.support.factories import (
    NOW_ISO,
    NOW_MS,
    ON_RECORD,
    TRIGGER,
    HeldSession,
    counters,
    make_envelope,
    make_trigger,
    read_entries,
)
from tests.support.processes import HeadraceProcess

Start = Callable[..., HeadraceProcess]


class Messages:
    """A trigger for demo/# and what is sent to it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.store = Store.connect(url)
        self.held = HeldSession(self.store)

    def send(self, *payloads: bytes, qos: int = 1, **trigger: Any) -> None:
        """Deploy the trigger with these fields, and let it receive these payloads."""
        version, blob = encode_definition(make_trigger(Topic("demo/#", 2), **trigger))
        number = int(self.store.command("HGET", keys.DEPLOYMENT, "number") or 0)
        self.store.run(deploy(number, ON_RECORD, {version: blob}, {f"trigger:{TRIGGER}": version}, []))
        self.held.admit(*[make_envelope(trigger_version=version, payload=payload, qos=qos) for payload in payloads])

    def placed(self) -> dict[str, int]:
        """The cells, when the inbox is empty; the identities hold."""
        eventually(lambda: self.store.command("XLEN", keys.INBOX) == 0)
        assert all(identity.holds for identity in read_status(self.store, self.url).identities)
        return {cell: n for cell, n in counters(self.store).items() if cell not in {"received", "admitted"}}

    def keys_of_runs(self) -> list[str]:
        """The idempotency keys in the queue, in order."""
        ids = [run.decode() for run in self.store.command("LRANGE", keys.RQ_QUEUE, 0, -1)]
        return [decode_job(self.store.command("HGET", keys.job(run), "data")).idempotency_key for run in ids]


@pytest.fixture
def messages(redis_url: str) -> Iterator[Messages]:
    """On the shared server, emptied."""
    made = Messages(redis_url)
    yield made
    made.store.close()


def test_a_filtered_entry_is_settled_in_one_step(messages: Messages) -> None:
    """Counted as a run that never was, once, however often it is settled; nothing else of it is left."""
    messages.held.admit(make_envelope())
    (entry,) = read_entries(messages.store)
    verdict = place([Placement(entry, TRIGGER, "filtered")], NOW_ISO, NOW_MS * 1000, 100)
    replies = [reply for _ in range(2) if (reply := messages.store.run(verdict))]

    assert [(reply.settled, reply.gone, reply.runs) for reply in replies] == [(1, 0, 0), (0, 1, 0)]
    assert messages.placed() == {"placed": 1, "runs": 1, "filtered": 1}
    assert messages.store.command("EXISTS", keys.RQ_QUEUE, keys.RUNS, keys.DEAD) == 0


def test_filtered_messages_are_counted_and_shown(
    messages: Messages,
    headrace: Start,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is no JSON is among them; `headrace status` has the column."""
    headrace("dispatch", REDIS_URL=redis_url).wait_ready()
    messages.send(b'{"kind": "alarm", "n": 1}', b'{"kind": "info"}', b"no JSON", filters=[Filter("kind", "alarm")])

    assert messages.placed() == {"placed": 3, "runs": 3, "filtered": 2, "queued": 1}
    assert "FILTERED" in CommandLine(redis_url, monkeypatch, capsys).text("status")


@pytest.mark.parametrize("qos", [1, 2])
def test_messages_with_one_key_make_one_run(messages: Messages, headrace: Start, redis_url: str, qos: int) -> None:
    """By a path, and by an expression for the engine; the key is the run's."""
    headrace("dispatch", REDIS_URL=redis_url).wait_ready()
    payloads = [b'{"id": 1}', b'{"id": 2}', b'{"id": 1, "again": true}']
    messages.send(*payloads, qos=qos, idempotency_key="payload.id")
    assert messages.placed() == {"placed": 2, "runs": 2, "queued": 2, "repeated": 1}

    messages.send(*payloads, qos=qos, idempotency_key="topic.split('/').map(x => x[0]).join('') + payload.id")
    assert messages.placed() == {"placed": 4, "runs": 4, "queued": 4, "repeated": 2}
    assert messages.keys_of_runs() == ["1", "2", "dh1", "dh2"]


def test_a_filter_is_asked_before_a_key_is_remembered(messages: Messages, headrace: Start, redis_url: str) -> None:
    """A message that was refused does not stand in the way of one with the same key."""
    headrace("dispatch", REDIS_URL=redis_url).wait_ready()
    payloads = [b'{"id": 1, "final": false}', b'{"id": 1, "final": true}', b'{"id": 1, "final": true}']
    messages.send(*payloads, filters=[Filter("final", value=True)], idempotency_key="payload.id")

    assert messages.placed() == {"placed": 2, "runs": 2, "filtered": 1, "queued": 1, "repeated": 1}


@pytest.mark.parametrize(
    "expression", ["while (true) {} return 1", "String(new Array(payload.n))", "payload.", "payload.a.b"]
)
def test_an_expression_that_fails_loses_no_message(
    messages: Messages, headrace: Start, redis_url: str, expression: str
) -> None:
    """Each message runs; the log says why it has no key, once."""
    dispatcher = headrace("dispatch", REDIS_URL=redis_url).wait_ready()
    messages.send(b'{"n": 4000000000}', b'{"n": 4000000000}', idempotency_key=expression)

    assert messages.placed() == {"placed": 2, "runs": 2, "queued": 2}
    assert dispatcher.output.count("trigger.expression_failed") == 1
    assert dispatcher.sigterm() == 0
