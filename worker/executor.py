"""Executes runs whose start has been recorded: in their runner, through its death, until each has an ending."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Literal, Protocol

import msgspec

from shared.errors import ConfigError, HeadraceError, InternalError
from shared.events import emit
from shared.metrics.catalogue import RUNNER_DEATHS
from worker.endings import Endings
from worker.jobs import Job
from worker.pool import RunnerPool
from worker.runners.base import (
    RunCall,
    RunDone,
    RunErrorInfo,
    RunEvent,
    Runner,
    RunnerBroken,
    RunnerDied,
    RunnerReady,
    ScriptFiles,
)
from worker.stopping import StopRequest

PATIENCE_S = 0.01
"""A run that is longer holds nothing back: what has ended is recorded meanwhile, what waits is given back."""
TICK_S = 0.05
LOADING_DEATHS_MAX = 3
STOP_GRACE_S = 3.0
"""From SIGTERM to SIGKILL for a run that somebody has cancelled."""

Verdict = Literal["timed out", "stopped"]


class Executing(msgspec.Struct, frozen=True):
    """A run that executes: since when, and what it has printed through its language's streams, and past them."""

    run_id: str
    execution: str
    age_s: float
    printed: bytes
    raw: bytes


class _Group(msgspec.Struct):
    """Runs of one script on their way: `waiting[0]` is the one that executes, or will first."""

    script: ScriptFiles
    waiting: deque[Job]
    began_at: float
    tick_at: float
    runner: Runner | None = None
    loading: bool = True
    loading_deaths: int = 0
    verdict: Verdict | None = None
    judged: str = ""
    stopping: str = ""
    kill_at: float = 0.0


class Calls(Protocol):
    """Makes the calls of runs."""

    def call(self, job: Job, script: ScriptFiles) -> RunCall:
        """The call that executes a run. Raises HeadraceError where it cannot be made: nothing may be executed then."""


