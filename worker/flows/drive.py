"""Drives one run of a flow: does what the interpreter asks for, and records it before and after.

Before code begins, all that has led to it is in Redis, and that it begins. So whoever takes the run over after a crash
knows what has ended, and what was cut off.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from shared.errors import HeadraceError
from shared.flow_records import INPUT, Begun, RawEnded, read_fanned
from shared.scripts.call import Call
from shared.scripts.flows import Reply, checkpoint
from worker.flows import faults
from worker.flows.deadlines import Deadlines
from worker.flows.effects import (
    Again,
    Allow,
    Answer,
    Asking,
    Done,
    Effect,
    Enter,
    Execute,
    Failed,
    FanOut,
    Mark,
    Outcome,
    Turn,
    Wait,
)
from worker.flows.evaluation import Valued, is_steady
from worker.flows.marks import mark
from worker.flows.records import Records
from worker.flows.steps import StepEnd, event_of
from worker.flows.tools import Tools
from worker.jobs import Job
from worker.runners.base import RunDone, RunErrorInfo, RunnerDied, ScriptFiles

_NULL: Final = msgspec.Raw(b"null")


class LetGo(Exception):
    """The run is no longer in this worker's hands."""


class Cancelled(Exception):
    """Somebody wants the run to be cancelled. `log`: what the step has printed that was stopped for it."""

    def __init__(self, log: str = "") -> None:
        super().__init__()
        self.log = log


class Crashed(Exception):
    """The runner of a step has died in a way that ends the run for this worker."""

    def __init__(self, death: RunnerDied) -> None:
        super().__init__()
        self.death = death


