"""A flow as OpenFlow describes it, as typed records; what a push has checked and normalised (Windmill, OpenFlow).

Names and shapes are OpenFlow's, but for these: `retry` is `shared.retry_policy.Retry`, a number that may be computed
(`timeout`, `sleep`, `parallelism`) is always an input transform, and the code of a `rawscript` is no part of a deployed
flow: it is a script of its own, which the flow names (`shared.definitions.Flow.runnables`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from shared.retry_policy import Retry

FAILURE: Final = "failure"
"""The id of `failure_module`."""
PREPROCESSOR: Final = "preprocessor"
"""The id of `preprocessor_module`."""

MAX_SECONDS: Final = 7 * 24 * 3600
"""The longest `timeout` and `sleep`."""


class Static(msgspec.Struct, frozen=True, tag_field="type", tag="static"):
    """A value that stands there. Texts `$var:…` and `$res:…` are put in place when the step starts."""

    value: Any = None


class JavaScript(msgspec.Struct, frozen=True, tag_field="type", tag="javascript"):
    """An expression over `flow_input`, `results`, `previous_result` and others (`shared.flow_names`)."""

    expr: str


InputTransform = Static | JavaScript
Inputs = dict[str, InputTransform]


class StopAfterIf(msgspec.Struct, frozen=True, omit_defaults=True):
    """True: the flow ends after this step, well (`skip_if_stopped`: as skipped), or badly with `error_message`."""

    expr: str
    skip_if_stopped: bool = False
    error_message: str | None = None
    error_include_result: bool = False


class SkipIf(msgspec.Struct, frozen=True):
    """True: the step is not run."""

    expr: str


class Mock(msgspec.Struct, frozen=True, omit_defaults=True):
    """While `enabled`, the step is not run and has this result."""

    enabled: bool = False
    return_value: Any = None


class RawScript(msgspec.Struct, frozen=True, tag_field="type", tag="rawscript"):
    """Code that belongs to the flow."""

    input_transforms: Inputs = {}


class ScriptStep(msgspec.Struct, frozen=True, tag_field="type", tag="script"):
    """A script of the workspace."""

    path: str
    input_transforms: Inputs = {}


class FlowStep(msgspec.Struct, frozen=True, tag_field="type", tag="flow"):
    """Another flow, run within the same run."""

    path: str
    input_transforms: Inputs = {}


class Branch(msgspec.Struct, frozen=True, omit_defaults=True):
    """A branch of `branchall`. `skip_failure`: its failure is its result."""

    modules: list[FlowModule]
    summary: str = ""
    skip_failure: bool = False


class ConditionalBranch(msgspec.Struct, frozen=True, omit_defaults=True):
    """A branch of `branchone`, taken if it is the first whose expression is true."""

    expr: str
    modules: list[FlowModule]
    summary: str = ""


class BranchOne(msgspec.Struct, frozen=True, tag_field="type", tag="branchone"):
    """The first branch that fits, or `default`. Its result is that of the last step taken."""

    branches: list[ConditionalBranch]
    default: list[FlowModule] = []


class BranchAll(msgspec.Struct, frozen=True, tag_field="type", tag="branchall"):
    """Every branch, one after another or all at once. Its result is the list of theirs."""

    branches: list[Branch]
    parallel: bool = False


class ForLoop(msgspec.Struct, frozen=True, tag_field="type", tag="forloopflow"):
    """The modules for each item of `iterator`. Its result is the list of those of its iterations.

    `parallelism`: how many at once if `parallel`; None, as many as there are.
    """

    modules: list[FlowModule]
    iterator: InputTransform
    skip_failures: bool = False
    parallel: bool = False
    parallelism: InputTransform | None = None


class WhileLoop(msgspec.Struct, frozen=True, tag_field="type", tag="whileloopflow"):
    """The modules again and again, until a `stop_after_if` within them says that it is enough."""

    modules: list[FlowModule]
    skip_failures: bool = False


class Identity(msgspec.Struct, frozen=True, tag_field="type", tag="identity"):
    """Nothing: its result is the previous one."""


Step = RawScript | ScriptStep | FlowStep
"""What runs code, and is given inputs."""
ModuleValue = RawScript | ScriptStep | FlowStep | BranchOne | BranchAll | ForLoop | WhileLoop | Identity


class FlowModule(msgspec.Struct, frozen=True, omit_defaults=True):
    """A step of a flow. `timeout` and `sleep` are in seconds; it sleeps after the step."""

    id: str
    value: ModuleValue
    summary: str = ""
    stop_after_if: StopAfterIf | None = None
    stop_after_all_iters_if: StopAfterIf | None = None
    skip_if: SkipIf | None = None
    sleep: InputTransform | None = None
    timeout: InputTransform | None = None
    retry: Retry | None = None
    continue_on_error: bool = False
    mock: Mock | None = None


class FlowValue(msgspec.Struct, frozen=True, omit_defaults=True):
    """The steps of a flow and what surrounds them. Ids are unique in all of it.

    `failure_module` runs once when nothing else has handled an error; `preprocessor_module` turns a message's event
    into the arguments of the flow. `same_worker`: the steps share a folder `./shared`. `early_return` is the id of a
    step whose result a caller that waits is given.
    """

    modules: list[FlowModule]
    failure_module: FlowModule | None = None
    preprocessor_module: FlowModule | None = None
    same_worker: bool = False
    skip_expr: str | None = None
    flow_env: dict[str, Any] = {}
    early_return: str | None = None


def lists_within(value: ModuleValue) -> list[Sequence[FlowModule]]:
    """The lists of modules that a step consists of: its branches (`default` last), or the body of its loop."""
    match value:
        case BranchOne():
            return [*(branch.modules for branch in value.branches), value.default]
        case BranchAll():
            return [branch.modules for branch in value.branches]
        case ForLoop() | WhileLoop():
            return [value.modules]
        case _:
            return []


def walk_modules(modules: Sequence[FlowModule]) -> Iterator[FlowModule]:
    """Every module of a list in the order of the file, each before those within it."""
    for module in modules:
        yield module
        for inner in lists_within(module.value):
            yield from walk_modules(inner)


def walk(value: FlowValue) -> Iterator[FlowModule]:
    """Every module of a flow: the preprocessor, the steps, the failure module."""
    if value.preprocessor_module is not None:
        yield value.preprocessor_module
    yield from walk_modules(value.modules)
    if value.failure_module is not None:
        yield value.failure_module


def map_modules(value: FlowValue, change: Callable[[FlowModule], FlowModule]) -> FlowValue:
    """The flow with every module as `change` gives it; it is given those within a module after the module."""

    def one(module: FlowModule) -> FlowModule:
        module = change(module)
        match module.value:
            case BranchOne() as step:
                branches = [msgspec.structs.replace(each, modules=many(each.modules)) for each in step.branches]
                return _with(module, msgspec.structs.replace(step, branches=branches, default=many(step.default)))
            case BranchAll() as step:
                forks = [msgspec.structs.replace(each, modules=many(each.modules)) for each in step.branches]
                return _with(module, msgspec.structs.replace(step, branches=forks))
            case ForLoop() | WhileLoop() as step:
                return _with(module, msgspec.structs.replace(step, modules=many(step.modules)))
        return module

    def many(modules: Sequence[FlowModule]) -> list[FlowModule]:
        return [one(module) for module in modules]

    return msgspec.structs.replace(
        value,
        modules=many(value.modules),
        failure_module=value.failure_module and one(value.failure_module),
        preprocessor_module=value.preprocessor_module and one(value.preprocessor_module),
    )


def _with(module: FlowModule, value: ModuleValue) -> FlowModule:
    return msgspec.structs.replace(module, value=value)
