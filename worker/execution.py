"""What a worker executes: runs of scripts, many at a time, and runs of flows, one at a time."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from shared.runs import RunSpec
from worker.executor import Executing, Executor, Verdict
from worker.flows.engine import FlowEngine
from worker.flows.tools import Opening
from worker.flows.versions import FlowVersion, FlowVersions
from worker.jobs import Job
from worker.runners.base import RunErrorInfo, ScriptFiles
from worker.scripts import Scripts

What = ScriptFiles | FlowVersion | RunErrorInfo
"""What a run is to execute, or why it cannot."""


class Group(msgspec.Struct, frozen=True):
    """Runs of one version that are started together."""

    jobs: list[Job]
    what: What

    @property
    def version(self) -> str:
        """Of the script or flow."""
        return self.jobs[0].version

    @property
    def starts_alone(self) -> bool:
        """Its start is not recorded while something else executes."""
        return self.jobs[0].starts_alone

    @property
    def is_flow(self) -> bool:
        """It is one run, of a flow."""
        return self.jobs[0].is_flow


class Execution:
    """Executes groups one after the other: `begin`, then `collect`. `current`, `executing` and `interrupt` are about
    what executes now, whether that is a script or a step of a flow.
    """

    def __init__(
        self, scripts: Scripts, executor: Executor, flows: FlowVersions, engine: FlowEngine, steps: Executor
    ) -> None:
        self._scripts = scripts
        self._executor = executor
        self._flows = flows
        self._engine = engine
        self._steps = steps
        self._flow: tuple[Job, FlowVersion, Opening] | None = None

    @property
    def current(self) -> str | None:
        """The run that executes now. Any thread may ask."""
        flow = self._flow
        return flow[0].claim.run_id if flow else self._executor.current

    @property
    def executing(self) -> Executing | None:
        """The run that executes now, and what it has printed so far; None where none does. In the loop's thread."""
        return self._executor.executing or self._steps.executing

    def interrupt(self, run_id: str, verdict: Verdict | None) -> None:
        """End this run if it still is the one that executes, with this verdict; None: as a crash. Any thread."""
        (self._steps if self._flow else self._executor).interrupt(run_id, verdict)

    def find(self, spec: RunSpec, wait_s: float) -> What | None:
        """What this run executes, with its packages; None if it is not there after this time, or told to stop."""
        if spec.is_flow:
            return self._flows.get(spec.runnable, spec.runnable_version)
        files = self._scripts.files(spec.runnable, spec.runnable_version)
        return self._scripts.installed(files, wait_s) if isinstance(files, ScriptFiles) else files

    def prepare(self, group: Group) -> None:
        """Make ready what `begin` will send, while the answer is awaited that these runs may start."""
        if isinstance(group.what, ScriptFiles):
            self._executor.prepare(group.what, group.jobs)

    def begin(self, group: Group, opening: Opening) -> None:
        """Let started runs execute. The group before is over. A flow is started by `opening`."""
        match group.what:
            case RunErrorInfo():
                self._executor.refuse(group.jobs, group.what)
            case ScriptFiles():
                self._executor.begin(group.what, group.jobs)
            case FlowVersion():
                self._flow = (group.jobs[0], group.what, opening)

    def collect(self, tick: Callable[[], None]) -> None:
        """Wait until each run of the group has been reported, or let go of."""
        if self._flow is None:
            self._executor.collect(tick)
            return
        try:
            job, version, opening = self._flow
            self._engine.drive(job, version, opening, tick)
        finally:
            self._flow = None