class Drive:
    """One run, from where it was to its end, or until it has to wait. Its steps find the folder `shared` ('' none)."""

    def __init__(self, job: Job, records: Records, tools: Tools, deadline_ms: int | None, shared: str) -> None:
        self._job = job
        self._records = records
        self._tools = tools
        self._deadlines = Deadlines(tools.now_ms, tools.evaluator, deadline_ms)
        self._shared = shared
        self.labels: dict[str, None] = {}

    def run(self, asking: Asking[Outcome], tick: Callable[[], None]) -> Outcome:
        """How it ends. Raises LetGo, Cancelled, Crashed."""
        answer: Answer | None = None
        tick_at = time.monotonic() + self._tools.tick_s
        try:
            while True:
                effect = asking.send(answer) if answer is not None else next(asking)
                if time.monotonic() > tick_at:
                    tick()
                    tick_at = time.monotonic() + self._tools.tick_s
                answer = self._answer(effect, tick)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome

    def last_record(self) -> Call[Reply]:
        """What is left to be recorded, in one step with the end of the run."""
        return self._checkpoint()

    def _answer(self, effect: Effect, tick: Callable[[], None]) -> Answer:
        if isinstance(effect, Again):
            return Done(self._records.is_again(effect.key))
        if isinstance(effect, Mark):
            return mark(effect, self._records, self._tools)
        known = self._records.answer(effect.key)
        if known is None and self._records.is_full:
            known = faults.too_large()
        return known or self._act(effect, tick)

    def _act(self, effect: Execute | Wait | FanOut | Allow | Turn | Valued, tick: Callable[[], None]) -> Answer:
        match effect:
            case Execute():
                return self._execute(effect, tick)
            case Wait():
                return self._wait(effect)
            case FanOut():
                return self._fan_out(effect)
            case Allow():
                return self._noted(effect.key, self._deadlines.allow(effect))
            case Turn():
                return self._noted(effect.key, self._deadlines.over(effect.limit) or Done())
            case _:
                return self._evaluate(effect)

    def _evaluate(self, effect: Valued) -> Answer:
        """What it comes to, noted unless it comes to the same again. What holds a secret is kept sealed."""
        answer, steady = self._tools.evaluator.evaluate(effect), is_steady(effect)
        if isinstance(effect, Enter) and isinstance(answer, Done):
            given, answer = answer, self._tools.enter(effect, answer.result)
            steady = steady and answer == given  # a variable may come to something else tomorrow
        if isinstance(answer, Done) and steady:
            return answer
        if isinstance(answer, Done) and self._tools.without_secrets(answer.result)[1]:
            self._records.note_sealed(effect.key, self._tools.sealed(answer.result))
            return answer
        return self._noted(effect.key, answer)

    def _wait(self, effect: Wait) -> Answer:
        """Let go of the run, until somebody claims it again, or until the flow has taken as long as it may."""
        seconds, answer = self._deadlines.wait(effect)
        self._records.note(effect.key, Done(effect.seconds) if isinstance(answer, Done) else answer)
        self._let_go(seconds)
        return answer

    def _fan_out(self, effect: FanOut) -> Answer:
        """The ends of the parts, if all have ended; else they begin, or are waited for."""
        begun = self._records.raw(f"{effect.key}>")
        ends = [self._records.answer(f"{effect.fan}/{number}") for number, _ in effect.parts]
        found = [end for end in ends if end is not None]
        if len(found) == len(ends):
            return Done(found)
        over = self._deadlines.over(effect.limit)
        if begun is None:
            if over is not None:
                return self._noted(effect.key, over)
            if len(effect.parts) > self._tools.parts_max:
                return self._noted(effect.key, faults.too_many(len(effect.parts), self._tools.parts_max))
            if self._tools.without_secrets([effect.flow_input, effect.results, effect.parts])[1]:
                return self._noted(effect.key, faults.secret_in_parts())
            missing = [part for part, end in zip(effect.parts, ends, strict=True) if end is None]
            effect = msgspec.structs.replace(effect, parts=missing)
            reply = self._tools.fan_out(self._job, effect, self._records, self._deadlines)
            if reply == "cancelled":  # nothing was recorded: it is with the end of the run
                raise Cancelled
            self._heed(reply)
        elif over is not None:
            self._heed(self._tools.cut(self._job, effect, over, self._records))
        else:
            self._tools.look_after(self._job, effect, read_fanned(begun))
            self._let_go(self._deadlines.look_after_s(effect.limit, self._tools.recheck_s), effect.fan)
        raise LetGo

    def _execute(self, effect: Execute, tick: Callable[[], None]) -> Answer:
        """Execute a step, unless it was cut off at QoS 2, or too often, or cannot be."""
        begun = self._records.begun(effect.key)
        starts = 0 if begun is None else begun.starts
        if begun is not None and not self._records.is_redriven:
            fault = faults.cut_off(self._qos, starts, self._tools.max_crashes)
            if fault is not None:
                return self._noted(effect.key, fault)
        inputs = self._inputs(effect, begun)
        seconds = inputs if isinstance(inputs, Failed) else self._deadlines.timeout(effect, inputs.result)
        if isinstance(seconds, Failed):
            return self._noted(effect.key, seconds)
        script = self._script(effect, tick)
        if isinstance(script, RunErrorInfo):
            return self._noted(effect.key, Failed(faults.error_dict(script)))
        answer = None
        while answer is None:
            starts += 1
            end = self._step(
                effect, script, inputs.result, starts, self._deadlines.at_most(effect, seconds.result), tick
            )
            answer = self._judged(effect, end, starts)
        return answer

    def _judged(self, effect: Execute, end: StepEnd, starts: int) -> Answer | None:
        """What has come of a step. None: its runner has died, and it begins again."""
        if end.timed_out and (over := self._deadlines.over(effect.limit)):
            return self._failed(effect, over, end.log)
        if end.answer is not None:
            return self._ended(effect, end.answer)
        if end.death is None:
            raise Cancelled(end.log)
        if self._tools.stop.expired or self._qos == 0:
            raise Crashed(end.death)
        fault = faults.died(end.death, self._qos, starts, self._tools.max_crashes)
        return None if fault is None else self._failed(effect, fault, end.log)

    def _step(
        self,
        effect: Execute,
        script: ScriptFiles,
        inputs: Any,
        starts: int,
        timeout_s: float,
        tick: Callable[[], None],
    ) -> StepEnd:
        """Record that it begins, and have it executed."""
        fault = self._tools.prepare(self._job, effect, inputs, starts, self._shared)
        if fault is not None:
            return StepEnd(RunDone(self._job.claim.run_id, ok=False, error=fault))
        shown, masked = (None, False) if effect.wants_event else self._tools.without_secrets(inputs)
        sealed = self._tools.sealed(inputs) if masked else ""
        at, ran = self._tools.now_ms(), effect.runnable
        begun = Begun(at, shown, ran.path, ran.version, starts, masked, sealed)
        self._records.note_begin(effect.key, begun)
        self._heed(self._tools.ask(self._checkpoint()))
        return self._tools.steps.run(self._job, script, timeout_s, tick)

    def _ended(self, effect: Execute, answer: RunDone) -> Answer:
        now = self._tools.now_ms()
        self.labels.update(dict.fromkeys(answer.labels))
        raw = msgspec.Raw(answer.result_json) if answer.result_json else _NULL
        labels = list(answer.labels)
        try:
            sent = self._tools.outgoing(self._job, effect, answer)
        except HeadraceError as problem:
            return self._failed(effect, faults.unsendable(problem.message), answer.log)
        result = faults.read_result(answer.result_json)
        if isinstance(result, Failed):
            return self._failed(effect, result, answer.log)
        if answer.ok:
            self._records.note_end(effect.key, RawEnded(now, True, raw, None, answer.log, labels), sent)  # noqa: FBT003
            if effect.wants_event:
                self._records.put(INPUT, answer.result_json or b"null")
            return result
        error = faults.error_dict(answer.error) | {"step_id": effect.step}
        self._records.note_end(effect.key, RawEnded(now, False, raw, error, answer.log, labels))  # noqa: FBT003
        return Failed(error, result.result)

    def _failed(self, effect: Execute, fault: Failed, log: str) -> Answer:
        error = {"step_id": effect.step} | fault.error
        record = RawEnded(self._tools.now_ms(), False, _NULL, error, log, limit=fault.limit)  # noqa: FBT003
        self._records.note_end(effect.key, record)
        return Failed(error, limit=fault.limit)

    def _inputs(self, effect: Execute, begun: Begun | None) -> Answer:
        if effect.wants_event:
            return Done(event_of(self._job))
        first = begun or (self._records.begun(effect.inputs_of) if effect.inputs_of else None)
        if first is None or (first.masked and not first.sealed):
            return self._tools.evaluator.inputs_of(effect)
        return Done(self._tools.opened(first.sealed) if first.masked else first.inputs)

    def _script(self, effect: Execute, tick: Callable[[], None]) -> ScriptFiles | RunErrorInfo:
        """The script with its packages. A worker that is told to stop begins no step more."""
        while not self._tools.stop.requested:
            found = self._tools.script(effect.runnable)
            if found is not None:
                return found
            tick()
        self._let_go(0)
        raise LetGo

    def _noted(self, key: str, answer: Answer) -> Answer:
        """What it has come to is recorded; an error without secrets, which an expression may have thrown."""
        if isinstance(answer, Failed):
            answer = msgspec.structs.replace(answer, error=self._tools.without_secrets(answer.error)[0])
        self._records.note(key, answer)
        return answer

    def _let_go(self, seconds: float, fan: str = "") -> None:
        self._heed(self._tools.park(self._job, self._records, seconds, fan))
        raise LetGo

    def _checkpoint(self) -> Call[Reply]:
        claim, records = self._job.claim, self._records
        return checkpoint(self._tools.worker, claim.run_id, claim.execution, records.news, progress=records.progress)

    def _heed(self, reply: Reply | None) -> None:
        """Go on only if Redis knows all, and the run is ours."""
        if reply is None or reply == "not ours":
            raise LetGo
        self._records.kept()
        if reply == "cancelled":
            raise Cancelled

    @property
    def _qos(self) -> int:
        return int(self._job.claim.run_id[1])
