"""What a flow that runs has recorded, and what is to be recorded next. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.flow_records import (
    AGAIN,
    BEGUN,
    FAILED,
    LEFT,
    LIMIT,
    STARTED,
    Begun,
    Ended,
    RawEnded,
    encode,
    is_mark,
    read_begun,
    read_ended,
)
from shared.scripts.flows import Message, News
from worker.flows.effects import Answer, Done, Failed

RECORDS_MAX = 50_000
BYTES_MAX = 256 * 1024 * 1024
"""What a flow may leave in Redis: a loop without end ends here."""
_MS = 1000


class Records:
    """The records of one run of a flow. What is noted is news until it is known to be in Redis (`kept`). `taken` are
    those of another run that it goes on with, if none are stored yet: news too. `opened` opens what was sealed.
    """

    def __init__(
        self,
        stored: Mapping[str, bytes],
        now_ms: Callable[[], int],
        taken: Mapping[str, bytes] | None = None,
        opened: Callable[[Any], Any] = lambda sealed: sealed,
    ) -> None:
        self._opened = opened
        if taken:
            stored = {**taken, **stored}
        self._stored = stored
        self._now_ms = now_ms
        self._inputs: dict[str, Begun] = {}
        self._count = sum(not is_mark(name) for name in stored)
        self._bytes = sum(map(len, stored.values()))
        self._pending: dict[str, bytes] = dict(taken or {})
        self._messages: list[Message] = []
        self.progress = False
        """Whether something among the news has come to its end."""
        self.is_redriven = bool(stored.get(AGAIN))
        """Somebody has run again what had ended badly: what was cut off then may be done once more."""
        self._overruled = self._take_again()

    @property
    def news(self) -> News:
        """What is to be recorded next."""
        return News(self._pending, self._messages)

    @property
    def is_full(self) -> bool:
        """Nothing more may be recorded."""
        return self._count > RECORDS_MAX or self._bytes > BYTES_MAX

    @property
    def is_new(self) -> bool:
        """Nothing was recorded before."""
        return not self._stored

    def answer(self, key: str) -> Answer | None:
        """What was recorded under this key; None: nothing."""
        blob = self._stored.get(key)
        if not blob:
            return None
        ended = read_ended(blob)
        if ended.ok:
            return Done(self._opened(ended.result) if ended.sealed else ended.result)
        return Failed(ended.error or {}, ended.result, final=ended.final, limit=ended.limit)

    def begun(self, key: str) -> Begun | None:
        """How the step with this key was begun."""
        known = self._inputs.get(key)
        blob = self._stored.get(key + BEGUN)
        return known or (read_begun(blob) if blob else None)

    def is_again(self, key: str) -> bool:
        """Whether somebody has asked to have done again what had failed under this key."""
        return key in self._overruled or self._stored.get(f"{key}{AGAIN}") is not None

    def raw(self, key: str) -> bytes | None:
        """A record of the engine's own."""
        return self._pending.get(key) or self._stored.get(key) or None

    def note(self, key: str, answer: Answer) -> None:
        """Something that takes no time has come to this."""
        self.put(key, ended_record(self._now_ms(), answer))

    def note_sealed(self, key: str, sealed: str) -> None:
        """The same, and it holds a secret."""
        self.put(key, encode(Ended(self._now_ms(), result=sealed, sealed=True)))

    def note_end(self, key: str, record: RawEnded, messages: Sequence[tuple[str, str, bytes]] = ()) -> None:
        """A step has ended, and publishes these: broker, trigger, message."""
        self.put(key, encode(record))
        self._messages += [(key, *message) for message in messages]
        self.progress = True

    def note_begin(self, key: str, begun: Begun) -> None:
        """A step is about to begin."""
        self._inputs[key] = begun
        self.put(key + BEGUN, encode(begun))

    def note_failure(self, at: str) -> None:
        """The flow has failed for good, by this."""
        self.put(FAILED, at.encode())

    def put(self, name: str, blob: bytes) -> None:
        """To be recorded with the next step."""
        self._pending[name] = blob
        self._count += not is_mark(name)
        self._bytes += len(blob)

    def kept(self) -> None:
        """What was pending is recorded."""
        self._pending = {}
        self._messages = []
        self.progress = False

    def started_ms(self) -> int:
        """When the flow was started for the first time, or was run again after it had failed."""
        blob = self.raw(STARTED)
        if blob is None:
            blob = b"%d" % self._now_ms()
            self.put(STARTED, blob)
        return int(blob)

    def _allow_anew(self) -> None:
        """Steps that consist of steps may take as long again, as the flow may."""
        now = self._now_ms()
        anew = {}
        for key, blob in self._stored.items():
            if LIMIT in key and blob and (ended := read_ended(blob)).ok and ended.result:
                seconds = ended.result[0]
                anew[key] = ended_record(now, Done([seconds, now + round(seconds * _MS)]))
                self.put(key, anew[key])
        self._stored = {**self._stored, **anew}

    def _forget_ends(self, failed: str) -> None:
        """What stands around that which has failed has not ended after all."""
        words = failed.partition("?")[0].partition("#")[0].split("/")
        for depth in range(1, len(words) + 1):
            name = "/".join(words[:depth]) + LEFT
            if self._stored.get(name):
                self._stored = {**self._stored, name: b""}
                self.put(name, b"")

    def _take_again(self) -> set[str]:
        """What has been run again after it had failed goes on there; that is said once."""
        if not self._stored.get(AGAIN):
            return set()
        self.put(AGAIN, b"")
        self.put(STARTED, b"%d" % self._now_ms())
        self._allow_anew()
        failed = (self._stored.get(FAILED) or b"").decode()
        if not failed:
            return set()
        self.put(FAILED, b"")
        self.put(f"{failed}{AGAIN}", b"1")
        self._forget_ends(failed)
        return {failed}


def ended_record(now_ms: int, answer: Answer) -> bytes:
    """Something has come to this now."""
    if isinstance(answer, Done):
        return encode(Ended(now_ms, result=answer.result))
    failed = Ended(now_ms, ok=False, result=answer.result, error=answer.error, final=answer.final, limit=answer.limit)
    return encode(failed)
