"""Dead letters again: runs are queued under their own id, messages go back into the inbox; or they are dropped."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, Literal, get_args

import msgspec

from shared import keys
from shared.again import latest
from shared.clock import iso_utc
from shared.dead import HEAD_BYTES, DeadLetter, decode_letter
from shared.envelope import decode_envelope, encode_envelope
from shared.errors import EnvelopeError, HeadraceError
from shared.outgoing import decode_outgoing
from shared.run_record import is_run_id
from shared.runs import decode_job, encode_job
from shared.scripts import history, operate
from shared.scripts.call import Call
from shared.scripts.outgoing import resend
from shared.store import Store

AT_ONCE: Final = 100
Cell = Literal["unrouted", "poisoned"]
Outcome = Literal["queued", "in the inbox", "in the outbox", "not ended badly", "unknown", "refused"]


class Retried(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of a wish to run something again. `why` says of a refusal what stands against it."""

    id: str
    outcome: Outcome
    why: str = ""

    @property
    def is_done(self) -> bool:
        """It will run, be routed, or be published again."""
        return self.outcome in {"queued", "in the inbox", "in the outbox"}


def retry(store: Store, ids: Sequence[str], *, latest_timeout_s: float | None = None) -> list[Retried]:
    """Queue runs that ended badly again, each under its id and idempotency key, and put messages back where they
    came from: into the inbox, or an outbox.

    However often it is asked for, and by however many at the same moment, it is done once. `latest_timeout_s`: runs
    take the version that is deployed now, and so many seconds where its script does not say; None: that of then.
    """
    outcomes: list[Retried] = []
    for start in range(0, len(ids), AT_ONCE):
        portion = ids[start : start + AT_ONCE]
        runs = [dead_id for dead_id in portion if is_run_id(dead_id)]
        again = {each.id: each for each in _retry_runs(store, runs, latest_timeout_s)}
        outcomes += [again.get(dead_id) or _retry_message(store, dead_id) for dead_id in portion]
    return outcomes


def drop(store: Store, ids: Sequence[str]) -> list[bool]:
    """Take these off the list; for each whether it was there."""
    portions = [ids[start : start + AT_ONCE] for start in range(0, len(ids), AT_ONCE)]
    return [done for portion in portions for done in store.run(history.drop_dead(portion))]


def _retry_runs(store: Store, ids: Sequence[str], latest_timeout_s: float | None) -> list[Retried]:
    now = iso_utc(time.time_ns())
    calls: list[Call[Literal["queued", "not ended badly", "unknown"]]] = []
    refused: dict[str, str] = {}
    for run_id in ids:
        try:
            data, timeout_s = _of_now(store, run_id, latest_timeout_s)
        except HeadraceError as error:
            refused[run_id] = error.message
        else:
            calls.append(operate.retry(run_id, now, data, timeout_s))
    replies = iter(store.run_many(calls) if calls else [])
    return [
        Retried(each, "refused", refused[each]) if each in refused else Retried(each, next(replies)) for each in ids
    ]


def _of_now(store: Store, run_id: str, latest_timeout_s: float | None) -> tuple[bytes, int]:
    """The data of a run's job with the version of now, and the seconds that it may take; nothing where it stays."""
    if latest_timeout_s is None:
        return b"", 0
    data = store.command("HGET", keys.job(run_id), "data")
    if data is None:
        return b"", 0
    spec = decode_job(data)
    version = latest(store, spec.runnable, latest_timeout_s, is_flow=spec.is_flow)
    return encode_job(msgspec.structs.replace(spec, runnable_version=version.version)), version.timeout_s


def _retry_message(store: Store, dead_id: str) -> Retried:
    blob = store.command("HGET", keys.DEAD_LETTERS, dead_id)
    if blob is None:
        return Retried(dead_id, "unknown")
    try:
        letter = decode_letter(blob)
    except EnvelopeError as error:
        return Retried(dead_id, "refused", error.message)
    return _resend(store, dead_id, letter) if letter.reason == "unsent" else _readmit(store, dead_id, letter)


def _readmit(store: Store, dead_id: str, letter: DeadLetter) -> Retried:
    if letter.reason not in get_args(Cell) or (whole := _whole(letter)) is None:
        return Retried(dead_id, "refused", _why_not(letter))
    try:
        envelope = decode_envelope(whole)
    except EnvelopeError as error:
        return Retried(dead_id, "refused", f"it still cannot be read: {error.message}")
    version = store.command("HGET", keys.DEPLOYED, f"trigger:{envelope.trigger}")
    if version is None or envelope.trigger != letter.trigger:
        return Retried(dead_id, "refused", f"trigger {envelope.trigger} is not deployed now")
    # The filters that it was delivered for are those of another version: all of this one are asked.
    envelope = msgspec.structs.replace(envelope, trigger_version=version.decode(), filters=[])
    cell: Cell = "unrouted" if letter.reason == "unrouted" else "poisoned"
    key = letter.key or dead_id
    done = store.run(history.readmit(dead_id, key, encode_envelope(envelope), envelope.trigger, cell))
    return Retried(dead_id, "in the inbox" if done else "unknown")


def _resend(store: Store, dead_id: str, letter: DeadLetter) -> Retried:
    message = letter.envelope or letter.payload
    try:
        outgoing = decode_outgoing(message)
    except EnvelopeError as error:
        return Retried(dead_id, "refused", f"it still cannot be read: {error.message}")
    done = store.run(resend(dead_id, outgoing.broker, outgoing.trigger, message))
    return Retried(dead_id, "in the outbox" if done else "unknown")


def _whole(letter: DeadLetter) -> bytes | None:
    """The inbox entry, where all of it is kept."""
    if letter.envelope is not None:
        return letter.envelope
    return letter.payload if letter.reason == "poisoned" and letter.size <= HEAD_BYTES else None


def _why_not(letter: DeadLetter) -> str:
    if letter.size > len(letter.payload):
        return f"only the first {len(letter.payload)} of {letter.size} bytes are kept: publish it again"
    return f"it is {letter.reason} and would be so again: publish it again as it should be"