class Executor:
    """Executes groups of started runs one after the other and tells `endings` of each, exactly once.

    `begin` lets a group execute, `collect` stays with it to its end. A run that the runner's death left unexecuted is
    sent again to a fresh runner: only the one that was executing has crashed. A script that wants a process for each
    run is sent one run at a time. `masked` takes secrets out of what runners say.
    """

    def __init__(
        self,
        pool: RunnerPool,
        calls: Calls,
        masked: Callable[[list[RunEvent]], list[RunEvent]],
        default_timeout_s: float,
        stop: StopRequest,
        endings: Endings,
    ) -> None:
        self._pool = pool
        self._calls = calls
        self._masked = masked
        self._default_timeout_s = default_timeout_s
        self._stop = stop
        self._endings = endings
        self._group: _Group | None = None
        self._prepared: dict[str, RunCall] = {}
        self._wishes: SimpleQueue[tuple[str, Verdict | None]] = SimpleQueue()

    @property
    def current(self) -> str | None:
        """The run that executes now. Any thread may ask."""
        group = self._group
        try:
            return group.waiting[0].claim.run_id if group else None
        except IndexError:
            return None

    @property
    def executing(self) -> Executing | None:
        """The run that executes now, and what it has printed so far; None where none does. In the loop's thread."""
        group = self._group
        if group is None or not group.waiting or group.runner is None:
            return None
        claim = group.waiting[0].claim
        return Executing(claim.run_id, claim.execution, time.monotonic() - group.began_at, *group.runner.output())

    def interrupt(self, run_id: str, verdict: Verdict | None) -> None:
        """End this run if it still is the one that executes, with this verdict; None: as a crash. Any thread."""
        self._wishes.put((run_id, verdict))

    def begin(self, script: ScriptFiles, jobs: Sequence[Job]) -> None:
        """Send started runs of one script to their runner, which executes them in order. The group before is over."""
        now = time.monotonic()
        self._group = _Group(script, deque(jobs), now, now + PATIENCE_S)
        self._send(self._group)

    def prepare(self, script: ScriptFiles, jobs: Sequence[Job]) -> None:
        """Make ready what `begin` will send, while the answer is awaited that these runs may start."""
        self._prepared.clear()
        for job in jobs:
            with suppress(HeadraceError):  # `begin` meets it again, and fails the run
                self._prepared[job.claim.execution] = self._calls.call(job, script)

    def collect(self, tick: Callable[[], None]) -> bool:
        """Wait until each run of the group has been reported; False if it was over already.

        `tick` is called now and then if it takes long.
        """
        group = self._group
        turns = 0
        while group and group.waiting:
            turns += 1
            if group.runner is None:
                self._send(group)
            else:
                self._follow(group, group.runner, tick)
        self._group = None
        return turns > 1

    def refuse(self, jobs: Sequence[Job], problem: RunErrorInfo) -> None:
        """Fail started runs that cannot be executed."""
        for job in jobs:
            self._endings.refused(job, problem)

    def _send(self, group: _Group) -> None:
        """Send what waits to a warm runner, or a fresh one."""
        calls = self._calls_now(group)
        if not calls:
            return
        try:
            runner = group.runner = self._pool.get(group.script)
        except ConfigError as error:
            self.refuse(group.waiting, RunErrorInfo("RunnerUnavailable", f"nothing was executed: {error.message}"))
            group.waiting.clear()
            return
        runner.send(calls)
        group.began_at = time.monotonic()
        group.loading = runner.current is None

    def _calls_now(self, group: _Group) -> list[RunCall]:
        """The calls to send now. Runs whose call cannot be made have failed."""
        calls: list[RunCall] = []
        most = 1 if group.script.isolation == "fresh" else len(group.waiting)
        while len(calls) < min(most, len(group.waiting)):
            job = group.waiting[len(calls)]
            try:
                prepared = self._prepared.get(job.claim.execution)
                calls.append(prepared or self._calls.call(job, group.script))
            except HeadraceError as error:
                del group.waiting[len(calls)]
                problem = RunErrorInfo(type(error).__name__, f"nothing was executed: {error.message}")
                self.refuse([job], problem)
        return calls

    def _follow(self, group: _Group, runner: Runner, tick: Callable[[], None]) -> None:
        """One turn: what the runner says, or, if it says nothing, whether it may go on."""
        until = min(group.tick_at, group.began_at + self._timeout_s(group.waiting[0]))
        events = runner.poll(max(0.0, until - time.monotonic()))
        self._apply(group, events)
        if group.runner and group.waiting and (not events or time.monotonic() >= group.tick_at):
            group.tick_at = time.monotonic() + TICK_S
            tick()
            if self._must_end(group, runner):
                self._apply(group, runner.kill())

    def _must_end(self, group: _Group, runner: Runner) -> bool:
        """Must the run that executes not go on? `verdict` then says why, None if it was only caught up in it.

        One that is to be stopped is asked to first.
        """
        job = group.waiting[0]
        group.judged = job.claim.run_id
        group.verdict = None
        try:
            run_id, verdict = self._wishes.get_nowait()
        except Empty:
            run_id, verdict = "", None
        if verdict == "stopped" and run_id == job.claim.run_id != group.stopping:
            group.stopping, group.kill_at = run_id, time.monotonic() + STOP_GRACE_S
            runner.terminate()
        if group.stopping == job.claim.run_id:
            group.verdict = "stopped"
            return time.monotonic() >= group.kill_at or self._stop.expired
        if run_id:
            group.verdict = verdict
            return run_id == job.claim.run_id
        if time.monotonic() < group.began_at + self._timeout_s(job):
            return self._stop.expired
        group.verdict = "timed out"
        return True

    def _apply(self, group: _Group, events: list[RunEvent]) -> None:
        for event in self._masked(events):
            match event:
                case RunDone():
                    self._on_done(group, event)
                case RunnerReady():
                    group.loading = False
                    group.began_at = time.monotonic()
                case RunnerBroken():
                    self._forget_runner(group)
                case RunnerDied():
                    self._forget_runner(group)
                    self._on_death(group, event)

    def _forget_runner(self, group: _Group) -> None:
        self._pool.discard(group.script.version)
        group.runner = None

    def _on_done(self, group: _Group, event: RunDone) -> None:
        job = group.waiting[0]
        if job.claim.run_id != event.run_id:
            raise InternalError("a runner answered out of order", run=event.run_id, expected=job.claim.run_id)
        now = time.monotonic()
        duration_s = now - group.began_at
        if group.stopping == event.run_id and not event.ok:
            self._endings.stopped(job, event.log, duration_s)
        else:
            self._endings.done(job, event, duration_s)
        group.waiting.popleft()
        group.began_at = now
        if group.script.isolation == "fresh":
            self._pool.retire(group.script.version)
            group.runner = None

    def _on_death(self, group: _Group, death: RunnerDied) -> None:
        RUNNER_DEATHS.of(_cause(death)).add()
        if not death.killed:
            emit("runner.died", exit_status=death.returncode, reason=death.cause)
        if not group.waiting:
            return
        run_id = group.waiting[0].claim.run_id
        verdict = group.verdict if death.killed and run_id == group.judged else None
        if run_id == group.stopping:
            verdict = "stopped"
        if verdict == "timed out":
            job = group.waiting.popleft()
            self._endings.timed_out(job, self._timeout_s(job), death.log, loading=group.loading)
        elif verdict == "stopped":
            self._endings.stopped(group.waiting.popleft(), death.log, time.monotonic() - group.began_at)
        elif death.current is not None:
            self._crash(group, death, time.monotonic() - group.began_at)
        else:
            group.loading_deaths += 1
        if self._stop.expired or group.loading_deaths >= LOADING_DEATHS_MAX:
            while group.waiting:
                self._crash(group, death)

    def _crash(self, group: _Group, death: RunnerDied, duration_s: float | None = None) -> None:
        self._endings.crashed(group.waiting.popleft(), death, duration_s)

    def _timeout_s(self, job: Job) -> float:
        asked = job.claim.timeout_s
        return asked if asked is not None and asked > 0 else self._default_timeout_s


def _cause(death: RunnerDied) -> str:
    if death.killed:
        return "killed"
    return "out_of_memory" if death.out_of_memory else "crashed"
