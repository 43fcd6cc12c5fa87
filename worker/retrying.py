"""Whether code that has failed is tried again: what its trigger says, or else its script."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Protocol

import msgspec

from shared.definitions import Trigger
from shared.envelope import Envelope
from shared.errors import ExpressionError, HeadraceError
from shared.expressions import Expression, compile_expression
from shared.retry_policy import Retry
from worker.jobs import Job
from worker.outcomes import Ended, Raised, retried, with_message
from worker.retry import next_delay_s

_COMPILED_MAX = 256
_decode = msgspec.json.Decoder().decode


class TriggerVersions(Protocol):
    """Knows the triggers."""

    def trigger(self, version: str) -> Trigger | None:
        """The trigger of this version."""


class ScriptVersions(Protocol):
    """Knows the scripts that were executed."""

    def retry(self, version: str) -> Retry | None:
        """What the script says about retries."""


class Retrying:
    """Hands endings on to `report`, those of code that is to be tried again as such.

    A policy is for code that has raised or timed out; what could not be executed, and what was stopped, is not tried
    again, and crashes have a policy of their own.
    """

    def __init__(self, report: Callable[[Ended], None], triggers: TriggerVersions, scripts: ScriptVersions) -> None:
        self._report = report
        self._triggers = triggers
        self._scripts = scripts

    def report(self, ended: Ended) -> None:
        """Report an ending. Where the trigger cannot be read, because Redis is away and we are to stop, as it is."""
        if ended.raised is not None:
            try:
                ended = self._decide(ended, ended.raised)
            except HeadraceError as error:
                ended = with_message(ended, f"not tried again: {error.message}")
        self._report(ended)

    def _decide(self, ended: Ended, raised: Raised) -> Ended:
        policy = self._policy(ended.job)
        if policy is None:
            return ended
        delay_s = next_delay_s(ended.job.claim.retries, policy, random.random)
        if delay_s is None or (policy.retry_if is not None and not self._wanted(policy.retry_if, ended.job, raised)):
            return ended
        return retried(ended, delay_s)

    def _policy(self, job: Job) -> Retry | None:
        trigger = self._triggers.trigger(job.message.trigger_version) if job.message else None
        if trigger is not None and trigger.retry is not None:
            return trigger.retry
        return self._scripts.retry(job.version)

    def _wanted(self, text: str, job: Job, raised: Raised) -> bool:
        """What `retry_if` says. Raises ExpressionError."""
        try:
            expression = _compiled(text)
            result = {"error": msgspec.to_builtins(raised.error)}
            variables = {"error": result["error"], "result": result, "previous_result": result, "flow_env": {}}
            if expression.mentions("flow_input"):
                variables["flow_input"] = self._inputs(job, raised)
            return _is_true(expression.evaluate(variables))
        except ExpressionError as error:
            raise ExpressionError(f"retry_if: {error.message}") from error

    def _inputs(self, job: Job, raised: Raised) -> Any:
        """The arguments of the run: those that the preprocessor made, its own, or the payload in the trigger's form."""
        if raised.arguments_json is not None:
            return _decode(raised.arguments_json)
        if job.spec is None or job.message is None:
            return _decode((job.spec and job.spec.args) or b"{}")
        trigger = self._triggers.trigger(job.message.trigger_version)
        return {"payload": _payload(job.message, trigger.payload if trigger else "windmill")}


def _payload(message: Envelope, form: str) -> Any:
    try:
        if form == "json":
            return _decode(message.payload)
        if form == "text":
            return message.payload.decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return base64.b64encode(message.payload).decode()


def _is_true(value: Any) -> bool:
    """As JavaScript has it: an empty list or object is true."""
    return bool(value) or isinstance(value, list | Mapping)


@lru_cache(_COMPILED_MAX)
def _compiled(text: str) -> Expression:
    return compile_expression(text)
