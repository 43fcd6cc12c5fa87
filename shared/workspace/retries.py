"""What a file says about failing: `retry`, `error_handler_path` and `error_handler_args`.

Limits and keys are Windmill's (retry of a flow step, error handler of a trigger).
"""

from __future__ import annotations

import msgspec

from shared.definitions import ErrorHandler
from shared.expressions import check
from shared.retry_policy import ConstantRetry, ExponentialRetry, Retry
from shared.workspace.references import Reference, references_in
from shared.workspace.yaml_lines import Table

MAX_ATTEMPTS = 1000
MAX_INTERVAL_S = 6 * 3600
_U16_MAX = 65_535
_SCRIPT, _FLOW, _HUB = "script/", "flow/", "hub/"


class HandlerEntry(msgspec.Struct, frozen=True):
    """An error handler, where a file names it, and what its arguments refer to."""

    handler: ErrorHandler
    file: str
    line: int
    key: str
    references: list[Reference] = []


def read_retry(table: Table) -> Retry | None:
    """`retry`, for a trigger or a script; None where it is not given."""
    if (retry := table.table("retry")) is None:
        return None
    constant, exponential = _constant(retry), _exponential(retry)
    condition = _condition(retry)
    retry.close()
    if constant.attempts + exponential.attempts > MAX_ATTEMPTS:
        message = f"{constant.attempts + exponential.attempts} attempts, and {MAX_ATTEMPTS} is the most for both kinds"
        table.error("retry", message, "fewer attempts, further apart")
    if condition is not None and not constant.attempts + exponential.attempts:
        retry.warn("retry_if", "no attempts are asked for, so nothing is tried again", "write constant: with attempts:")
    return Retry(constant, exponential, condition)


def read_handler(table: Table, key: str, args_key: str) -> HandlerEntry | None:
    """The error handler that these keys name; None where there is none."""
    path, args = table.text(key), table.data(args_key)
    if args is not None and not isinstance(args, dict):
        table.error(args_key, "not a table of arguments", "write name: value lines under it")
        args = None
    if path is None:
        if args:
            table.warn(args_key, "not used, because there is no error handler", f"write {key}")
        return None
    if path.startswith(_HUB):
        table.error(key, f"{path} is a script of Windmill's hub", "copy it into the workspace, and name it there")
        return None
    is_flow = path.startswith(_FLOW)
    handler = ErrorHandler(path.removeprefix(_SCRIPT).removeprefix(_FLOW), is_flow, args or {})
    references = list(references_in(table.file, table.texts(args_key)))
    return HandlerEntry(handler, table.file, table.line(key), key, references)


def _constant(retry: Table) -> ConstantRetry:
    if (table := retry.table("constant")) is None:
        return ConstantRetry()
    attempts, seconds = table.integer("attempts", 0, MAX_ATTEMPTS), table.integer("seconds", 0, MAX_INTERVAL_S)
    table.close()
    return ConstantRetry(attempts or 0, seconds or 0)


def _exponential(retry: Table) -> ExponentialRetry:
    if (table := retry.table("exponential")) is None:
        return ExponentialRetry()
    attempts, multiplier = table.integer("attempts", 0, MAX_ATTEMPTS), table.integer("multiplier", 0, _U16_MAX)
    seconds, random_factor = table.integer("seconds", 0, _U16_MAX), table.integer("random_factor", 0, 100)
    if attempts and not seconds:
        table.error("seconds", "missing, or 0", "write the seconds that are multiplied: 2 doubles the delay each time")
    table.close()
    return ExponentialRetry(attempts or 0, 1 if multiplier is None else multiplier, seconds or 0, random_factor or 0)


def _condition(retry: Table) -> str | None:
    if (table := retry.table("retry_if")) is None:
        return None
    text = table.text("expr", required=True)
    if text is not None and (wrong := check(text)):
        table.error("expr", f"not an expression: {wrong}", "write JavaScript, for example error.name != 'Fatal'")
    table.close()
    return text
