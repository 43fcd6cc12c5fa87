"""Walking through the list of runs, newest first, for those that a search may want. Only reads.

Where the search is for states that few runs are in, those are walked through and not all that is kept: RQ's registries
say which they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from shared import keys
from shared.run_query import Query, wanted_of
from shared.runs import RQ_REGISTRY
from shared.scripts.call import Arg
from shared.scripts.history import Cursor, Portion, Scanned, Wanted, scan_runs
from shared.store import Store

STEP: Final = 250
"""Runs that one step of a search looks at: Redis answers nobody else meanwhile, for some 2 ms."""
ATTEMPT_STEP: Final = 100
"""The same where it has to look at what attempts have left."""
LISTED_MAX: Final = 20_000
"""Members of registries that are read for a search; where there are more, they are not few."""
_SCORES_AT_ONCE: Final = 2000
_ANY: Final = Wanted()
_FEW: Final = frozenset({*RQ_REGISTRY, "queued"} - {"succeeded"})

Entry = tuple[bytes, int]
"""A run's id, and its score in the list of runs: epoch microseconds."""


class Walk:
    """One walk, from a cursor on; it ends where the query's time begins."""

    def __init__(self, store: Store, query: Query, at: Cursor | None = None) -> None:
        self._store = store
        self._key = keys.runs(query.trigger) if query.trigger else keys.RUNS
        self._down_to = "-inf" if query.since is None else str(query.since)
        self._wanted = wanted_of(query)
        self._at = at or Cursor("+inf" if query.until is None else f"({query.until}")
        listed = _members(store, self._wanted.states)
        self._few = None if listed is None else self._in_order(listed)

    def step(self, give: int, most: int, size: int) -> Scanned:
        """The next runs that may fit, at most `give` among at most `most`, of about `size` bytes."""
        look_at = min(most, self._width(give))
        among = None if self._few is None else self._few[:look_at]
        portion = Portion(look_at, give, size)
        found = self._store.run(
            scan_runs(self._key, self._wanted, self._at, down_to=self._down_to, portion=portion, among=among)
        )
        if self._few is not None:
            found = self._placed(found)
        self._at = found.cursor
        return found

    def _width(self, give: int) -> int:
        if self._wanted == _ANY:
            return give
        return ATTEMPT_STEP if self._wanted.error or self._wanted.noted else STEP

    def _placed(self, found: Scanned) -> Scanned:
        """With a cursor that holds for the whole list, too: what is few today may be many for the next page."""
        few = self._few or []
        self._few = few[found.looked_at :]
        if not self._few:
            return Scanned(found.ids, self._at, found.looked_at, is_end=True)
        run_id, score = few[found.looked_at - 1]
        same = self._same(score)
        behind = same.index(run_id) + 1 if run_id in same else 0
        return Scanned(found.ids, Cursor(str(score), behind), found.looked_at, is_end=False)

    def _in_order(self, ids: Iterable[bytes]) -> list[Entry]:
        """Those of the list from the cursor on, newest first."""
        least, most = float(self._down_to), float(_text(self._at.score).removeprefix("("))
        passed = set(self._same(most)[: self._at.behind]) if self._at.behind else set()
        if _text(self._at.score).startswith("("):
            passed.update(self._same(most))
        entries = (entry for entry in self._scored(list(ids)) if least <= entry[1] <= most)
        ordered = sorted(entries, key=lambda entry: (entry[1], entry[0]), reverse=True)
        return [entry for entry in ordered if entry[0] not in passed]

    def _scored(self, ids: list[bytes]) -> Iterator[Entry]:
        for at in range(0, len(ids), _SCORES_AT_ONCE):
            part = ids[at : at + _SCORES_AT_ONCE]
            scores = self._store.command("ZMSCORE", self._key, *part)
            yield from ((run_id, int(score)) for run_id, score in zip(part, scores, strict=True) if score is not None)

    def _same(self, score: float) -> list[bytes]:
        return list(self._store.command("ZREVRANGEBYSCORE", self._key, score, score))


def _text(score: str | bytes) -> str:
    return score if isinstance(score, str) else score.decode()


def _members(store: Store, states: frozenset[str]) -> set[bytes] | None:
    """The runs in the registries of these states; None where they are no few, or cannot be told.

    One that goes on to another state meanwhile may be missed: it is in neither at the moment of looking.
    """
    states -= {"filtered"}  # they have no record
    if not states or not states <= _FEW:
        return None
    registries = sorted({RQ_REGISTRY[state] for state in states if state != "queued"})
    counts: list[tuple[Arg, ...]] = [("ZCARD", each) for each in registries]
    reads: list[tuple[Arg, ...]] = [("ZRANGE", each, 0, -1) for each in registries]
    if "queued" in states:
        workers = [name.decode() for name in store.command("SMEMBERS", keys.WORKERS)]
        counts += (("LLEN", keys.RQ_QUEUE), *(("HLEN", keys.claims(name)) for name in workers))
        reads += (("LRANGE", keys.RQ_QUEUE, 0, -1), *(("HKEYS", keys.claims(name)) for name in workers))
    if sum(store.commands(counts)) > LISTED_MAX:
        return None
    return {member.partition(b":")[0] for reply in store.commands(reads) for member in reply}
