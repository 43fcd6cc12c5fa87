"""Flows carried out directly, by recursion, without keys and without memory: what the interpreter is compared with."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.definitions import Flow
from shared.openflow import (
    BranchAll,
    BranchOne,
    FlowModule,
    FlowStep,
    ForLoop,
    Identity,
    InputTransform,
    RawScript,
    Static,
    StopAfterIf,
    WhileLoop,
)

Variables = dict[str, Any]
Expressions = Mapping[str, Callable[[Variables], Any]]
"""What texts mean."""


class StepFailed(Exception):
    """A step has failed."""

    def __init__(self, error: dict[str, Any], *, handled: bool = False) -> None:
        super().__init__()
        self.error = error
        self.handled = handled


class Ends(StepFailed):
    """A step has asked for a bad end of the loop or flow around it."""


class StopsEarly(Exception):
    """A step has asked for a good one."""

    def __init__(self, result: Any, *, skipped: bool) -> None:
        super().__init__()
        self.result = result
        self.skipped = skipped


class Direct:
    """Carries out one flow. `call` is told id and inputs of each step that is executed, and gives its result or raises
    StepFailed; `wait` is told of each wait.
    """

    def __init__(
        self,
        expressions: Expressions,
        call: Callable[[str, Variables], Any],
        wait: Callable[[float], None],
        flows: Mapping[str, Flow],
    ) -> None:
        self._expressions = expressions
        self._call = call
        self._wait = wait
        self._flows = flows
        self._tired = 0.0

    def flow(self, flow: Flow, given: Variables) -> tuple[Any, bool]:
        """Result, and whether it was skipped. Raises StepFailed."""
        results: Variables = {}
        try:
            if not flow.value.modules:
                return given, False
            return self._steps(flow, flow.value.modules, given, results), False
        except StopsEarly as stop:
            return stop.result, stop.skipped
        except StepFailed as failed:
            self._tired = 0
            module = flow.value.failure_module
            if module is None or failed.handled:
                raise StepFailed(failed.error, handled=failed.handled) from None
            try:
                result = self._tried(flow, module, given, results, {"error": failed.error}, failed.error)
            except StepFailed as second:
                said = f"{failed.error['message']} (and the failure module failed: {second.error['message']})"
                raise StepFailed({**failed.error, "message": said}, handled=True) from None
            if isinstance(result, dict) and result.get("recover") is True:
                return result, False
            raise StepFailed(failed.error, handled=True) from None

    def _steps(self, flow: Flow, modules: Sequence[FlowModule], given: Variables, results: Variables) -> Any:
        if not modules:
            return []
        before: Any = given
        for module in modules:
            if self._tired:
                self._wait(self._tired)
                self._tired = 0
            before = self._step(flow, module, given, results, before)
            results[module.id] = before
        return before

    def _step(self, flow: Flow, module: FlowModule, given: Variables, results: Variables, before: Any) -> Any:
        known = {"flow_input": given, "results": results, "previous_result": before}
        inner = isinstance(module.value, ForLoop | WhileLoop | BranchAll)
        failed = False
        if module.mock is not None and module.mock.enabled:
            result = module.mock.return_value
        elif module.skip_if is not None and self._is(module.skip_if.expr, known):
            result = before
        else:
            try:
                result = self._tried(flow, module, given, results, before)
            except Ends:
                raise
            except StepFailed as failure:
                if not module.continue_on_error:
                    raise
                failed, result = True, {"error": failure.error}
        stop = module.stop_after_all_iters_if if inner else module.stop_after_if
        if stop is not None and not failed:
            self._stop(module, stop, known, result)
        if module.sleep is not None:
            self._tired = self._value(module.sleep, known | {"result": result, "previous_result": result})
        return result

    def _stop(self, module: FlowModule, stop: StopAfterIf, known: Variables, result: Any) -> None:
        if not self._is(stop.expr, known | {"result": result, "previous_result": result}):
            return
        if stop.error_message is not None and not stop.skip_if_stopped:
            raise Ends({"name": "EarlyStopError", "message": stop.error_message, "step_id": module.id})
        raise StopsEarly(result, skipped=stop.skip_if_stopped)

    def _tried(
        self,
        flow: Flow,
        module: FlowModule,
        given: Variables,
        results: Variables,
        before: Any,
        error: Any = None,
    ) -> Any:
        left = module.retry.constant.attempts if module.retry else 0
        while True:
            try:
                return self._done(flow, module, given, results, before, error)
            except Ends:
                self._tired = 0
                raise
            except StepFailed as failed:
                self._tired = 0
                if not left or module.retry is None:
                    raise
                left -= 1
                condition = module.retry.retry_if
                known = {"flow_input": given, "results": results, "result": {"error": failed.error}}
                if condition is not None and not self._is(condition, known | {"previous_result": known["result"]}):
                    raise
                if module.retry.constant.seconds:
                    self._wait(module.retry.constant.seconds)

    def _done(  # noqa: PLR0911
        self, flow: Flow, module: FlowModule, given: Variables, results: Variables, before: Any, error: Any
    ) -> Any:
        known = {"flow_input": given, "results": results, "previous_result": before}
        if error is not None:
            known["error"] = error
        match module.value:
            case Identity():
                return before
            case RawScript(input_transforms=transforms):
                inputs = {name: self._value(each, known) for name, each in transforms.items()}
                return self._call(module.id, inputs)
            case FlowStep(input_transforms=transforms):
                inputs = {name: self._value(each, known) for name, each in transforms.items()}
                return self.flow(self._flows[flow.runnables[module.id].version], inputs)[0]
            case BranchOne(branches=branches, default=default):
                taken = next((each.modules for each in branches if self._is(each.expr, known)), default)
                return self._steps(flow, taken, given, results)
            case BranchAll() as step:
                return self._branches(flow, step, given, results)
            case ForLoop() as loop:
                found = self._value(loop.iterator, known)
                if not isinstance(found, list):
                    said = f"step {module.id}, iterator: it gives {json.dumps(found)}, not a list"
                    raise StepFailed({"name": "ExpressionError", "message": said, "step_id": module.id})
                items = list(enumerate(found))
                return self._loop(flow, module, loop, items, given, results, before)
            case WhileLoop() as loop:
                endless = [(number, number) for number in range(100)]
                return self._loop(flow, module, loop, endless, given, results, before)
        raise AssertionError(module)

    def _branches(self, flow: Flow, step: BranchAll, given: Variables, results: Variables) -> list[Any]:
        apart = step.parallel and len(step.branches) > 1
        found: list[Any] = []
        failures: list[StepFailed] = []
        for branch in step.branches:
            try:
                found.append(self._steps(flow, branch.modules, given, dict(results) if apart else results))
            except StopsEarly as stop:
                if not apart:
                    raise
                found.append(stop.result)
            except StepFailed as failed:
                if not branch.skip_failure or (isinstance(failed, Ends) and not apart):
                    if not apart:
                        raise
                    failures.append(failed)
                found.append({"error": failed.error})
            if apart:
                self._tired = 0
        if failures:
            raise StepFailed(failures[0].error)
        return found

    def _loop(  # noqa: C901, PLR0912
        self,
        flow: Flow,
        module: FlowModule,
        loop: ForLoop | WhileLoop,
        items: Sequence[tuple[int, Any]],
        given: Variables,
        results: Variables,
        before: Any,
    ) -> list[Any]:
        apart = isinstance(loop, ForLoop) and loop.parallel and len(items) > 1
        found: list[Any] = []
        failures: list[StepFailed] = []
        for number, item in items:
            inner = dict(given)
            if "iter" in inner:
                inner["iter_parent"], older = inner["iter"], inner.get("iter_parent")
                if older is not None:
                    inner["iter_parent_parent"] = older
            inner["iter"] = {"index": number, "value": item}
            try:
                result = self._steps(flow, loop.modules, inner, dict(results) if apart else results)
                found.append(result)
                known = {"flow_input": inner, "results": results, "previous_result": result, "result": result}
                known["all_iters"] = found
                if not apart and module.stop_after_if is not None and self._is(module.stop_after_if.expr, known):
                    break
            except StopsEarly as stop:
                found.append(stop.result)
                if not apart:
                    break
            except StepFailed as failed:
                if loop.skip_failures:
                    found.append({"error": failed.error})
                    if isinstance(failed, Ends) and not apart:
                        break
                elif apart:
                    failures.append(failed)
                else:
                    raise StepFailed(failed.error, handled=failed.handled) from None
            if apart:
                self._tired = 0
        if failures:
            raise StepFailed(failures[0].error)
        del before
        return found

    def _is(self, expr: str, known: Variables) -> bool:
        value = self._expressions[expr](known)
        return isinstance(value, list | dict) or bool(value)

    def _value(self, transform: InputTransform, known: Variables) -> Any:
        return transform.value if isinstance(transform, Static) else self._expressions[transform.expr](known)
