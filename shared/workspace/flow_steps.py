"""The value of a flow, read key by key: OpenFlow's modules, and where their expressions and code stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shared.openflow import (
    FAILURE,
    PREPROCESSOR,
    Branch,
    BranchAll,
    BranchOne,
    ConditionalBranch,
    FlowModule,
    FlowStep,
    FlowValue,
    ForLoop,
    Identity,
    InputTransform,
    ModuleValue,
    RawScript,
    ScriptStep,
    Static,
    WhileLoop,
)
from shared.retry_policy import Retry
from shared.workspace.flow_fields import MAX_AT_ONCE, Called, Code, Found
from shared.workspace.problems import did_you_mean
from shared.workspace.references import REFERENCES
from shared.workspace.retries import read_retry
from shared.workspace.step_ids import bad_id
from shared.workspace.yaml_lines import Table

LEFT_OUT_OF_FLOW = (
    "concurrent_limit", "concurrency_time_window_s", "concurrency_key", "debounce_delay_s", "debounce_key",
    "debounce_args_to_accumulate", "max_total_debouncing_time", "max_total_debounces_amount", "cache_ttl",
    "delete_after_secs", "delete_after_use", "priority", "chat_input_enabled",
)  # fmt: skip
LEFT_OUT_OF_MODULE = (
    "suspend", "cache_ttl", "delete_after_secs", "delete_after_use", "priority", "debouncing", "job_token_scopes",
    "pass_flow_input_directly", "apply_preprocessor",
)  # fmt: skip
LEFT_OUT_OF_CODE = ("concurrent_limit", "concurrency_time_window_s", "custom_concurrency_key")
LEFT_OUT_KINDS = ("aiagent",)
NO_MEANING_IN_FLOW = ("preserve_step_tags", "notes", "groups", "cache_ignore_s3_path")
NO_MEANING_IN_CODE = ("path", "tag", "is_trigger", "assets")
NO_MEANING_IN_SCRIPT = ("tag_override", "is_trigger")

_HUB = "hub/"
_STEPS = ("rawscript", "script", "flow")
_REFUSAL = "is not supported"
_REFUSAL_HINT = "leave it out; the flow then does something else than in Windmill"


class Steps:
    """Reads one flow.

    `complete`: every module could be read, so that what is said of their order is true.
    """

    def __init__(self) -> None:
        self.found = Found()
        self.complete = True
        self._shares_folder = False
        self.kinds: dict[str, Callable[[Table, str], ModuleValue | None]] = {
            "rawscript": self._raw_script, "script": self._script, "flow": self._flow, "branchone": self._branch_one,
            "branchall": self._branch_all, "forloopflow": self._for_loop, "whileloopflow": self._while_loop,
            "identity": self._identity,
        }  # fmt: skip

    def read(self, table: Table) -> FlowValue:
        """What stands under `value`."""
        self._shares_folder = table.flag("same_worker") is True
        modules = self._modules(table, "modules", required=True)
        failure = self._special(table, "failure_module", FAILURE, _STEPS)
        preprocessor = self._special(table, "preprocessor_module", PREPROCESSOR, ("rawscript", "script"))
        value = FlowValue(
            modules, failure, preprocessor, self._shares_folder,
            self.found.expression(table, "skip_expr", "skip_expr", ""), self._environment(table),
            table.text("early_return"),
        )  # fmt: skip
        if value.early_return is not None:
            hint = "a message waits for no answer; a caller gets the result of the whole flow"
            table.warn("early_return", "not used yet", hint)
        table.refuse(*LEFT_OUT_OF_FLOW, message=_REFUSAL, hint=_REFUSAL_HINT)
        table.allow(*NO_MEANING_IN_FLOW)
        table.close()
        return value

    def _environment(self, table: Table) -> dict[str, Any]:
        found = table.data("flow_env")
        if found is not None and not isinstance(found, dict):
            table.error("flow_env", "not a table of constants", "write name: value lines under it")
            return {}
        for text in table.texts("flow_env"):
            if text.text.startswith(REFERENCES):
                hint = "give it to a step as a static input"
                table.warn("flow_env", f"{text.text} stays as it is: constants are not replaced", hint)
        return found or {}

    def _special(self, table: Table, key: str, own_id: str, kinds: tuple[str, ...]) -> FlowModule | None:
        if (inner := table.table(key)) is None:
            return None
        module = self._module(inner, own_id, kinds)
        self.complete = self.complete and module is not None
        return module

    def _modules(self, table: Table, key: str, *, required: bool = False) -> list[FlowModule]:
        if required and not table.given(key):
            table.error(key, "missing", "write a list of steps, or []")
        read = [self._module(each) for each in table.tables(key)]
        found = [module for module in read if module is not None]
        self.complete = self.complete and len(found) == len(read)
        return found

    def _module(self, table: Table, own_id: str = "", kinds: tuple[str, ...] = ()) -> FlowModule | None:
        step = self._id(table, own_id)
        if step:
            table.call(f"step {step}")
        value = self._value(table, step, kinds)
        timeout, sleep = self.found.number(table, "timeout", step), self.found.number(table, "sleep", step)
        if timeout is not None and isinstance(value, Identity):
            table.warn("timeout", "not used: the step does nothing", "leave it out")
        stop_after_all = self.found.stop(table, "stop_after_all_iters_if", step)
        if stop_after_all is not None and isinstance(value, RawScript | ScriptStep | FlowStep | BranchOne | Identity):
            table.warn("stop_after_all_iters_if", "not used: the step is no loop", "write stop_after_if")
        stop_after = self.found.stop(table, "stop_after_if", step)
        if stop_after is not None and isinstance(value, BranchAll):
            table.warn("stop_after_if", "not used: it is about iterations", "write stop_after_all_iters_if")
        retry = read_retry(table)
        if retry is not None and retry.retry_if is not None and (inner := table.table("retry")):
            self.found.note(inner.table("retry_if") or inner, "expr", "retry_if", step, retry.retry_if)
        if self._shares_folder:
            self._warn_of_folder(table, value, sleep, retry)
        module = FlowModule(
            step, value or Identity(), table.text("summary") or "", stop_after, stop_after_all,
            self.found.skip(table, step), sleep, timeout, retry, table.flag("continue_on_error") is True,
            self.found.mock(table),
        )  # fmt: skip
        if isinstance(value, WhileLoop) and not any(each.stop_after_if for each in (module, *value.modules)):
            table.warn("value", "nothing ends this loop but an error", "give it, or a step in it, a stop_after_if")
        table.refuse(*LEFT_OUT_OF_MODULE, message=_REFUSAL, hint=_REFUSAL_HINT)
        table.close()
        return module if step and value is not None else None

    def _warn_of_folder(
        self, table: Table, value: ModuleValue | None, sleep: InputTransform | None, retry: Retry | None
    ) -> None:
        hint = "give what steps share as results, or leave out same_worker"
        if sleep is not None:
            table.warn("sleep", "the folder ./shared of same_worker is empty after it", hint)
        if retry is not None and (retry.constant.seconds or retry.exponential.attempts):
            table.warn("retry", "the folder ./shared of same_worker is empty after the wait", hint)
        if isinstance(value, ForLoop | BranchAll) and value.parallel:
            problem = "each part has a folder ./shared of its own, and it is empty after them"
            table.warn("value", problem, "leave out parallel: with same_worker Windmill runs no parallel parts")

    def _id(self, table: Table, own_id: str) -> str:
        found = table.text("id", required=not own_id) or own_id
        if own_id and found != own_id:
            table.error("id", f"is {found!r}, and has to be {own_id}")
            found = own_id
        elif not own_id and found and (wrong := bad_id(found)):
            table.error("id", f"is {found!r}: {wrong}", "write letters, digits and _, the first no digit")
        if found in self.found.ids:
            table.error("id", f"{found!r} is the step on line {self.found.ids[found]} too", "ids are unique in a flow")
        elif found:
            self.found.ids[found] = table.line("id")
        return found

    def _value(self, table: Table, step: str, kinds: tuple[str, ...]) -> ModuleValue | None:
        if (value := table.table("value", required=True)) is None:
            return None
        kind = value.text("type", required=True)
        if kind is None:
            return None
        if kind in LEFT_OUT_KINDS:
            value.error("type", f"{kind} is not supported", "run what it does as a script")
        elif kind not in self.kinds:
            value.error("type", f"is {kind!r}, no kind of step", did_you_mean(kind, self.kinds) or _list(self.kinds))
        elif kinds and kind not in kinds:
            value.error("type", f"is {kind!r}, expected one of {', '.join(kinds)}")
        else:
            found = self.kinds[kind](value, step)
            value.close()
            return found
        return None

    def _raw_script(self, table: Table, step: str) -> RawScript | None:
        language = table.text("language", required=True)
        given = isinstance(table.data("content"), str)
        if not given:
            table.error("content", "missing, or not a text", "write the code, or '!inline FILE'")
        table.data("lock")
        inputs = self.found.inputs(table, step)
        table.refuse(*LEFT_OUT_OF_CODE, message=_REFUSAL, hint=_REFUSAL_HINT)
        table.allow(*NO_MEANING_IN_CODE)
        if language is None or not given:
            return None
        self.found.code.append(Code(step, language, table))
        return RawScript(inputs)

    def _script(self, table: Table, step: str) -> ScriptStep | None:
        path, inputs = self._path(table, step, is_flow=False), self.found.inputs(table, step)
        if table.data("hash") is not None:
            table.warn("hash", "not used: the step runs the version of this deployment", "leave it out")
        table.allow(*NO_MEANING_IN_SCRIPT)
        return None if path is None else ScriptStep(path, inputs)

    def _flow(self, table: Table, step: str) -> FlowStep | None:
        path, inputs = self._path(table, step, is_flow=True), self.found.inputs(table, step)
        return None if path is None else FlowStep(path, inputs)

    def _path(self, table: Table, step: str, *, is_flow: bool) -> str | None:
        path = table.text("path", required=True)
        if path is None:
            return None
        if path.startswith(_HUB):
            hint = "copy it into the workspace, and name it there"
            table.error("path", f"{path} is a script of Windmill's hub", hint)
        else:
            place = (table.file, table.line("path"), table.key("path"))
            self.found.called.append(Called(step, path, is_flow, *place))
        return path

    def _branch_one(self, table: Table, step: str) -> BranchOne:
        branches = []
        for inner in self._branches(table):
            expr = self.found.expression(inner, "expr", "branch", step, required=True) or "false"
            if inner.flag("skip_failure"):
                inner.warn("skip_failure", "not used in branchone", "write continue_on_error: true at the step")
            branches.append(ConditionalBranch(expr, self._modules(inner, "modules"), inner.text("summary") or ""))
            inner.close()
        return BranchOne(branches, self._modules(table, "default"))

    def _branch_all(self, table: Table, _step: str) -> BranchAll:
        branches = []
        for inner in self._branches(table):
            skip = inner.flag("skip_failure") is True
            branches.append(Branch(self._modules(inner, "modules"), inner.text("summary") or "", skip))
            inner.close()
        return BranchAll(branches, table.flag("parallel") is True)

    def _branches(self, table: Table) -> list[Table]:
        if not table.given("branches"):
            table.error("branches", "missing", "write a list of branches, or []")
        found = table.tables("branches")
        for inner in found:
            inner.allow("parallel")
        return found

    def _for_loop(self, table: Table, step: str) -> ForLoop | None:
        iterator = self.found.transform(table, "iterator", "iterator", step, required=True)
        modules = self._modules(table, "modules", required=True)
        table.allow("squash")
        skip, parallel = table.flag("skip_failures") is True, table.flag("parallel") is True
        parallelism = self.found.number(table, "parallelism", step, MAX_AT_ONCE)
        if isinstance(iterator, Static) and not isinstance(iterator.value, list):
            table.error("iterator", "is no list", "write a list, or an expression that gives one")
        return None if iterator is None else ForLoop(modules, iterator, skip, parallel, parallelism)

    def _while_loop(self, table: Table, _step: str) -> WhileLoop:
        modules = self._modules(table, "modules", required=True)
        table.allow("squash")
        table.refuse(
            "parallel", "parallelism", message="cannot be: each iteration needs the one before", hint="leave it out"
        )
        return WhileLoop(modules, table.flag("skip_failures") is True)

    def _identity(self, table: Table, _step: str) -> Identity:
        table.allow("flow")
        return Identity()


def _list(names: Mapping[str, Any]) -> str:
    return f"known are {', '.join(names)}"
