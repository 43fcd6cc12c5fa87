"""The ordered writer: what a session asks of the store, carried out in order and exactly once.

While a round trip is under way, what comes gathers for the next; it waits for the answer unless it is large, so that
Redis has work while the next messages are read and decoded, and few messages cost few round trips. Adjacent batches
become one call, several calls one round trip. Every call has a number; round trips that brought no answer are repeated
with the same calls until they are answered, so that nothing is carried out twice or left out.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice

from ingest.admission import BATCH_BYTES
from ingest.receipts import tell
from ingest.session_events import Admit, BeginEpoch, RecordSubscriptions, StoreRequest
from ingest.store_watch import StoreWatch
from shared import keys
from shared.backoff import full_jitter
from shared.config import Settings
from shared.errors import CallGap, LeaseLost, StoreUnavailable
from shared.metrics.catalogue import ADMIT
from shared.scripts import ingest as verbs
from shared.scripts.call import Arg, Call
from shared.scripts.ingest import Admission
from shared.store import AsyncStore

RETRY_FIRST_S = 0.05
RETRY_MAX_S = 1.0
ROUND_MESSAGES = 512
"""Beyond so many messages, or the bytes of one batch, a round trip takes no further batch."""
LARGE_ROUND = ROUND_MESSAGES // 2
"""So many messages do not wait for the answer to those before them."""

Requests = deque[StoreRequest]
Stored = Callable[[list[tuple[StoreRequest, int]]], None]


class StoreWriter:
    """The writer of one session for one term of its lease. `trigger` is the path under which messages are counted,
    `broker` the version of the broker's record.

    `stored` is called after each round trip that was answered, with the requests in it and their values, in order.
    """

    def __init__(
        self, store: AsyncStore, watch: StoreWatch, session: str, token: int, stored: Stored, settings: Settings
    ) -> None:
        self.trigger = ""
        self.broker = ""
        self.inbox = 0
        """Length of the inbox, as it was last heard of."""
        self._dead_max = settings.retention.dead_max
        self._calls_at_once = settings.ingest.max_batches_in_flight
        self._store = store
        self._watch = watch
        self._session = session
        self._token = token
        self._stored = stored
        self._requests: Requests = deque()
        self._taken_at: deque[float] = deque()
        self._waiting_messages = 0
        self._rounds: deque[_Round] = deque()
        self._repeating = False
        self._report: dict[str, Arg] = {}
        self._asks_inbox = False
        self._call = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, requests: Iterable[StoreRequest]) -> None:
        """Take requests, behind those before them. Each is answered through `stored`."""
        now = time.perf_counter()
        for request in requests:
            self._requests.append(request)
            self._taken_at.append(now)
            self._waiting_messages += _messages(request)
        self._rouse()
        if self._rounds:
            self._begin_rounds()

    def report(self, fields: Mapping[str, Arg]) -> None:
        """Store what the session says of itself; of several reports that wait, the newest values count."""
        self._report |= fields
        self._rouse()

    def ask_inbox(self) -> None:
        """Look how long the inbox is, where no answer would tell it."""
        self._asks_inbox = True
        self._rouse()

    async def idle(self) -> None:
        """Wait until everything that was taken has been answered."""
        await self._idle.wait()

    async def run(self) -> None:
        """Carry out requests until cancelled. Raises LeaseLost, ScriptError."""
        try:
            while True:
                await self._wake.wait()
                while self._requests or self._report or self._rounds or self._asks_inbox:
                    self._begin_rounds()
                    if self._rounds:
                        await self._finish_round()
                    if self._asks_inbox:
                        self._asks_inbox = False
                        await self._look_at_inbox()
                self._wake.clear()
                self._idle.set()
        finally:
            while self._rounds:
                self._rounds.popleft().replies.cancel()

    def _rouse(self) -> None:
        self._idle.clear()
        self._wake.set()

    def _begin_rounds(self) -> None:
        while room := self._room_for_calls():
            calls, answers = next_calls(self._requests, self._call, room, self._numbered)
            self._call += len(calls)
            self._waiting_messages -= sum(_messages(request) for request, _ in answers)
            if self._report:
                report, self._report = self._report, {}
                calls.append(verbs.session_report(self._session, self._token, report))
            replies = asyncio.create_task(self._store.run_many(calls))
            replies.add_done_callback(_heard)
            self._rounds.append(_Round(calls, answers, replies))

    def _room_for_calls(self) -> int:
        """How many calls a round trip may have that begins now; 0: none may begin."""
        if not self._rounds:
            return self._calls_at_once if self._requests or self._report else 0
        if self._waiting_messages < LARGE_ROUND or self._repeating:
            return 0
        return max(0, self._calls_at_once - sum(len(each.calls) for each in self._rounds))

    async def _finish_round(self) -> None:
        """Wait for the oldest round trip; if it brings no answer, repeat it and all behind it."""
        oldest = self._rounds[0]
        try:
            replies = await oldest.replies
        except StoreUnavailable as error:
            await self._repeat(error)
        else:
            self._watch.answered()
            self._settle(self._rounds.popleft(), replies)

    async def _repeat(self, error: StoreUnavailable) -> None:
        self._repeating = True
        await asyncio.wait([each.replies for each in self._rounds])
        rounds = list(self._rounds)
        replies = iter(await self._persist([call for each in rounds for call in each.calls], error))
        self._rounds.clear()
        self._repeating = False
        for each in rounds:
            self._settle(each, list(islice(replies, len(each.calls))))

    def _settle(self, done: _Round, replies: list[int]) -> None:
        for call, reply in zip(done.calls, replies, strict=True):
            if call.script.name == "admit":
                self.inbox = reply
        self._begin_rounds()
        if done.answers:
            self._measure(done.answers)
            self._stored([(request, replies[index]) for request, index in done.answers])

    def _measure(self, answers: Sequence[tuple[StoreRequest, int]]) -> None:
        """How long each batch took; all its messages as one. Requests are answered in the order of their coming."""
        now, durations = time.perf_counter(), ADMIT.of(self.trigger)
        for request, _ in answers:
            taken_at = self._taken_at.popleft()
            if count := _messages(request):
                durations.observe(now - taken_at, count)
            if isinstance(request, Admit) and request.receipts:
                tell(request.receipts, self.trigger, self._session, time.time_ns())

    async def _persist(self, calls: list[Call[int]], error: StoreUnavailable) -> list[int]:
        """Repeat, after this error, until answered.

        That a call before the first of these is missing means that Redis has lost what it had. To know, it takes two
        tries: at the first one, a verb that Redis did not have loaded may have been overtaken by the call behind it.
        """
        attempt = gaps = 0
        while True:
            gaps = gaps + 1 if isinstance(error, CallGap) else 0
            if gaps > 1:
                self._watch.went_back(error)
                raise LeaseLost("Redis has lost calls that it had answered", session=self._session) from error
            if not gaps:
                attempt += 1
                self._watch.failed(error)
                await asyncio.sleep(full_jitter(attempt, RETRY_FIRST_S, RETRY_MAX_S, random.random))
            try:
                replies: list[int] = await self._store.run_many(calls)
            except StoreUnavailable as again:
                error = again
            else:
                self._watch.answered()
                return replies

    async def _look_at_inbox(self) -> None:
        try:
            self.inbox = int(await self._store.command("XLEN", keys.INBOX))
        except StoreUnavailable as error:
            self._watch.failed(error)
        else:
            self._watch.answered()
            self._stored([])

    def _numbered(self, request: StoreRequest, call: int) -> Call[int]:
        match request:
            case BeginEpoch():
                protocol = int(request.protocol)
                return verbs.session_epoch(self._session, self._token, call, protocol, self.broker, request.left)
            case RecordSubscriptions():
                return verbs.session_subscribed(self._session, self._token, call, request.json)
            case Admit():
                now_ms = time.time_ns() // 1_000_000
                return verbs.admit(
                    self._session, self._token, call, self.trigger, now_ms, self._dead_max, request.batch
                )


def next_calls(
    requests: Requests, last_call: int, at_most: int, numbered: Callable[[StoreRequest, int], Call[int]]
) -> tuple[list[Call[int]], list[tuple[StoreRequest, int]]]:
    """Take requests from the queue for one round trip: the calls, and each request with the index of its call.

    Adjacent batches become one. Round trips are kept short, so that reading and decoding the next messages overlaps
    with storing these, also where the broker allows only a thousand unacknowledged ones.
    """
    calls: list[Call[int]] = []
    answers: list[tuple[StoreRequest, int]] = []
    room = _Room()
    while requests and len(calls) < at_most and (not calls or room.has(requests[0])):
        group = [requests.popleft()]
        room.take(group[0])
        while isinstance(group[0], Admit) and requests and isinstance(requests[0], Admit) and room.has(requests[0]):
            group.append(requests.popleft())
            room.take(group[-1])
        answers += [(each, len(calls)) for each in group]
        batches = [each.batch for each in group if isinstance(each, Admit)]
        request = Admit(merged(batches), 0) if len(batches) > 1 else group[0]
        calls.append(numbered(request, last_call + len(calls) + 1))
    return calls, answers


class _Round:
    """A round trip that is under way."""

    __slots__ = ("answers", "calls", "replies")

    def __init__(
        self, calls: list[Call[int]], answers: list[tuple[StoreRequest, int]], replies: asyncio.Task[list[int]]
    ) -> None:
        self.calls = calls
        self.answers = answers
        self.replies = replies


def _heard(replies: asyncio.Task[list[int]]) -> None:
    """What failed behind one that failed is repeated without a look at its error."""
    if not replies.cancelled():
        replies.exception()


class _Room:
    """What a round trip may still hold."""

    def __init__(self) -> None:
        self._messages = ROUND_MESSAGES
        self._bytes = BATCH_BYTES

    def has(self, request: StoreRequest) -> bool:
        if not isinstance(request, Admit):
            return True
        return _messages(request) <= self._messages and request.size <= self._bytes

    def take(self, request: StoreRequest) -> None:
        if isinstance(request, Admit):
            self._messages -= _messages(request)
            self._bytes -= request.size


def _messages(request: StoreRequest) -> int:
    return len(request.batch.envelopes) if isinstance(request, Admit) else 0


def merged(batches: Sequence[Admission]) -> Admission:
    """One batch that comes to the same as these, in order."""
    whole = Admission(packet_ids=[], dead_letters=[], envelopes=[])
    for batch in batches:
        whole.received += batch.received
        whole.duplicate += batch.duplicate
        whole.invalid += batch.invalid
        whole.oversized += batch.oversized
        whole.retained_skipped += batch.retained_skipped
        whole.own += batch.own
        whole.packet_ids += batch.packet_ids
        whole.dead_letters += batch.dead_letters
        whole.envelopes += batch.envelopes
    return whole
