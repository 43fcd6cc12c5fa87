"""For how long does Redis answer nobody else while old runs and dead letters are forgotten? By its own slow log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from bench.lab import Lab
from bench.servers import valkey
from bench.table import Missing, Row, Target
from shared import keys
from shared.config import RetentionSettings
from shared.dead import LETTER_VERSION, DeadLetter, encode_letter
from shared.scripts.call import Arg, Call
from shared.scripts.history import Kept, expire_dead, prune_trigger
from shared.scripts.worker import prune
from shared.store import Store

TRIGGER = "f/bench/trigger"
STEP = RetentionSettings().prune_step
FAR = 4_102_444_800
KIB, MIB = 1024, 1024 * 1024
TARGET = Target(of_ratio=False, limit=5, at_most=True)
BYTES_AT_ONCE = 32 * MIB


def measure(lab: Lab) -> Sequence[Row | Missing]:
    """The longest step of each kind, small and large, with AOF."""
    return lab.rows("retention", partial(_rows, lab))


def _rows(lab: Lab) -> list[Row]:
    found = []
    for size, count in ((300, 5000), (64 * KIB, 500), (MIB, 100), (16 * MIB, 10)):
        for what, fill, call in (
            ("runs of all", _fill_runs, lambda: prune(keys.RQ_FAILED, 0, 0, STEP)),
            ("runs of a trigger", _fill_runs, lambda: prune_trigger(TRIGGER, Kept(0), 0, STEP)),
            ("dead letters", _fill_letters, lambda: expire_dead(0, 0, STEP)),
        ):
            named = f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB" if size >= KIB else f"{size} B"
            text = f"longest step that forgets {what}, {named} each"
            (values,) = lab.each_round(text, partial(_longest_ms, lab, fill, call, size, count))
            found.append(Row(text, "ms", values, target=TARGET))
    return found


def _longest_ms(
    lab: Lab, fill: Callable[[Store, int, int], None], call: Callable[[], Call[Any]], size: int, count: int
) -> float:
    with valkey(lab.folder(), "always") as (url, _):
        store = Store.connect(url)
        store.run(call())  # the script is loaded
        fill(store, size, count)
        store.commands([("CONFIG", "SET", "slowlog-log-slower-than", 0), ("SLOWLOG", "RESET")])
        step = call()
        for _ in range(count):
            store.run(step)
            if not store.command("EXISTS", keys.DEAD, keys.RQ_FAILED):
                break
        took = [entry["duration"] for entry in store.command("SLOWLOG GET", 1000) if b"EVALSHA" in entry["command"]]
        store.close()
        return float(max(took)) / 1000


def _fill_runs(store: Store, size: int, count: int) -> None:
    """Failed runs whose message is of that size and whose attempt has left a log, each a dead letter too."""
    data, now = b"\0" * size, time.time()
    for n in range(count):
        run = f"q1-bench-1-{n}"
        ended = "2020-01-01T00:00:00.000000Z"
        fields = ("status", "failed", "state", "failed", "trigger", TRIGGER, "ended_at", ended, "data", data)
        store.commands(
            [
                ("HSET", keys.job(run), *fields),
                ("XADD", keys.results(run), "*", "type", "2", "log", "x" * min(size, MIB)),
                ("ZADD", keys.RQ_FAILED, FAR + n, run),
                ("ZADD", keys.RUNS, round(now * 1e6) + n, run),
                ("ZADD", keys.runs(TRIGGER), round(now * 1e6) + n, run),
                ("ZADD", keys.DEAD, n, run),
            ]
        )


def _fill_letters(store: Store, size: int, count: int) -> None:
    """Messages that became no run."""
    letter = DeadLetter(
        LETTER_VERSION, "unrouted", TRIGGER, "t", 1, b"", size, "", None, 0, "", b"\0" * size, "bench-1-1"
    )
    blob = encode_letter(letter)
    for part in _parts(range(count), max(1, BYTES_AT_ONCE // size)):
        commands: list[tuple[Arg, ...]] = []
        for n in part:
            commands += [
                ("HSET", keys.DEAD_LETTERS, f"m-{n}", blob),
                ("HSET", keys.DEAD_TRIGGERS, f"m-{n}", TRIGGER),
                ("ZADD", keys.DEAD, n, f"m-{n}"),
            ]
        store.commands(commands)


def _parts(numbers: Iterable[int], most: int) -> list[list[int]]:
    whole = list(numbers)
    return [whole[at : at + most] for at in range(0, len(whole), most)]
