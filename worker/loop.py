"""The worker's loop: claim, record starts, execute, record endings, with as few round trips as the promise allows.

One round trip carries the endings of the group before, the starts of the next group and, where that group is quick,
the claim for the one after it. Code runs only after the answer that its start was recorded.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import msgspec

from shared.clock import iso_utc
from shared.config import WorkerSettings
from shared.events import emit
from shared.runs import RunSpec
from shared.scripts.call import Call
from shared.scripts.worker import Claims, read_claims, release, start
from worker.backlog import Backlog
from worker.batching import BatchSizer
from worker.chores import Chores
from worker.claiming import Claiming
from worker.execution import Execution, Group, What
from worker.flows.versions import FlowVersion
from worker.measuring import measure_started
from worker.reporting import Exchange, Reporter
from worker.stopping import StopRequest
from worker.uplink import Uplink

SUSPENDED_NAP_S = 0.2
ENVIRONMENT_WAIT_S = 0.05

State = Literal["started", "idle", "busy", "suspended"]


class _Asked(msgspec.Struct, frozen=True):
    """What Redis was asked, and how many calls of it were for starts and for claims."""

    exchange: Exchange
    starts: int
    claims: int


class WorkLoop:
    """Everything that a worker does, in one thread, until it is asked to stop.

    Killed at any moment, it leaves claims that the sweep of another worker settles by their stage. Through an outage
    of Redis it goes on with what is started, and repeats only what may be repeated.
    """

    def __init__(
        self,
        uplink: Uplink,
        reporter: Reporter,
        execution: Execution,
        settings: WorkerSettings,
        stop: StopRequest,
        chores: Chores,
    ) -> None:
        self.state: State = "started"
        self._uplink = uplink
        self._reporter = reporter
        self._execution = execution
        self._sizer = BatchSizer(settings.batch_max, settings.batch_target_ms / 1000)
        self._poll_s = settings.poll_ms / 1000
        self._stop = stop
        self._chores = chores
        self._backlog = Backlog()
        self._claiming = Claiming(uplink)
        self._doubtful = False
        self._stopping = False
        self._asked: _Asked | None = None
        self._answers: list[bool] | None = None

    def run(self) -> bool:
        """Work until asked to stop, then finish what is started and give back what is not.

        False: endings are left that Redis could not be told of. Raises NewerEnvelope when a newer release placed a run.
        """
        started: Group | None = None
        try:
            while started or not (self._stop.requested or self._backlog.newer):
                self._chores.run_due()
                if started:
                    started = self._execute(started)
                elif self._doubtful:
                    self._reconcile()
                elif group := self._next_group():
                    started = self._begun(group)
                else:
                    self._fetch()
        finally:
            self._leave()
        if self._backlog.newer:
            raise self._backlog.newer
        return self._reporter.idle

    def doubt(self) -> None:
        """Compare what Redis holds as ours with what is in hand, at the next occasion."""
        self._doubtful = True

    def _next_group(self, wait_s: float = ENVIRONMENT_WAIT_S) -> Group | None:
        jobs = self._backlog.take(self._sizer.group_size)
        if not jobs:
            return None
        spec = jobs[0].spec
        what = self._found(spec, wait_s) if spec else jobs[0].problem
        if what is None:  # told to stop while waiting, or not to wait
            self._backlog.put_back(jobs)
            return None
        return Group(jobs, what)

    def _found(self, spec: RunSpec, wait_s: float) -> What | None:
        """What is to be executed, once its packages are there; what else waits is given back meanwhile, for others."""
        while (found := self._execution.find(spec, wait_s)) is None and wait_s and not self._stop.requested:
            self._tick()
        return found

    def _fetch(self) -> None:
        if self._stop.requested:
            return
        replies = self._reporter.exchange(self._claiming.ask(self._sizer.claim_size()))
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
            self._claiming.wait(min(self._poll_s, self._uplink.beat_in_s, self._chores.due_in_s))

    def _begun(self, group: Group) -> Group | None:
        """What of a group is to be executed. The start of a flow goes with the first that it records (`_open`)."""
        if isinstance(group.what, FlowVersion):
            return group
        return self._start(group, self._ask(group, self._cost_s(group)))

    def _open(self, group: Group, call: Call[Any] | None) -> Any:
        """One round trip: record endings and the start of a flow, claim more if there is room, and the call.

        The reply to the call; False for no call, and a flow that may be executed. None: told to stop, or not ours.
        """
        calls = [] if call is None else [call]
        claiming = self._claiming_more(self._cost_s(group))
        replies = self._reporter.exchange([self._starting(group), *claiming, *calls])
        if replies is None:
            self._doubtful = self._doubtful or bool(claiming)
        else:
            self._take(replies[1 : 1 + len(claiming)])
        while replies is None or replies[0] is None:
            if replies is not None:
                self._uplink.lapsed()
            replies = self._reporter.insist([self._starting(group), *calls])
            if replies is None:
                return None
        if replies[0] != [True]:
            return None
        measure_started(group.jobs)
        return replies[-1] if calls else False

    def _execute(self, started: Group) -> Group | None:
        """Let these execute and meanwhile prepare the next ones, which are given back as started."""
        self.state = "busy"
        following: Group | None = None
        if not started.is_flow and self._sizer.is_full(started.version, len(started.jobs)):
            held_s = self._cost_s(started)
            following = self._following(held_s)
            self._ask_on(following, held_s + (self._cost_s(following) if following else 0.0))
        began = time.monotonic()
        self._execution.begin(started, partial(self._open, started))
        self._execution.collect(self._tick)
        elapsed_s = time.monotonic() - began
        self._sizer.observe(started.version, len(started.jobs), elapsed_s)
        self._reporter.worked(elapsed_s)
        answers = self._hear()
        return self._start(following, answers) if following else None

    def _following(self, held_s: float) -> Group | None:
        """What may be recorded as started while others execute: nothing of QoS 2, and only where all ends soon."""
        if self._stop.requested or self._doubtful or (group := self._next_group(wait_s=0)) is None:
            return None
        if group.starts_alone or not self._sizer.fits(held_s + self._cost_s(group)):
            self._backlog.put_back(group.jobs)
            return None
        return group

    def _cost_s(self, group: Group) -> float:
        return self._sizer.cost_s(group.version, len(group.jobs))

    def _ask(self, group: Group | None, held_s: float) -> list[bool] | None:
        """One round trip: record endings, start these, claim more if there is room for it.

        For each run whether it was started. None: not known, or Redis did not know that we live.
        """
        self._ask_on(group, held_s)
        if group:
            self._execution.prepare(group)
        return self._hear()

    def _ask_on(self, group: Group | None, held_s: float) -> None:
        """The same, without waiting for the answer: Redis works while the code does."""
        starting: list[Call[Any]] = [self._starting(group)] if group else []
        claiming = self._claiming_more(held_s)
        self._asked = _Asked(self._reporter.begin([*starting, *claiming]), len(starting), len(claiming))

    def _hear(self) -> list[bool] | None:
        """The answer to what was asked last, if it has not been heard yet: claims go into the backlog."""
        asked, self._asked = self._asked, None
        if asked is not None:
            replies = asked.exchange.replies()
            if replies is None:
                self._doubtful = self._doubtful or asked.claims > 0
                self._answers = None
            else:
                self._take(replies[asked.starts :])
                self._answers = replies[0] if asked.starts else None
        return self._answers

    def _start(self, group: Group, answers: list[bool] | None) -> Group | None:
        """What of the group is to be executed, by the answers to `_ask`: the right to it is this worker's alone."""
        while answers is None:
            replies = self._reporter.insist([self._starting(group)])
            if replies is None:
                return None
            answers = replies[0]
            if answers is None:
                self._uplink.lapsed()
        jobs = [job for job, ours in zip(group.jobs, answers, strict=True) if ours]
        measure_started(jobs)
        return Group(jobs, group.what) if jobs else None

    def _starting(self, group: Group) -> Call[Any]:
        return start(self._uplink.name, iso_utc(time.time_ns()), [job.claim for job in group.jobs])

    def _claiming_more(self, held_s: float) -> list[Call[Any]]:
        """The call that claims what there is room for besides."""
        return [] if self._backlog or self._stop.requested else self._claiming.ask(self._sizer.claim_size(held_s))

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
        self._hear()
        waiting = self._backlog.clear()
        if self._doubtful:
            self._give_back_unknown()
        elif self._reporter.exchange([release(self._uplink.name, waiting)] if waiting else []) is None and waiting:
            self._doubtful = True

    def _give_back_unknown(self) -> None:
        """Also what Redis holds as ours without our knowing: nobody else could run it before this run has ended."""
        held = self._reporter.exchange([read_claims(self._uplink.name)])
        if held is None:
            return
        waiting = [each for each in held[0] if each.stage == "claimed"]
        if not waiting or self._reporter.exchange([release(self._uplink.name, waiting)]) is not None:
            self._doubtful = False

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
        self._hear()
        if self._claiming.is_new and self._reporter.idle:
            return
        empty_handed = self._reporter.idle and not self._backlog and not self._doubtful
        ask = self._reporter.exchange if empty_handed else self._reporter.insist
        held = ask([read_claims(self._uplink.name)])
        if held is not None and (waiting := [each for each in held[0] if each.stage == "claimed"]):
            self._reporter.insist([release(self._uplink.name, waiting)])
