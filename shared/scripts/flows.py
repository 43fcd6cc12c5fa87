"""The verbs of flows: record what steps have come to, wait, fan out, begin again in the middle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from shared import keys
from shared.scripts.call import Arg, Call
from shared.scripts.operate import MadeRun

Reply = Literal["done", "cancelled", "not ours"]
Fields = Mapping[str, bytes]
Message = tuple[str, str, str, bytes]
"""The field of the step that publishes it, broker, trigger ('?' none), message."""

_REPLIES: dict[int, Reply] = {1: "done", 2: "cancelled", 0: "not ours"}


class News(msgspec.Struct, frozen=True):
    """What is to be recorded of a flow, and what steps publish whose ends are among it."""

    fields: Fields
    messages: Sequence[Message] = ()


class Parts(msgspec.Struct, frozen=True):
    """Parts of a flow that are to be carried out side by side, at most `at_once`: number → RQ job data.

    Their runs are named `<base><position, from 1>`. `recheck_ms`: when the flow looks after them by itself.
    """

    fan: str
    base: str
    data: Sequence[tuple[int, bytes]]
    at_once: int
    timeout_s: int
    description: str
    recheck_ms: int


class Cut(msgspec.Struct, frozen=True):
    """Those of these parts (`<fan>/<number>`) that have not ended have come to this record. `why` tells who looks at a
    part that was cancelled.
    """

    parts: Sequence[str]
    record: bytes
    why: str


def checkpoint(worker: str, run_id: str, execution: str, news: News, *, progress: bool) -> Call[Reply]:
    """Record; code may begin only after the answer. `progress`: something has ended. May be repeated.

    `cancelled`: it is recorded, and somebody wants the run to be cancelled.
    """
    args: list[Arg] = [run_id, execution, int(progress), *_noted(news)]
    return Call("flow_checkpoint", [keys.claims(worker), keys.flow(run_id)], args, _REPLIES.__getitem__)


def park(worker: str, run_id: str, execution: str, delay_ms: int, news: News, fan: str = "") -> Call[Reply]:
    """Record, and let go of the run until its time has come, or all parts of this fan have ended. Repeated, it says
    `not ours`.

    `cancelled`: it is recorded, still ours, and somebody wants it to be cancelled.
    """
    names = [keys.claims(worker), keys.flow(run_id), keys.RQ_STARTED, keys.RQ_SCHEDULED]
    return Call("flow_park", names, [run_id, execution, delay_ms, fan, *_noted(news)], _REPLIES.__getitem__)


def fan_out(
    worker: str, run_id: str, execution: str, now_iso: str, now_us: int, parts: Parts, news: News
) -> Call[Reply]:
    """Record, make runs of parts, and let go of the run until all have ended. Repeated, it says `not ours`.

    `cancelled`: nothing was made, it is still ours, and somebody wants it to be cancelled.
    """
    args: list[Arg] = [run_id, execution, now_iso, now_us, parts.recheck_ms, parts.fan, parts.at_once, parts.base]
    noted = _noted(news)
    args += [keys.QUEUE, parts.description, parts.timeout_s, "child", len(noted), *noted]
    for number, data in parts.data:
        args += (number, data)
    names = [keys.claims(worker), keys.flow(run_id), keys.RQ_STARTED, keys.RQ_SCHEDULED, keys.RQ_QUEUE, keys.RQ_QUEUES]
    return Call("flow_fan", names, args, _REPLIES.__getitem__)


def cut(worker: str, run_id: str, execution: str, now_iso: str, now_ms: int, parts: Cut, news: News) -> Call[Reply]:
    """Record, cancel all parts that live, and have the run queued again at once. Repeated, it says `not ours`.

    `cancelled`: it is recorded, still ours, and somebody wants it to be cancelled.
    """
    args: list[Arg] = [run_id, execution, now_iso, now_ms, parts.why, parts.record, len(parts.parts), *parts.parts]
    names = [keys.claims(worker), keys.flow(run_id), keys.RQ_STARTED, keys.RQ_SCHEDULED]
    return Call("flow_cut", names, [*args, *_noted(news)], _REPLIES.__getitem__)


def say_missing(run_id: str, parts: Sequence[tuple[str, str]]) -> Call[int]:
    """Of these parts (run, `<fan>/<number>`) say that they have ended if their records are gone; how many are."""
    return Call("flow_missing", [keys.flow(run_id)], [run_id, *(text for part in parts for text in part)], int)


def restart(run: MadeRun, now_iso: str, now_us: int, fields: Fields) -> Call[bool]:
    """Queue a new run of a flow that begins with these records; False: it was there already. May be repeated."""
    args: list[Arg] = [now_iso, now_us, keys.QUEUE, run.id, run.data, run.description, run.timeout_s, run.source]
    args += [run.parent or "", run.trigger, run.created_by, *_flat(fields)]
    names = [keys.RQ_QUEUE, keys.RQ_QUEUES, keys.RUNS, keys.flow(run.id)]
    return Call("flow_restart", names, args, lambda reply: reply == 1)


def _noted(news: News) -> list[Arg]:
    return [len(news.messages), *(each for message in news.messages for each in message), *_flat(news.fields)]


def _flat(fields: Fields) -> list[Arg]:
    return [each for pair in fields.items() for each in pair]
