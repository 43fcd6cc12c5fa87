"""What surrounds a step of a flow: whether it is run at all, whether the flow goes on after it, and when. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.openflow import MAX_SECONDS, BranchAll, FlowModule, ForLoop, InputTransform, StopAfterIf, WhileLoop
from worker.flows.asking import EARLY_STOP, Asker, Failure, Stop, misplaced
from worker.flows.effects import Asking, Evaluate, Failed, Place
from worker.flows.scope import Scope


class Conditions:
    """Asks for what the fields of a step come to. All throw Failure."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    def is_skipped(self, module: FlowModule, key: str, scope: Scope) -> Asking[bool]:
        """Whether the step is not run."""
        if module.skip_if is None:
            return False
        place = Place(module.id, "skip_if")
        return (yield from self._asker.judge(f"{key}?skip", place, module.skip_if.expr, scope.before()))

    def stop_after(self, module: FlowModule, key: str, scope: Scope, result: Any) -> Asking[None]:
        """Throws Stop, or Failure, if an expression says so. In a loop, `stop_after_if` is about its iterations."""
        if isinstance(module.value, ForLoop | WhileLoop | BranchAll):
            if module.stop_after_all_iters_if is not None:
                place = Place(module.id, "stop_after_all_iters_if")
                yield from self._stop_if(key, place, module.stop_after_all_iters_if, scope, result)
        elif module.stop_after_if is not None:
            place = Place(module.id, "stop_after_if")
            yield from self._stop_if(key, place, module.stop_after_if, scope, result)

    def rest(self, module: FlowModule, sleep: InputTransform, key: str, variables: Mapping[str, Any]) -> Asking[float]:
        """Seconds that pass after the step, before the next one."""
        place = Place(module.id, "sleep")
        seconds: Any = yield from self._asker.ask(Evaluate(f"{key}?sleep", place, sleep, variables), module.id)
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds <= MAX_SECONDS:
            raise misplaced(place, seconds, f"a number of seconds, {MAX_SECONDS} at most")
        return float(seconds)

    def _stop_if(self, key: str, place: Place, stop: StopAfterIf, scope: Scope, result: Any) -> Asking[None]:
        if not (yield from self._asker.judge(f"{key}?stop", place, stop.expr, scope.after(result))):
            return
        if stop.error_message is None or stop.skip_if_stopped:
            raise Stop(result, key, skipped=stop.skip_if_stopped)
        error = {"name": EARLY_STOP, "message": stop.error_message, "step_id": place.step}
        if stop.error_include_result:
            error["result"] = result
        raise Failure(Failed(error), stops=True)
