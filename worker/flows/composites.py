"""Steps that consist of steps: branches and loops. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from shared.openflow import BranchAll, BranchOne, FlowModule, ForLoop, WhileLoop
from worker.flows.asking import Asker, Failure, Stop, failure_result, misplaced
from worker.flows.effects import Answer, Asking, Choose, Done, Entered, Evaluate, Failed, FanOut, Left, Place, Turn
from worker.flows.scope import Scope

Composite = BranchOne | BranchAll | ForLoop | WhileLoop
RunList = Callable[[Sequence[FlowModule], str, Scope], Asking[Any]]
"""The result of the last of these steps, whose keys begin so. Throws Failure and Stop."""


class Composites:
    """What each of them comes to, by `run` for the lists of steps in them. All throw Failure and Stop."""

    def __init__(self, asker: Asker, run: RunList) -> None:
        self._asker = asker
        self._run = run

    def steps(self, module: FlowModule, step: Composite, key: str, scope: Scope) -> Asking[Any]:
        """What it comes to."""
        match step:
            case BranchOne():
                return self._branch_one(module, step, key, scope)
            case BranchAll():
                return self._branch_all(module, step, key, scope)
            case ForLoop():
                return self._for_loop(module, step, key, scope)
            case WhileLoop():
                return self._while_loop(module, step, key, scope)

    def part(self, modules: Sequence[FlowModule], key: str, scope: Scope) -> Asking[Any]:
        """The result of an iteration or a branch."""
        result = yield from self._asker.leaving(key, self._run(modules, f"{key}/", scope))
        yield Left(key, Done(result), of=scope.previous_at)
        return result

    def _branch_one(self, module: FlowModule, step: BranchOne, key: str, scope: Scope) -> Asking[Any]:
        """The result of the branch that is taken. The default one has the number after the last."""
        yield Entered(key)
        exprs = [branch.expr for branch in step.branches]
        asked = Choose(f"{key}?branch", Place(module.id, "branches"), exprs, scope.before())
        chosen = yield from self._asker.ask(asked, module.id)
        modules = step.default if chosen is None else step.branches[chosen].modules
        number = len(exprs) if chosen is None else chosen
        result = yield from self.part(modules, f"{key}/{number}", scope.within())
        yield Left(key, Done(result), of=f"{key}/{number}")
        return result

    def _branch_all(self, module: FlowModule, step: BranchAll, key: str, scope: Scope) -> Asking[list[Any]]:
        """The results of all branches."""
        yield Entered(key)
        if step.parallel and len(step.branches) > 1:
            skips = [branch.skip_failure for branch in step.branches]
            return (yield from self._side_by_side(module, key, [None] * len(skips), None, skips, scope))
        results: list[Any] = []
        for number, branch in enumerate(step.branches):
            try:
                results.append((yield from self.part(branch.modules, f"{key}/{number}", scope.within())))
            except Failure as failure:
                if not branch.skip_failure or failure.is_certain:
                    raise
                results.append(failure.result)
        return (yield from _listed(key, results))

    def _for_loop(self, module: FlowModule, loop: ForLoop, key: str, scope: Scope) -> Asking[list[Any]]:
        """The results of all iterations."""
        place = Place(module.id, "iterator")
        asked = Evaluate(f"{key}?items", place, loop.iterator, scope.variables())
        items = yield from self._asker.ask(asked, module.id)
        if not isinstance(items, list):
            raise misplaced(place, items, "a list")
        yield Entered(key, items=items)
        iterations = [_iteration(number, item) for number, item in enumerate(items)]
        if loop.parallel and len(items) > 1:
            parallelism = yield from self._parallelism(module, loop, key, scope)
            skips = [loop.skip_failures] * len(items)
            return (yield from self._side_by_side(module, key, iterations, parallelism, skips, scope))
        results: list[Any] = []
        for number, iteration in enumerate(iterations):
            if (yield from self._iterate(module, loop, f"{key}/{number}", scope.within(iteration), results)):
                break
        return (yield from _listed(key, results))

    def _while_loop(self, module: FlowModule, loop: WhileLoop, key: str, scope: Scope) -> Asking[list[Any]]:
        """The results of all iterations, however many."""
        yield Entered(key)
        results: list[Any] = []
        while True:
            number = len(results)
            yield from self._asker.ask(Turn(f"{key}/{number}?turn", self._asker.limit), module.id)
            inner = scope.within(_iteration(number, number))
            if (yield from self._iterate(module, loop, f"{key}/{number}", inner, results)):
                return (yield from _listed(key, results))

    def _iterate(
        self, module: FlowModule, loop: ForLoop | WhileLoop, key: str, scope: Scope, results: list[Any]
    ) -> Asking[bool]:
        """One iteration, whose result is added; True if it was the last."""
        try:
            result = yield from self.part(loop.modules, key, scope)
        except Stop as stop:
            results.append(stop.result)
            return True
        except Failure as failure:
            if not loop.skip_failures or failure.is_out_of_time:
                raise Failure(failure.failed, failure.at, handled=failure.handled) from None
            results.append(failure.result)
            return failure.stops
        results.append(result)
        if module.stop_after_if is None:
            return False
        variables = {**scope.after(result), "all_iters": results}
        place = Place(module.id, "stop_after_if")
        return (yield from self._asker.judge(f"{key}?stop", place, module.stop_after_if.expr, variables))

    def _parallelism(self, module: FlowModule, loop: ForLoop, key: str, scope: Scope) -> Asking[int | None]:
        if loop.parallelism is None:
            return None
        place = Place(module.id, "parallelism")
        asked = Evaluate(f"{key}?parallelism", place, loop.parallelism, scope.variables())
        wanted = yield from self._asker.ask(asked, module.id)
        if wanted is not None and (not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 1):
            raise misplaced(place, wanted, "a number of at least 1")
        return wanted

    def _side_by_side(
        self,
        module: FlowModule,
        key: str,
        iterations: Sequence[Any],
        parallelism: int | None,
        skips: Sequence[bool],
        scope: Scope,
    ) -> Asking[list[Any]]:
        """The results of parts that are carried out at the same time. All of them end before one that failed counts."""
        answers: dict[int, Answer] = {}
        missing, fan, turn = list(range(len(iterations))), key, 0
        while missing:
            parts = [(number, iterations[number]) for number in missing]
            asked = FanOut(
                f"{fan}!parts", key, fan, parts, parallelism, scope.flow_input, scope.results, self._asker.limit
            )
            answers.update(zip(missing, (yield from self._asker.ask(asked, module.id)), strict=True))
            bad = [(number, _badly(answers[number], skips[number])) for number in missing]
            missing = [number for number, failed in bad if failed is not None]
            if missing and not (yield from self._asker.again(fan)):
                raise Failure(_worst([failed for _, failed in bad if failed is not None]), fan)
            turn += 1
            fan = f"{key}#{turn}"
        return (yield from _listed(key, [_result(answers[number]) for number in range(len(iterations))]))


def _listed(key: str, results: list[Any]) -> Asking[list[Any]]:
    """These results of all iterations or branches."""
    yield Left(key, Done(results), parts=len(results))
    return results


def _iteration(number: int, item: Any) -> dict[str, Any]:
    return {"index": number, "value": item}


def _badly(answer: Answer, skip: bool) -> Failed | None:  # noqa: FBT001
    """Its failure, if it counts: that the time was over does always."""
    return answer if isinstance(answer, Failed) and (answer.limit or not skip) else None


def _worst(failures: Sequence[Failed]) -> Failed:
    return next((each for each in failures if each.limit), failures[0])


def _result(answer: Answer) -> Any:
    return answer.result if isinstance(answer, Done) else failure_result(answer)
