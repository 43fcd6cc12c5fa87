"""What a script is called with: payload or arguments, the preprocessor's event, the context of `headrace.run`."""

from __future__ import annotations

import time
from typing import Any, Protocol

import msgspec

from shared.clock import NS_PER_S, iso_utc
from shared.create_runs import ALERT_ORIGIN, HANDLER_ORIGIN
from shared.envelope import Envelope
from shared.errors import InternalError, UserError
from shared.event import mqtt_event
from shared.run_tokens import mint
from shared.runs import RunSpec
from shared.tracing.context import TraceContext
from shared.tracing.runs import TracedRun, code_context, may_have_trace
from shared.values import RESOURCE, SEALED, VARIABLE
from worker.environment import run_environment
from worker.jobs import Job
from worker.runners.base import Form, RunCall, ScriptFiles

_NS_PER_MS = NS_PER_S // 1000
_FROM_OUTSIDE = {HANDLER_ORIGIN: {"error"}, ALERT_ORIGIN: {"what", "subjects", "fix"}}
"""Arguments that may hold what came from a broker."""
_REFERENCES = tuple(mark.encode() for mark in (VARIABLE, RESOURCE, SEALED))
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Forms(Protocol):
    """Knows the triggers."""

    def form(self, trigger_version: str) -> Form:
        """The form in which this trigger hands payloads to `main`."""


class References(Protocol):
    """Knows variables and resources."""

    def resolve(self, value: Any) -> Any:
        """The value with references put in place."""


class Calls:
    """Makes the call of each run. `token_key` signs the tokens that let a run's code speak to the console."""

    def __init__(self, forms: Forms, references: References, token_key: bytes) -> None:
        self._forms = forms
        self._references = references
        self._token_key = token_key

    def call(self, job: Job, script: ScriptFiles) -> RunCall:
        """The call that executes a run. Raises HeadraceError where it cannot be made: nothing may be executed then."""
        spec, message, claim = job.spec, job.message, job.claim
        if spec is None:
            raise InternalError("a job that is not ours was to be executed", run=claim.run_id)
        token = mint(self._token_key, claim.run_id, claim.execution)
        began_ns = message.received_at * _NS_PER_MS if message else time.time_ns()
        trace = trace_of(claim.run_id, claim.execution, spec, message)
        environment = run_environment(claim.run_id, spec, token, iso_utc(began_ns), trace)
        if message is None:
            context = run_context(spec, job.attempt)
            if not spec.cause:
                context["brokerless"] = True
            call = RunCall(claim.run_id, self._arguments(spec), None, context, "arguments", environment)
        elif script.has_preprocessor:
            call = message_call(claim.run_id, job.attempt, spec, message, "windmill", environment, with_event=True)
        else:
            form = self._forms.form(message.trigger_version)
            call = message_call(claim.run_id, job.attempt, spec, message, form, environment)
        if trace is not None:
            tell_trace(call, trace)
        return call

    def _arguments(self, spec: RunSpec) -> bytes:
        """The run's arguments with references put in place: only here, never in what came from a broker."""
        given = spec.args or b"{}"
        if not any(mark in given for mark in _REFERENCES):
            return given
        try:
            args = _decode(given)
            held_back = _FROM_OUTSIDE.get(spec.origin, ())
            trusted = {name: value for name, value in args.items() if name not in held_back}
            return _encode(args | self._references.resolve(trusted))
        except msgspec.DecodeError as error:
            raise UserError(f"the arguments are not JSON: {error}") from error


def message_call(
    run_id: str,
    attempt: int,
    spec: RunSpec,
    message: Envelope,
    form: Form,
    environment: dict[str, str],
    *,
    with_event: bool = False,
) -> RunCall:
    """The call of a run that a message made. `attempt` counts from 1.

    The event is there only for a script that has a preprocessor; a script without one gets the payload alone, as
    Windmill does it. The payload goes as it was received: the child makes of it what signature and form ask for.
    """
    context = run_context(spec, attempt, message)
    event = mqtt_event(message) if with_event else None
    return RunCall(run_id, message.payload, event, context, form, environment)


def run_context(spec: RunSpec, attempt: int, message: Envelope | None = None) -> dict[str, Any]:
    """What `headrace.run` shows; `attempt` counts from 1, `message` is what made the run."""
    context: dict[str, Any] = {"idempotency_key": spec.idempotency_key, "attempt": attempt}
    if message is not None:
        context["trigger"] = spec.trigger
        context["topic"] = message.topic
        context["qos"] = message.qos
        context["captures"] = spec.captures
        context["received_at"] = message.received_at
        if message.properties is not None and message.properties.response_topic is not None:
            context["response_topic"] = message.properties.response_topic
    if spec.origin:
        context["origin"] = spec.origin
    if spec.parent is not None:
        context["parent"] = spec.parent
    if spec.root is not None:
        context["root"] = spec.root
    return context


def trace_of(run_id: str, execution: str, spec: RunSpec, message: Envelope | None) -> TraceContext | None:
    """The trace that the code of a run is told; None: it belongs to none."""
    if not may_have_trace(spec, message):
        return None
    return code_context(TracedRun(run_id, execution, spec, message))


def tell_trace(call: RunCall, trace: TraceContext) -> None:
    """Let `headrace.run` show this trace."""
    call.context["traceparent"] = trace.traceparent
    if trace.state:
        call.context["tracestate"] = trace.state
