"""The claims in a worker's hands that have not been started."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from shared.errors import NewerEnvelope
from shared.events import emit
from shared.scripts.worker import Claim
from worker.batching import group_length
from worker.jobs import Job, read_job


class Backlog:
    """Claimed runs in the order in which they are to be started: by script version, and within one as claimed."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self.newer: NewerEnvelope | None = None
        """A newer release placed one of the claims: leave them to a worker of that release."""

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def add(self, claims: Iterable[Claim]) -> None:
        """Put new claims at the end. Sets `newer`, and then adds none."""
        by_version: dict[str, list[Job]] = {}
        try:
            for claim in claims:
                job = read_job(claim)
                by_version.setdefault(job.version, []).append(job)
        except NewerEnvelope as error:
            self.newer = error
            return
        for jobs in by_version.values():
            self._jobs += jobs

    def take(self, size_of: Callable[[str], int]) -> list[Job]:
        """The next runs to start together, at most `size_of` their version; empty when there is none."""
        if not self._jobs:
            return []
        if self._jobs[0].starts_alone:
            return [self._jobs.popleft()]
        limit = size_of(self._jobs[0].version)
        kinds = [(job.version, job.starts_alone) for job in islice(self._jobs, limit)]
        return [self._jobs.popleft() for _ in range(group_length(kinds, limit))]

    def put_back(self, group: Sequence[Job]) -> None:
        """Undo `take`."""
        self._jobs.extendleft(reversed(group))

    def adopt(self, held: Sequence[Claim], worker: str) -> None:
        """Add what Redis holds as claimed by us and we did not know of, because a reply was lost."""
        known = {job.claim.execution for job in self._jobs}
        found = [claim for claim in held if claim.stage == "claimed" and claim.execution not in known]
        if found:
            emit("worker.claim_reconciled", worker=worker, claims=len(held), runs=len(found))
            self.add(found)

    def clear(self) -> list[Claim]:
        """Everything, no longer kept here."""
        claims = [job.claim for job in self._jobs]
        self._jobs.clear()
        return claims
