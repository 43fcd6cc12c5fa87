"""One step of a flow in a warm runner: its call, and how it ends."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any

import msgspec

from shared.clock import NS_PER_S, iso_utc
from shared.errors import InternalError
from shared.event import mqtt_event
from shared.openflow import Static
from shared.run_tokens import mint
from worker.arguments import References, run_context, tell_trace, trace_of
from worker.environment import flow_environment, run_environment
from worker.executor import Executor
from worker.flows.effects import Enter, Execute
from worker.jobs import Job
from worker.runners.base import RunCall, RunDone, RunErrorInfo, RunnerDied, ScriptFiles

_NS_PER_MS = NS_PER_S // 1000
_REFERENCES = (b"$var:", b"$res:")
_encode = msgspec.json.Encoder().encode


class StepEnd(msgspec.Struct, frozen=True):
    """How a step has ended: `answer` of its code, or `death` of its runner while it executed, or neither: it was
    stopped because somebody asked for it. `timed_out`: it took too long, as the answer says.
    """

    answer: RunDone | None = None
    death: RunnerDied | None = None
    log: str = ""
    timed_out: bool = False


class StepEndings:
    """Keeps how the step that was executed has ended."""

    def __init__(self) -> None:
        self._last: StepEnd | None = None

    def take(self) -> StepEnd | None:
        """It, once."""
        last, self._last = self._last, None
        return last

    def done(self, _job: Job, answer: RunDone, _duration_s: float) -> None:
        """The code was executed to its end."""
        self._last = StepEnd(answer)

    def refused(self, job: Job, problem: RunErrorInfo) -> None:
        """Nothing was executed."""
        self._last = StepEnd(RunDone(job.claim.run_id, ok=False, error=problem))

    def timed_out(self, job: Job, timeout_s: float, log: str, *, loading: bool) -> None:
        """The code was killed because it took too long."""
        what = "the script did not load" if loading else "the step gave no answer"
        problem = RunErrorInfo("TimeoutError", f"{what} within {timeout_s:g} s and was ended")
        self._last = StepEnd(RunDone(job.claim.run_id, ok=False, error=problem, log=log), timed_out=True)

    def stopped(self, _job: Job, log: str, _duration_s: float) -> None:
        """Somebody asked for it to be ended."""
        self._last = StepEnd(log=log)

    def crashed(self, _job: Job, death: RunnerDied, _duration_s: float | None) -> None:
        """The runner died while the code ran."""
        self._last = StepEnd(death=death, log=death.log)


class StepCalls:
    """Makes the call of a step; references in its static inputs are put in place only here, so that no secret of a
    resource is recorded.
    """

    def __init__(self, references: References, token_key: bytes) -> None:
        self._references = references
        self._token_key = token_key
        self._next: RunCall | None = None

    def prepare(self, job: Job, step: Execute, inputs: Any, attempt: int, shared: str) -> None:
        """Make ready what the next call is; `shared` is the folder of the flow. Raises HeadraceError where it cannot be
        made.
        """
        if job.spec is None:
            raise InternalError("a job that is not ours was to be executed", run=job.claim.run_id)
        spec, message, run_id = job.spec, job.message, job.claim.run_id
        token = mint(self._token_key, run_id, job.claim.execution)
        began_ns = message.received_at * _NS_PER_MS if message else time.time_ns()
        trace = trace_of(run_id, job.claim.execution, spec, message)
        environment = run_environment(run_id, spec, token, iso_utc(began_ns), trace)
        environment = flow_environment(environment, run_id, spec, step.key, step.step)
        context = run_context(spec, attempt, message)
        context["idempotency_key"] = f"{spec.idempotency_key}/{step.key}"
        context["step"] = step.step
        if message is None and not spec.cause:
            context["brokerless"] = True
        payload = _encode(self.resolved(step, inputs))
        call = self._next = RunCall(run_id, payload, None, context, "arguments", environment, shared)
        if trace is not None:
            tell_trace(call, trace)

    def call(self, _job: Job, _script: ScriptFiles) -> RunCall:
        """The call that was made ready."""
        if self._next is None:
            raise InternalError("no step was made ready")
        return self._next

    def resolved(self, step: Execute | Enter, inputs: Any) -> Any:
        """Its inputs with the references in the static ones put in place; `inputs` themselves where there are none.
        Raises HeadraceError.
        """
        given = {
            name: inputs[name] for name, each in step.inputs.items() if isinstance(each, Static) and name in inputs
        }
        if not given or not any(mark in _encode(given) for mark in _REFERENCES):
            return inputs
        return {**inputs, **self._references.resolve(given)}


class Steps:
    """Executes steps, one at a time, with the time-outs and the ways to be stopped that runs of scripts have."""

    def __init__(self, executor: Executor, endings: StepEndings, calls: StepCalls) -> None:
        self._executor = executor
        self._endings = endings
        self.prepare = calls.prepare
        self.resolved = calls.resolved
        self._count = 0

    def run(self, job: Job, script: ScriptFiles, timeout_s: float, tick: Callable[[], None]) -> StepEnd:
        """Execute what was made ready, to its end."""
        self._count += 1  # what is printed is told of by execution: each step is one of its own
        execution = f"{job.claim.execution}/{self._count}"
        claim = msgspec.structs.replace(job.claim, timeout_s=timeout_s, execution=execution)
        self._executor.begin(script, [msgspec.structs.replace(job, claim=claim)])
        self._executor.collect(tick)
        end = self._endings.take()
        if end is None:
            raise InternalError("a step has no end", run=job.claim.run_id)
        return end


def event_of(job: Job) -> dict[str, Any]:
    """The arguments of a flow's preprocessor: Windmill's event."""
    if job.message is None:
        return {"event": {}}
    payload = base64.b64encode(job.message.payload).decode()
    return {"event": {**mqtt_event(job.message), "payload": payload}}
