"""Running a flow here and now: its steps in runners as a worker has them, without Redis and without a record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from shared.clock import iso_utc
from shared.definitions import Flow, encode_definition
from shared.errors import HeadraceError, UserError
from shared.event import mqtt_event, payload_argument
from shared.expression_engine import Limits
from shared.expressions import DEFAULT_LIMITS
from shared.flow_records import limit_in
from shared.openflow import FlowStep, Static, walk
from shared.runs import RunSpec
from shared.values import looked_up
from worker.arguments import run_context
from worker.catalog import Catalog
from worker.environment import flow_environment, run_environment
from worker.flow_report import FlowOutcome, StepRun
from worker.flow_stand import Stand, standing_in
from worker.flows.deadlines import Deadlines
from worker.flows.effects import (
    Again,
    Allow,
    Answer,
    Asking,
    Choose,
    Done,
    Effect,
    Enter,
    Entered,
    Execute,
    Failed,
    FanOut,
    Left,
    Outcome,
    Turn,
    Wait,
)
from worker.flows.evaluation import Evaluator, Valued
from worker.flows.faults import error_dict, too_large
from worker.flows.interpreter import Known, interpret, interpret_part
from worker.flows.parts import find_part
from worker.flows.records import RECORDS_MAX
from worker.here import Here
from worker.runners.base import RunCall
from worker.runners.process import Scratch
from worker.trial import RUN_ID, Given, message_of

_MS = 1000
_json = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Manner(msgspec.Struct, frozen=True):
    """How a flow is tried. `waits`: a sleep, or the time before a retry, is waited for; else only told.

    `tell` is called for each step when it has ended. `limits` are those of expressions.
    """

    waits: bool = True
    stand: Stand = Stand()
    tell: Callable[[StepRun], None] = lambda _step: None
    limits: Limits = DEFAULT_LIMITS


def run_flow(catalog: Catalog, here: Here, flow: Flow, given: Given, manner: Manner) -> FlowOutcome:
    """Run a flow of a catalog to its end. Raises HeadraceError for what keeps it, or a step, from being begun."""
    return _FlowTrial(catalog, here, flow, given, manner).run()


class _FlowTrial:
    def __init__(self, catalog: Catalog, here: Here, flow: Flow, given: Given, manner: Manner) -> None:
        self._catalog = catalog
        self._here = here
        self._version, _ = encode_definition(flow)
        self._flow = standing_in(flow, manner.stand)
        self._given = given
        self._manner = manner
        self._message = message_of(given.event) if given.event else None
        self._steps: list[StepRun] = []
        self._evaluator = Evaluator(manner.limits, looked_up(catalog.values.resolve))
        self._deadlines = Deadlines(self._now_ms, self._evaluator)
        self._not_waited_s = 0.0
        self._done = 0
        self._folder: Scratch | None = None
        self._arguments: Any = None
        self._inputs: dict[str, Any] = {}
        self._constants: dict[str, Any] = {}
        self._within = {module.id for module in walk(flow.value) if isinstance(module.value, FlowStep)}

    def run(self) -> FlowOutcome:
        with self._own_folder():
            return self._run()

    @contextmanager
    def _own_folder(self) -> Iterator[None]:
        """The folder `shared` of a flow that asks for one, as a worker has it: one for the flow, one for each part."""
        outer, self._folder = self._folder, Scratch() if self._flow.value.same_worker else None
        try:
            yield
        finally:
            if self._folder is not None:
                self._folder.remove()
            self._folder = outer

    def _run(self) -> FlowOutcome:
        began = time.monotonic()
        began_ms = time.time_ns() // 1_000_000
        self._constants = {
            "flow_job_id": RUN_ID, "started_at": began_ms, "WM_SCHEDULED_FOR": iso_utc(time.time_ns()),
        }  # fmt: skip
        self._arguments = self._first_arguments()
        asking = interpret(self._flow, self._catalog.flow_versions, self._arguments, self._constants)
        ended = self._drive(asking)
        return FlowOutcome(
            self._flow.path, self._version, ended.ok, ended.result, ended.error, ended.skipped, self._arguments,
            self._steps, round((time.monotonic() - began) * 1000, 3),
        )  # fmt: skip

    def _first_arguments(self) -> dict[str, Any] | None:
        """None: the preprocessor makes them of the event."""
        if self._given.args is not None:
            arguments: dict[str, Any] = _json(self._given.args)
            return arguments
        if self._message is None or self._flow.value.preprocessor_module is not None:
            return None
        form = "windmill" if self._given.form == "arguments" else self._given.form
        found = payload_argument(self._message.payload, form)
        if found is None:
            raise UserError(f"the payload is no {form}", hint="the trigger of the event says in which form it comes")
        return found

    def _drive(self, asking: Asking[Outcome]) -> Outcome:
        answer: Answer | None = None
        try:
            while True:
                answer = self._answer(asking.send(answer) if answer is not None else next(asking))
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome

    def _answer(self, effect: Effect) -> Answer:
        if isinstance(effect, Again):
            return Done(False)  # noqa: FBT003 - nobody has asked for it
        if isinstance(effect, Entered | Left):
            return Done()
        self._done += 1
        return too_large() if self._done > RECORDS_MAX else self._act(effect)

    def _act(self, effect: Execute | FanOut | Wait | Allow | Turn | Valued) -> Answer:
        match effect:
            case Execute():
                return self._execute(effect)
            case FanOut():
                return Done([self._part(effect, number, item) for number, item in effect.parts])
            case Wait():
                return self._wait(effect)
            case _:
                return self._instantly(effect)

    def _instantly(self, effect: Allow | Turn | Valued) -> Answer:
        match effect:
            case Allow():
                return self._deadlines.allow(effect)
            case Turn():
                return self._deadlines.over(effect.limit) or Done()
            case _:
                return self._evaluate(effect)

    def _wait(self, effect: Wait) -> Answer:
        seconds, answer = self._deadlines.wait(effect)
        if self._folder is not None:  # a worker lets go of the flow
            self._folder.remove()
            self._folder = Scratch()
        self._ended(StepRun(effect.key, "", "waited" if self._manner.waits else "not waited", waited_s=seconds))
        if self._manner.waits:
            time.sleep(seconds)
        else:
            self._not_waited_s += seconds
        return answer

    def _now_ms(self) -> int:
        """As if all had been waited for."""
        return time.time_ns() // 1_000_000 + round(self._not_waited_s * _MS)

    def _evaluate(self, effect: Valued) -> Answer:
        answer = self._evaluator.evaluate(effect)
        if isinstance(effect, Choose) and isinstance(answer, Done):
            number = len(effect.exprs) if answer.result is None else answer.result
            key = effect.key.removesuffix("?branch")
            self._ended(StepRun(key, effect.place.step, "branch", branch=number))
        if isinstance(effect, Enter) and isinstance(answer, Done):
            return Done(self._resolved(effect, answer.result))
        return answer

    def _part(self, effect: FanOut, number: int, item: Any) -> Answer:
        """One after the other: what comes of them is the same."""
        part = find_part(self._flow, self._catalog.flow_versions, f"{effect.container}/{number}")
        known = Known(effect.flow_input, dict(effect.results), item, effect.limit)
        with self._own_folder():
            ended = self._drive(interpret_part(part, self._catalog.flow_versions, known, self._constants))
        if ended.ok:
            return Done(ended.result)
        error = ended.error or {}
        return Failed(error, ended.result, limit=limit_in(error))

    def _execute(self, effect: Execute) -> Answer:
        own = not any(word.partition("~")[0] in self._within for word in effect.key.split("/")[:-1])
        if own and effect.step in self._manner.stand.errors:
            error = {**self._manner.stand.errors[effect.step], "step_id": effect.step}
            self._ended(StepRun(effect.key, effect.step, "mocked", effect.runnable.path, error=error))
            return Failed(error)
        if own and effect.step in self._manner.stand.results:
            result = self._manner.stand.results[effect.step]
            self._ended(StepRun(effect.key, effect.step, "mocked", effect.runnable.path, result=result))
            return self._went_on(effect, Done(result))
        inputs = self._inputs_of(effect)
        seconds = inputs if isinstance(inputs, Failed) else self._deadlines.timeout(effect, inputs.result)
        if isinstance(seconds, Failed):
            error = {"step_id": effect.step, **seconds.error}
            self._ended(StepRun(effect.key, effect.step, "failed", effect.runnable.path, error=error))
            return msgspec.structs.replace(seconds, error=error)
        self._inputs[effect.key] = inputs.result
        timeout_s = self._deadlines.at_most(effect, seconds.result)
        return self._went_on(effect, self._in_runner(effect, inputs.result, timeout_s))

    def _in_runner(self, effect: Execute, inputs: dict[str, Any], timeout_s: float) -> Answer:
        path, version = effect.runnable.path, effect.runnable.version
        began = time.monotonic()
        try:
            done = self._here.run(
                self._catalog.script_versions[version], version, self._call(effect, inputs), timeout_s
            )
        except HeadraceError as problem:
            raise UserError(f"step {effect.step}: {problem.message}", hint=problem.hint) from problem
        result = _json(done.result_json) if done.result_json else None
        over = None if done.ok else self._deadlines.over(effect.limit)
        error = None if done.ok else {"step_id": effect.step} | (over.error if over else error_dict(done.error))
        self._ended(StepRun(
            effect.key, effect.step, "succeeded" if done.ok else "failed", path, inputs, result, error, done.log,
            duration_ms=round((time.monotonic() - began) * 1000, 3), messages=done.messages if done.ok else (),
        ))  # fmt: skip
        return Done(result) if error is None else Failed(error, result, limit=over.limit if over else "")

    def _went_on(self, effect: Execute, answer: Answer) -> Answer:
        if effect.wants_event and isinstance(answer, Done):
            made = answer.result
            self._arguments = {} if made is None else made if isinstance(made, dict) else {"value": made}
        return answer

    def _inputs_of(self, effect: Execute) -> Answer:
        if effect.wants_event:
            event = None if self._message is None else mqtt_event(self._message)
            payload = {"payload": self._given.event.payload} if self._given.event else {}
            return Done({"event": {**(event or {}), **payload}})
        if effect.inputs_of:
            return Done(self._inputs[effect.inputs_of])
        return self._evaluator.inputs_of(effect)

    def _call(self, effect: Execute, inputs: dict[str, Any]) -> RunCall:
        trigger = self._message.trigger if self._message else ""
        origin = "" if self._message else "api"
        spec = RunSpec(trigger, self._flow.path, self._version, "trial", self._given.captures, b"", None, origin)
        environment = run_environment(RUN_ID, spec, "", self._constants["WM_SCHEDULED_FOR"])
        environment = flow_environment(environment, RUN_ID, spec, effect.key, effect.step) | self._given.environment
        context = run_context(spec, 1, self._message) | {
            "idempotency_key": f"trial/{effect.key}", "step": effect.step,
        }  # fmt: skip
        payload = _encode(self._resolved(effect, inputs))
        shared = self._folder.path if self._folder else ""
        return RunCall(RUN_ID, payload, None, context, "arguments", environment, shared)

    def _resolved(self, effect: Execute | Enter, inputs: dict[str, Any]) -> dict[str, Any]:
        static = {name: inputs[name] for name, each in effect.inputs.items() if isinstance(each, Static)}
        return {**inputs, **self._catalog.values.resolve(static)}

    def _ended(self, step: StepRun) -> None:
        self._steps.append(step)
        self._manner.tell(step)
