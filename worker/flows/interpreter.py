"""What a flow does next: OpenFlow as a generator that asks for effects and is told what came of them. Pure.

It has no clock, no chance and no memory: begun anew and given the same answers, it asks for the same effects. So a
flow is kept through crashes by keeping the answers (`worker.flows.effects`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from shared.definitions import Flow
from shared.flow_records import TIMED_OUT, Limit
from shared.openflow import (
    FAILURE,
    PREPROCESSOR,
    FlowModule,
    FlowStep,
    Identity,
    RawScript,
    ScriptStep,
)
from worker.flows.asking import Asker, Failure, Stop, of_step
from worker.flows.composites import Composites
from worker.flows.conditions import Conditions
from worker.flows.effects import Asking, Done, Enter, Entered, Execute, Failed, Later, Left, Outcome, Place
from worker.flows.parts import Part
from worker.flows.scope import Scope

STOPPED_EARLY = "stopped early"


def interpret(
    flow: Flow,
    flows: Mapping[str, Flow],
    arguments: dict[str, Any] | None,
    constants: Mapping[str, Any] | None = None,
) -> Asking[Outcome]:
    """A whole flow. `flows` are those within it, by version. `arguments` None: its preprocessor makes them of an event.

    `constants` are further variables of expressions: `flow_job_id`, `started_at`, `WM_SCHEDULED_FOR`.
    """
    return _Interpreter(flows, constants or {}).run(flow, arguments)


def interpret_part(
    part: Part,
    flows: Mapping[str, Flow],
    known: Known,
    constants: Mapping[str, Any] | None = None,
) -> Asking[Outcome]:
    """A branch or an iteration that is carried out on its own."""
    return _Interpreter(flows, constants or {}, known.limit).run_part(part, known)


class Known(msgspec.Struct, frozen=True):
    """What a part knows, as `FanOut` has told it."""

    flow_input: dict[str, Any]
    results: dict[str, Any]
    iteration: dict[str, Any] | None = None
    limit: Limit | None = None


class _End(msgspec.Struct, frozen=True):
    """The result of a flow, whether it is marked as skipped, and where it stands that has it ('' nowhere)."""

    result: Any
    skipped: bool = False
    of: str = ""


class _Interpreter:
    def __init__(self, flows: Mapping[str, Flow], constants: Mapping[str, Any], limit: Limit | None = None) -> None:
        self._flows = flows
        self._constants = constants
        self._asker = Asker(limit)
        self._composites = Composites(self._asker, self._list)
        self._conditions = Conditions(self._asker)
        self._rest: tuple[str, float] | None = None

    def run(self, flow: Flow, arguments: dict[str, Any] | None) -> Asking[Outcome]:
        """To the end of the whole."""
        try:
            if arguments is None:
                arguments = yield from self._preprocess(flow)
            end = yield from self._flow(flow, "", arguments)
        except Failure as failure:
            return _badly(failure)
        return Outcome(ok=True, result=end.result, skipped=end.skipped)

    def run_part(self, part: Part, known: Known) -> Asking[Outcome]:
        """To the end of the part."""
        scope = self._scope(part.flow, known.flow_input)
        scope.results.update(known.results)
        try:
            key = part.key.removesuffix("/")
            result = yield from self._composites.part(part.modules, key, scope.within(known.iteration))
        except Stop as stop:
            return Outcome(ok=True, result=stop.result, skipped=stop.skipped)
        except Failure as failure:
            return _badly(failure)
        return Outcome(ok=True, result=result)

    def _scope(self, flow: Flow, flow_input: dict[str, Any]) -> Scope:
        constants = {**self._constants, "flow_env": flow.value.flow_env}
        return Scope(flow, flow_input, {}, constants, flow_input)

    def _preprocess(self, flow: Flow) -> Asking[dict[str, Any]]:
        module = flow.value.preprocessor_module
        if module is None:
            return {}
        scope = self._scope(flow, {})
        try:
            made = yield from self._attempts(module, module.id, scope)
        except Failure as failure:
            raise (yield from self._after_failure("", scope, failure)) from None
        return {} if made is None else made if isinstance(made, dict) else {"value": made}

    def _flow(self, flow: Flow, prefix: str, flow_input: dict[str, Any]) -> Asking[_End]:
        """How a flow ends that ends well. Throws Failure."""
        value = flow.value
        scope = self._scope(flow, flow_input)
        try:
            if value.skip_expr is not None:
                place = Place("", "skip_expr")
                if (yield from self._asker.judge(f"{prefix}?skip", place, value.skip_expr, scope.variables())):
                    return _End(STOPPED_EARLY, skipped=True)
            if not value.modules:
                return _End(flow_input)
            return _End((yield from self._list(value.modules, prefix, scope)), of=scope.previous_at)
        except Stop as stop:
            return _End(stop.result, stop.skipped, stop.at)
        except Failure as failure:
            failed = yield from self._after_failure(prefix, scope, failure)
            if failed.handled and not failure.handled and _recovers(failed.failed.result):
                return _End(failed.failed.result)
            raise failed from None

    def _after_failure(self, prefix: str, scope: Scope, failure: Failure) -> Asking[Failure]:
        """Run the failure module, once, of the innermost flow that has one."""
        module = scope.flow.value.failure_module
        self._rest = None
        if module is None or failure.handled or failure.is_out_of_time:
            return Failure(failure.failed, failure.at, handled=failure.handled)
        key = prefix + FAILURE + (f"#{self._asker.overruled}" if self._asker.overruled else "")
        constants = {**scope.constants, "error": failure.failed.error}
        inner = Scope(scope.flow, scope.flow_input, scope.results, constants, failure.result)
        try:
            result = yield from self._attempts(module, key, inner)
        except Failure as second:
            return Failure(
                failure.because(f"and the failure module failed: {second.message}"), failure.at, handled=True
            )
        return Failure(Failed(failure.failed.error, result), failure.at, handled=True)

    def _list(self, modules: Sequence[FlowModule], prefix: str, scope: Scope) -> Asking[Any]:
        """The result of the last of these steps; an empty list where there are none (Windmill)."""
        if not modules:
            return []
        for module in modules:
            if self._rest is not None:
                (key, seconds), self._rest = self._rest, None
                yield from self._asker.wait(key, seconds, module.id)
            scope.previous = yield from self._module(module, prefix + module.id, scope)
            scope.previous_at = prefix + module.id
            scope.results[module.id] = scope.previous
        return scope.previous

    def _module(self, module: FlowModule, key: str, scope: Scope) -> Asking[Any]:
        """The result of a step, with all that surrounds it."""
        try:
            if module.mock is not None and module.mock.enabled:
                result = module.mock.return_value
                yield Left(key, Done(result), how="mocked")
            elif (yield from self._conditions.is_skipped(module, key, scope)):
                result = scope.previous
                yield Left(key, Done(result), of=scope.previous_at, how="skipped")
            else:
                result = yield from self._attempts(module, key, scope)
        except Failure as failure:
            if not module.continue_on_error or failure.is_certain:
                raise
            result = failure.result
        else:
            yield from self._conditions.stop_after(module, key, scope, result)
        if module.sleep is not None:
            seconds = yield from self._conditions.rest(module, module.sleep, key, scope.after(result))
            self._rest = (f"{key}!sleep", seconds) if seconds else None
        return result

    def _attempts(self, module: FlowModule, key: str, scope: Scope) -> Asking[Any]:
        """The result of what a step consists of, after as many attempts as its policy has."""
        made = number = 0
        while True:
            attempt = f"{key}~{number}" if number else key
            try:
                return (yield from self._value(module, attempt, key, scope))
            except Failure as failure:
                self._rest = None
                number += 1
                if failure.is_certain:
                    if failure.stops or failure.at != attempt or not (yield from self._asker.again(attempt)):
                        raise
                    made = 0
                elif (delay := (yield from self._later(module, attempt, made, scope, failure))) is not None:
                    made += 1
                    if delay > 0:
                        yield from self._asker.wait(f"{attempt}!retry", delay, module.id)
                elif failure.at == attempt and (yield from self._asker.again(attempt)):
                    made = 0
                else:
                    raise

    def _later(
        self, module: FlowModule, attempt: str, made: int, scope: Scope, failure: Failure
    ) -> Asking[float | None]:
        """Seconds until the next attempt, None if there is to be none."""
        if module.retry is None:
            return None
        variables = {**scope.after(failure.result), "error": failure.failed.error}
        answer = yield Later(f"{attempt}?retry", module.id, module.retry, made, variables)
        if isinstance(answer, Failed):
            failure.failed = failure.because(f"not tried again: {answer.error.get('message')}")
            return None
        delay: float | None = answer.result
        return delay

    def _value(self, module: FlowModule, key: str, first: str, scope: Scope) -> Asking[Any]:
        match module.value:
            case RawScript() | ScriptStep() as step:
                result = yield from self._execute(module, step, key, first, scope)
            case FlowStep() as step:
                result = yield from self._asker.leaving(key, self._sub_flow(module, step, key, scope))
            case Identity():
                result = scope.previous
                yield Left(key, Done(result), of=scope.previous_at)
            case composite:
                steps = self._composites.steps(module, composite, key, scope)
                within = self._asker.within(key, module, {**scope.variables(), "params": {}}, steps)
                result = yield from self._asker.leaving(key, within)
        return result

    def _execute(
        self, module: FlowModule, step: RawScript | ScriptStep, key: str, first: str, scope: Scope
    ) -> Asking[Any]:
        answer = yield Execute(
            key,
            module.id,
            scope.flow.runnables[module.id],
            step.input_transforms,
            scope.variables(),
            module.timeout,
            inputs_of=first if first != key else "",
            wants_event=module.id == PREPROCESSOR,
            limit=self._asker.limit,
        )
        if isinstance(answer, Done):
            return answer.result
        raise Failure(of_step(answer, module.id), key)

    def _sub_flow(self, module: FlowModule, step: FlowStep, key: str, scope: Scope) -> Asking[Any]:
        enter = Enter(f"{key}?inputs", module.id, step.input_transforms, scope.variables())
        inputs = yield from self._asker.ask(enter, module.id)
        inner = self._flows[scope.flow.runnables[module.id].version]
        yield Entered(key, inputs)
        variables = {**scope.variables(), "params": inputs}
        end = yield from self._asker.within(key, module, variables, self._flow(inner, f"{key}/", inputs))
        yield Left(key, Done(end.result), of=end.of)
        return end.result


def _recovers(result: Any) -> bool:
    return isinstance(result, dict) and result.get("recover") is True


def _badly(failure: Failure) -> Outcome:
    failed = failure.failed
    error = failed.error | {"extra": {TIMED_OUT: failed.limit}} if failed.limit else failed.error
    return Outcome(ok=False, result=failed.result, error=error, failed_at=failure.at)
