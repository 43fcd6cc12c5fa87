"""What the writer makes of the requests that wait: which go together, and how each is answered."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from ingest.admission import BATCH_BYTES
from ingest.codec import Protocol
from ingest.session_events import Admit, BeginEpoch, RecordSubscriptions, StoreRequest
from ingest.writer import ROUND_MESSAGES, merged, next_calls
from shared.errors import CallGap
from shared.scripts import ingest as verbs
from shared.scripts.call import Call
from shared.scripts.ingest import Admission


def admit(*envelopes: bytes, size: int = 1) -> Admit:
    """A batch of QoS 1 messages."""
    return Admit(Admission(received=len(envelopes), envelopes=list(envelopes)), size)


def numbered(request: StoreRequest, call: int) -> Call[Any]:
    """A call whose number and content can be read back."""
    if isinstance(request, Admit):
        return verbs.admit("s", 1, call, "f/t", 0, 0, request.batch)
    if isinstance(request, BeginEpoch):
        return verbs.session_epoch("s", 1, call, 5)
    return verbs.session_subscribed("s", 1, call, request.json)


def plan(*requests: StoreRequest, last_call: int = 0, at_most: int = 8) -> tuple[list[tuple[str, Any]], list[int], int]:
    """Verb and number of each call, the call of each request that was taken, and how many were left."""
    waiting = deque(requests)
    calls, answers = next_calls(waiting, last_call, at_most, numbered)
    assert [request for request, _ in answers] == list(requests[: len(answers)])
    return [(call.script.name, call.args[1]) for call in calls], [index for _, index in answers], len(waiting)


def test_adjacent_batches_become_one_call() -> None:
    """Each is still answered for itself."""
    assert plan(admit(b"1"), admit(b"2", b"3"), admit(), last_call=4) == ([("admit", 5)], [0, 0, 0], 0)


def test_requests_of_other_kinds_keep_their_place() -> None:
    """The order of the session is the order of the calls."""
    calls, answers, left = plan(
        admit(b"1"), BeginEpoch(Protocol.V5), admit(b"2"), admit(b"3"), RecordSubscriptions("{}"), admit(b"4")
    )

    assert calls == [("admit", 1), ("session_epoch", 2), ("admit", 3), ("session_subscribed", 4), ("admit", 5)]
    assert (answers, left) == ([0, 1, 2, 2, 3, 4], 0)


def test_a_round_trip_is_kept_short() -> None:
    """In messages or in bytes; the rest waits, so that reading and storing overlap."""
    half = admit(*[b"x"] * (ROUND_MESSAGES // 2))
    assert plan(half, half, admit(b"x")) == ([("admit", 1)], [0, 0], 1)
    large = admit(b"x", size=BATCH_BYTES)
    assert plan(large, admit(b"x")) == ([("admit", 1)], [0], 1)
    assert plan(large, RecordSubscriptions("{}"), large) == ([("admit", 1), ("session_subscribed", 2)], [0, 1], 1)


def test_a_batch_that_is_too_large_goes_alone() -> None:
    """One message may be larger than a batch should be."""
    assert plan(admit(b"x", size=10 * BATCH_BYTES), admit(b"x")) == ([("admit", 1)], [0], 1)


def test_only_so_many_calls_go_at_once() -> None:
    """The rest waits for the next round trip."""
    record = RecordSubscriptions("{}")
    assert plan(record, record, record, at_most=2) == (
        [("session_subscribed", 1), ("session_subscribed", 2)], [0, 1], 1,
    )  # fmt: skip


def test_merging_adds_up_and_keeps_the_order() -> None:
    """What an identifier comes to last is what counts."""
    first = Admission(1, 2, 3, 4, 5, 6, [(7, b"a")], [b"l1"], [b"e1"])
    second = Admission(10, 20, 30, 40, 50, 60, [(7, b""), (8, b"b")], [b"l2"], [b"e2", b"e3"])

    whole = merged([first, second])

    assert (whole.received, whole.duplicate, whole.invalid, whole.oversized, whole.retained_skipped, whole.own) == (
        11, 22, 33, 44, 55, 66,
    )  # fmt: skip
    assert whole.packet_ids == [(7, b"a"), (7, b""), (8, b"b")]
    assert (whole.dead_letters, whole.envelopes) == ([b"l1", b"l2"], [b"e1", b"e2", b"e3"])


def test_a_missing_call_is_told_from_a_missing_redis() -> None:
    """One means that Redis has lost what it had, the other that it may come back."""
    call = verbs.session_epoch("s", 1, 2, 5)
    with pytest.raises(CallGap):
        call.decode(-2)
