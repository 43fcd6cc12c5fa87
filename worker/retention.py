"""Forgetting ended runs and dead letters, the oldest first, a little at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping

from shared import keys
from shared.config import RetentionSettings
from shared.events import emit
from shared.scripts.history import Kept, expire_dead, prune_trigger
from shared.scripts.worker import prune
from shared.store import Store
from worker.kept_runs import KeptRuns
from worker.uplink import Uplink

PRUNE_EVERY_S = 1.0
REGISTRIES = (keys.RQ_FINISHED, keys.RQ_FAILED, keys.RQ_CANCELED)
FAR = 4_102_444_800
"""Where our scores begin (shared/scripts/_lib.lua); a run cancelled by RQ's tools is below until a sweep adopts it."""


class Retention:
    """Keeps ended runs and dead letters within count and age. Several workers may do it at once; of the counters only
    that of dropped dead letters moves.
    """

    def __init__(self, uplink: Uplink, settings: RetentionSettings) -> None:
        self._uplink = uplink
        self._settings = settings
        self._kept = KeptRuns(settings)
        self._passed: dict[str, int] = {}

    def prune(self) -> bool:
        """One step: from the registry with the oldest run. True when there may be more to do."""
        heads = self._uplink.attempt(
            lambda store: store.commands(
                [("ZCARD", registry) for registry in REGISTRIES]
                + [("ZRANGEBYSCORE", registry, FAR, "+inf", "WITHSCORES", "LIMIT", 0, 1) for registry in REGISTRIES]
            )
        )
        if heads is None:
            return False
        counts = dict(zip(REGISTRIES, heads[: len(REGISTRIES)], strict=True))
        oldest = {
            registry: float(head[1])
            for registry, head in zip(REGISTRIES, heads[len(REGISTRIES) :], strict=True)
            if head
        }
        if not oldest:
            return False
        registry = min(oldest, key=lambda name: oldest[name])
        keep = kept_there(counts, registry, self._settings.runs_max)
        ended_before_s = time.time() - self._settings.runs_max_age_s
        call = prune(registry, keep, ended_before_s, self._settings.prune_step)
        done = self._uplink.attempt(lambda store: store.run(call))
        if done is not None and done.count:
            emit("runs.pruned", runs=done.count)
        return done is not None and done.more

    def expire_dead(self) -> bool:
        """One step through the dead letters. True when there may be more to do."""
        step = self._settings.prune_step
        before_ms = round((time.time() - self._settings.dead_max_age_s) * 1000)
        call = expire_dead(self._settings.dead_max, before_ms, step)
        done = self._uplink.attempt(lambda store: store.run(call))
        if done is not None and done.count:
            emit("runs.pruned", dead=done.count)
        return done is not None and done.more

    def prune_triggers(self) -> bool:
        """One step for each trigger that has runs which may not be kept. True when there may be more to do."""
        found = self._uplink.attempt(self._over)
        forgotten = 0
        more = False
        for trigger, kept in (found or {}).items():
            call = prune_trigger(trigger, kept, self._passed.get(trigger, 0), self._settings.prune_step)
            done = self._uplink.attempt(lambda store, call=call: store.run(call))  # type: ignore[misc]
            if done is None:
                return False
            count, passed, is_more = done
            forgotten += count
            # What stays is at the head of the list: the next step begins behind it, a new round at the head again.
            self._passed[trigger] = self._passed.get(trigger, 0) + passed if is_more else 0
            more = more or is_more
        if forgotten:
            emit("runs.pruned", runs=forgotten)
        return more

    def _over(self, store: Store) -> dict[str, Kept]:
        """The triggers that have more runs than they may keep, or may have older ones."""
        self._kept.follow(store)
        names = [name.decode() for name in store.command("SMEMBERS", keys.COUNTERS)]
        now_us = time.time_ns() // 1000
        bounds = {name: kept for name in names if (kept := self._kept.of(name, now_us)) != Kept()}
        sizes = store.commands([("ZCARD", keys.runs(name)) for name in bounds])
        heads = store.commands([("ZRANGE", keys.runs(name), 0, 0, "WITHSCORES") for name in bounds])
        return {
            name: kept
            for (name, kept), size, head in zip(bounds.items(), sizes, heads, strict=True)
            if (kept.runs_max is not None and size > kept.runs_max)
            or (kept.ended_before_us is not None and head and float(head[1]) < kept.ended_before_us)
        }


def kept_there(counts: Mapping[str, int], registry: str, runs_max: int) -> int:
    """How many runs of this registry to keep so that all registries together hold `runs_max`.

    Not the present count where that is not too much: runs end between counting and forgetting.
    """
    excess = sum(counts.values()) - runs_max
    return max(0, counts[registry] - excess) if excess > 0 else runs_max
