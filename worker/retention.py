"""Forgetting ended runs and dead letters, the oldest first, a little at a time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from shared import keys
from shared.config import RetentionSettings
from shared.events import emit
from shared.scripts.history import expire_dead, prune_trigger
from shared.scripts.worker import prune
from shared.store import Store
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
        forgotten = self._uplink.attempt(lambda store: store.run(call))
        if forgotten:
            emit("runs.pruned", runs=forgotten)
        return forgotten == self._settings.prune_step

    def expire_dead(self) -> bool:
        """One step through the dead letters. True when there may be more to do."""
        step = self._settings.prune_step
        before_ms = round((time.time() - self._settings.dead_max_age_s) * 1000)
        call = expire_dead(self._settings.dead_max, before_ms, step)
        dropped = self._uplink.attempt(lambda store: store.run(call))
        if dropped:
            emit("runs.pruned", dead=dropped)
        return dropped == step

    def prune_triggers(self) -> bool:
        """One step for each trigger that has too many runs. True when there may be more to do."""
        keep, step = self._settings.runs_max_per_trigger, self._settings.prune_step
        if not keep:
            return False
        triggers = self._uplink.attempt(lambda store: _over(store.command("SMEMBERS", keys.COUNTERS), store, keep))
        forgotten = 0
        more = False
        for trigger in triggers or ():
            done = self._prune_trigger(trigger)
            if done is None:
                return False
            forgotten += done[0]
            looked_at_all = sum(done) < step
            # What lives stays at the head of the list: the next step begins behind it, a new round at the head again.
            self._passed[trigger] = 0 if looked_at_all else self._passed.get(trigger, 0) + done[1]
            more = more or not looked_at_all
        if forgotten:
            emit("runs.pruned", runs=forgotten)
        return more

    def _prune_trigger(self, trigger: str) -> tuple[int, int] | None:
        keep, step = self._settings.runs_max_per_trigger, self._settings.prune_step
        call = prune_trigger(trigger, keep, self._passed.get(trigger, 0), step)
        return self._uplink.attempt(lambda store: store.run(call))


def _over(triggers: Iterable[bytes], store: Store, keep: int) -> list[str]:
    """The triggers that have more runs than they may keep."""
    names = [name.decode() for name in triggers]
    counts = store.commands([("ZCARD", keys.runs(name)) for name in names])
    return [name for name, count in zip(names, counts, strict=True) if count > keep]


def kept_there(counts: Mapping[str, int], registry: str, runs_max: int) -> int:
    """How many runs of this registry to keep so that all registries together hold `runs_max`.

    Not the present count where that is not too much: runs end between counting and forgetting.
    """
    excess = sum(counts.values()) - runs_max
    return max(0, counts[registry] - excess) if excess > 0 else runs_max
