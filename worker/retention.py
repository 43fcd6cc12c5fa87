"""Forgetting ended runs, the oldest first, a little at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping

from shared import keys
from shared.config import RetentionSettings
from shared.events import emit
from shared.scripts.worker import prune
from worker.uplink import Uplink

PRUNE_EVERY_S = 1.0
REGISTRIES = (keys.RQ_FINISHED, keys.RQ_FAILED, keys.RQ_CANCELED)
FAR = 4_102_444_800
"""Where our scores begin (shared/scripts/_lib.lua); a run cancelled by RQ's tools is below until a sweep adopts it."""


class Retention:
    """Keeps ended runs within count and age. Several workers may do it at once; counters are not touched."""

    def __init__(self, uplink: Uplink, settings: RetentionSettings) -> None:
        self._uplink = uplink
        self._settings = settings

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


def kept_there(counts: Mapping[str, int], registry: str, runs_max: int) -> int:
    """How many runs of this registry to keep so that all registries together hold `runs_max`.

    Not the present count where that is not too much: runs end between counting and forgetting.
    """
    excess = sum(counts.values()) - runs_max
    return max(0, counts[registry] - excess) if excess > 0 else runs_max
