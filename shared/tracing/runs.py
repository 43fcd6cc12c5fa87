"""Which trace a run belongs to, and what it hands on: the same answer in every process. Pure but for `is_on`.

Where spans are recorded, those of ingest and dispatch stand between what a message brought along and its run, and each
attempt has a span of its own; their ids follow from the run's, so that no process has to tell another. Where spans are
not recorded, what came is handed on as it came (§3.4: a participant that takes no part).
"""

from __future__ import annotations

import msgspec

from shared.envelope import Envelope, message_key
from shared.runs import RunSpec
from shared.tracing import spans
from shared.tracing.context import TRACEPARENT, TRACESTATE, TraceContext, derived_id, of_properties, parse, unpack


class TracedRun(msgspec.Struct, frozen=True):
    """An attempt of a run: `execution` is that of its claim, `message` what made it, None where none did."""

    run_id: str
    execution: str
    spec: RunSpec
    message: Envelope | None


def message_context(message: Envelope) -> TraceContext | None:
    """The trace of a message: below the span of its receipt, where one was recorded, else as the message says."""
    given = None
    if message.properties is not None and message.properties.user_properties:
        given = of_properties(message.properties.user_properties)
    if message.trace is None:
        return given
    return unpack(message.trace, given.state if given else "")


def may_have_trace(spec: RunSpec, message: Envelope | None) -> bool:
    """Whether it is worth while to ask: most runs have none, and this is asked for each."""
    if spans.is_on() or spec.trace:
        return True
    return message is not None and message.properties is not None and bool(message.properties.user_properties)


def parent_context(run: TracedRun) -> TraceContext | None:
    """What an attempt is below; None: the run belongs to no trace."""
    given = None
    if run.spec.trace:
        given = parse(*run.spec.trace)
    elif run.message is not None:
        given = message_context(run.message)
        if given is not None and not run.spec.origin and spans.is_on():
            given = given.below(placing_span(run.run_id))
    if given is None and spans.is_on():
        return spans.root(run.run_id)
    return given


def code_context(run: TracedRun) -> TraceContext | None:
    """What the code of an attempt is told, and everything that the run sends and starts is below."""
    parent = parent_context(run)
    if parent is None or not spans.is_on():
        return parent
    return parent.below(attempt_span(run.execution))


def trace_properties(run: TracedRun) -> list[tuple[str, str]]:
    """The user properties with which a message that this run sends goes on with its trace; empty: it has none."""
    context = code_context(run)
    if context is None:
        return []
    found = [(TRACEPARENT, context.traceparent)]
    return [*found, (TRACESTATE, context.state)] if context.state else found


def carried(context: TraceContext | None) -> tuple[str, ...]:
    """As a `RunSpec` keeps it for a run that no message makes."""
    return () if context is None else (context.traceparent, context.state)


def attempt_span(execution: str) -> str:
    """The id of the span of an attempt."""
    return derived_id(f"attempt {execution}")


def placing_span(run_id: str) -> str:
    """The id of the span of dispatch in which this run's message was placed."""
    return placing_span_of(message_key(run_id))


def placing_span_of(key: str) -> str:
    """The same, by the idempotency key of the message."""
    return derived_id(f"place {key}")
