"""Which trace a run has, and hands on: unchanged where nothing is recorded, else below its own span."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.envelope import Envelope, Properties, decode_envelope, encode_envelope, message_key, run_id
from shared.runs import RunSpec, decode_job, encode_job
from shared.tracing import spans
from shared.tracing.context import SAMPLED, TraceContext, parse
from shared.tracing.runs import (
    TracedRun,
    attempt_span,
    carried,
    code_context,
    message_context,
    parent_context,
    placing_span,
    trace_properties,
)
from tests.support.factories import make_envelope

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
KEY = "abcdefgh-1-42"


class Recorder:
    """Takes every span."""

    def __init__(self) -> None:
        self.spans: list[spans.Span] = []

    def is_sampled(self, _trace_id: str, parent: TraceContext | None) -> bool:
        """As the parent is."""
        return parent is None or parent.is_sampled

    def export(self, span: spans.Span) -> None:
        """Keep it."""
        self.spans.append(span)

    def close(self) -> None:
        """There is nothing to send."""


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """Spans are recorded meanwhile."""
    recorder = Recorder()
    spans.send_to(recorder)
    yield recorder
    spans.send_to(None)


def message(*properties: tuple[str, str], trace: TraceContext | None = None) -> Envelope:
    """A message with these user properties; `trace`: the span of its receipt."""
    given = Properties(user_properties=list(properties))
    envelope = make_envelope(properties=given, trace=trace.packed() if trace else None)
    return decode_envelope(encode_envelope(envelope))


def attempt(made_by: Envelope | None, **spec: object) -> TracedRun:
    """An attempt of the run of a message, or of one that none made."""
    fields: dict[str, object] = {"envelope": b"", "args": None if made_by else b"{}"} | spec
    made = RunSpec("f/t/a", "f/t/s", "v", KEY, {}, **fields)  # type: ignore[arg-type]
    return TracedRun(run_id(1, KEY), "w1-1-1", decode_job(encode_job(made)), made_by)


def test_what_a_message_brings_along_is_handed_on_unchanged() -> None:
    """Nothing is recorded, so nothing of ours is in between."""
    run = attempt(message(("traceparent", PARENT), ("tracestate", "a=1")))
    assert trace_properties(run) == [("traceparent", PARENT), ("tracestate", "a=1")]


def test_a_message_without_a_trace_has_none() -> None:
    """On 3.1.1 there are no properties at all."""
    assert trace_properties(attempt(message())) == []
    assert trace_properties(attempt(make_envelope())) == []
    assert trace_properties(attempt(None)) == []


def test_where_spans_are_recorded_code_is_below_the_span_of_its_attempt(recorder: Recorder) -> None:
    """Which is below that of dispatch, which is below that of ingest, which is below what came."""
    came = parse(PARENT, "a=1")
    receipt = spans.received(came)
    assert (receipt.trace_id, receipt.flags, receipt.state) == (came and came.trace_id, SAMPLED, "a=1")
    run = attempt(message(("traceparent", PARENT), ("tracestate", "a=1"), trace=receipt))
    parent, code = parent_context(run), code_context(run)
    assert message_context(run.message) == receipt if run.message else None
    assert parent == receipt.below(placing_span(run.run_id))
    assert code == receipt.below(attempt_span("w1-1-1"))
    assert dict(trace_properties(run))["tracestate"] == "a=1"
    assert recorder.spans == []


def test_each_attempt_has_a_span_of_its_own(recorder: Recorder) -> None:
    """The second runnable of a message is below the same span of dispatch."""
    assert attempt_span("w1-1-1") != attempt_span("w1-1-2")
    assert placing_span(run_id(1, KEY)) == placing_span(run_id(1, KEY, 1))
    assert message_key(run_id(2, KEY, 3)) == KEY
    del recorder


def test_a_trace_that_is_not_sampled_is_handed_on_and_not_recorded(recorder: Recorder) -> None:
    """The whole way decides as its beginning did."""
    unsampled = PARENT[:-2] + "00"
    receipt = spans.received(parse(unsampled))
    code = code_context(attempt(message(("traceparent", unsampled), trace=receipt)))
    assert code is not None
    assert code.traceparent.endswith("-00")
    spans.record(spans.Span("x", "internal", code, "", 0, 1, {}))
    assert recorder.spans == []


def test_a_run_that_no_message_made_has_a_trace_that_is_the_same_at_each_attempt(recorder: Recorder) -> None:
    """It begins with the run."""
    first, second = (parent_context(attempt(None, origin="api")) for _ in range(2))
    assert first is not None
    assert first == second
    assert first.is_sampled
    del recorder


def test_a_run_that_another_has_started_goes_on_with_its_trace() -> None:
    """Its record carries it."""
    given = carried(code_context(attempt(message(("traceparent", PARENT), ("tracestate", "a=1")))))
    child = attempt(None, origin="child", trace=given)
    assert trace_properties(child) == [("traceparent", PARENT), ("tracestate", "a=1")]


@pytest.mark.parametrize(
    "environment, is_wanted",
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, False),
    ],
)
def test_spans_are_recorded_only_where_opentelemetry_is_configured(
    environment: dict[str, str], *, is_wanted: bool
) -> None:
    """By its own variables, and no other."""
    assert spans.wanted(environment) is is_wanted
