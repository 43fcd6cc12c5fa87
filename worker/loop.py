"""The worker's loop: claim, record starts, execute, record endings, with as few round trips as the promise allows.

One round trip carries the endings of the group before, the starts of the next group and, where that group is quick,
the claim for the one after it. Code runs only after the answer that its start was recorded.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

from shared import keys
from shared.clock import iso_utc
from shared.config import WorkerSettings
from shared.events import emit
from shared.scripts.call import Call
from shared.scripts.worker import Claims, claim, read_claims, release, start
from worker.backlog import Backlog
from worker.batching import BatchSizer
from worker.chores import Chores
from worker.executor import Executor
from worker.jobs import Job
from worker.reporting import Reporter
from worker.runners.base import RunErrorInfo
from worker.scripts import Scripts
from worker.stopping import StopRequest
from worker.uplink import Uplink

CLAIM_BYTES = 4 * 1024 * 1024
SUSPENDED_NAP_S = 0.2
PEEK_MIN_S = 0.01
"""A time-out of 0 would be for ever."""

State = Literal["started", "idle", "busy", "suspended"]


class WorkLoop:
    """Everything that a worker does, in one thread, until it is asked to stop.

    Killed at any moment, it leaves claims that the sweep of another worker settles by their stage. Through an outage
    of Redis it goes on with what is started, and repeats only what may be repeated.
    """

    def __init__(
        self,
        uplink: Uplink,
        reporter: Reporter,
        executor: Executor,
        scripts: Scripts,
        settings: WorkerSettings,
        stop: StopRequest,
        chores: Chores,
    ) -> None:
        self.state: State = "started"
        self._uplink = uplink
        self._reporter = reporter
        self._executor = executor
        self._scripts = scripts
        self._sizer = BatchSizer(settings.batch_max, settings.batch_target_ms / 1000)
        self._poll_s = settings.poll_ms / 1000
        self._stop = stop
        self._chores = chores
        self._backlog = Backlog()
        self._claimed = 0
        self._doubtful = False
        self._stopping = False

    def run(self) -> bool:
        """Work until asked to stop, then finish what is started and give back what is not.

        False: endings are left that Redis could not be told of.
        """
        started: list[Job] = []
        try:
            while started or not self._stop.requested:
                self._chores.run_due()
                if started:
                    started = self._execute(started)
                elif self._doubtful:
                    self._reconcile()
                elif group := self._backlog.take(self._sizer.group_size):
                    started = self._start(group, self._ask(group, self._cost_s(group)))
                else:
                    self._fetch()
        finally:
            self._leave()
        return self._reporter.idle

    def doubt(self) -> None:
        """Compare what Redis holds as ours with what is in hand, at the next occasion."""
        self._doubtful = True

    def _fetch(self) -> None:
        replies = self._reporter.exchange(self._claiming(self._sizer.claim_size()))
        if replies is None:
            self._doubtful = True
            self._uplink.nap()
            return
        state = self._take(replies)
        if state == "suspended":
            self.state = "suspended"
            time.sleep(SUSPENDED_NAP_S)
        elif state == "taken" and not self._backlog:
            self.state = "idle"
            self._wait()

    def _wait(self) -> None:
        """Block until there is something in the queue, without taking it: moved onto its own head, it stays there."""
        timeout_s = min(self._poll_s, self._uplink.beat_in_s)
        peek = ("BLMOVE", keys.RQ_QUEUE, keys.RQ_QUEUE, "LEFT", "LEFT", max(PEEK_MIN_S, timeout_s))
        if self._uplink.attempt(lambda store: store.commands([peek])) is None:
            self._uplink.nap()

    def _execute(self, started: list[Job]) -> list[Job]:
        """Let these execute and meanwhile prepare the next ones, which are given back as started."""
        self.state = "busy"
        began = time.monotonic()
        self._begin(started)
        following: list[Job] = []
        replies: list[Any] | None = []
        full = self._sizer.is_full(len(started))
        if full:
            held_s = self._cost_s(started)
            following = self._following(held_s)
            replies = self._ask(following, held_s + self._cost_s(following))
        waited = self._executor.collect(self._tick)
        elapsed_s = time.monotonic() - began
        if waited or not full:  # else it was Redis that took so long
            self._sizer.observe(started[0].version, len(started), elapsed_s)
        self._reporter.worked(elapsed_s)
        return self._start(following, replies)

    def _begin(self, jobs: list[Job]) -> None:
        spec, problem = jobs[0].spec, jobs[0].problem
        script = self._scripts.files(spec.runnable, spec.runnable_version) if spec else problem
        if script is None or isinstance(script, RunErrorInfo):
            self._executor.refuse(jobs, script or RunErrorInfo("InvalidJob", "nothing was executed"))
        else:
            self._executor.begin(script, jobs)

    def _following(self, held_s: float) -> list[Job]:
        """What may be recorded as started while these execute: nothing of QoS 2, and only where all ends soon."""
        group = self._backlog.take(self._sizer.group_size)
        if not group:
            return []
        soon = self._sizer.fits(held_s + self._cost_s(group))
        if group[0].starts_alone or self._stop.requested or not soon:
            self._backlog.put_back(group)
            return []
        return group

    def _cost_s(self, jobs: list[Job]) -> float:
        return self._sizer.cost_s(jobs[0].version, len(jobs)) if jobs else 0.0

    def _ask(self, group: list[Job], held_s: float) -> list[Any] | None:
        """One round trip: record endings, start these, claim more if there is room for it. None: Redis is away."""
        calls: list[Call[Any]] = [self._starting(group)] if group else []
        if not (self._backlog or self._stop.requested):
            calls += self._claiming(self._sizer.claim_size(held_s))
        replies = self._reporter.exchange(calls)
        if replies is None and len(calls) > len(group[:1]):
            self._doubtful = True
        return replies

    def _start(self, group: list[Job], replies: list[Any] | None) -> list[Job]:
        """The jobs that are to be executed, by what `_ask` has brought: theirs alone is the right to it."""
        if replies is not None:
            self._take(replies[len(group[:1]) :])
        if not group:
            return []
        if replies is None:
            replies = self._reporter.insist([self._starting(group)])
        while replies is not None and replies[0] is None:
            self._uplink.lapsed()
            replies = self._reporter.insist([self._starting(group)])
        if replies is None:
            return []
        return [job for job, ours in zip(group, replies[0], strict=True) if ours]

    def _starting(self, group: list[Job]) -> Call[Any]:
        return start(self._uplink.name, iso_utc(time.time_ns()), [job.claim for job in group])

    def _claiming(self, count: int) -> list[Call[Any]]:
        if count == 0:
            return []
        self._claimed += 1
        return [claim(self._uplink.name, f"{self._uplink.name}-{self._claimed}", count, CLAIM_BYTES)]

    def _take(self, replies: Sequence[Claims]) -> str:
        state = "taken"
        for reply in replies:
            state = reply.state
            if state == "lapsed":
                self._uplink.lapsed()
            self._backlog.add(reply.claims)
        return state

    def _tick(self) -> None:
        """While a run takes long: record what has ended, give back what waits, keep alive."""
        self._chores.run_due()
        self._announce_stop()
        waiting = self._backlog.clear()
        giving_back = [release(self._uplink.name, waiting)] if waiting else []
        if self._reporter.exchange(giving_back) is None and giving_back:
            self._doubtful = True

    def _reconcile(self) -> None:
        replies = self._reporter.exchange([read_claims(self._uplink.name)])
        if replies is None:
            self._uplink.nap()
            return
        self._doubtful = False
        self._backlog.adopt(replies[0], self._uplink.name)

    def _announce_stop(self) -> None:
        if self._stop.requested and not self._stopping:
            self._stopping = True
            emit("process.stopping", process="worker", reason="asked to by a signal")

    def _leave(self) -> None:
        self._announce_stop()
        held = self._reporter.insist([read_claims(self._uplink.name)])
        if held is not None and (waiting := [each for each in held[0] if each.stage == "claimed"]):
            self._reporter.insist([release(self._uplink.name, waiting)])
