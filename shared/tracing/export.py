"""Spans to a collector by OTLP over HTTP: the only module that imports OpenTelemetry.

The SDK's sampler, resource, queue and exporter are used, all configured by its standard variables; spans are made when
they have ended, under ids that are ours.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from threading import Thread

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, TraceState, set_span_in_context
from opentelemetry.trace.status import Status, StatusCode

from shared.events import emit
from shared.tracing.context import TraceContext
from shared.tracing.spans import Span

CLOSE_S = 2.0
TELL_EVERY_S = 60.0
_KINDS = {"consumer": SpanKind.CONSUMER, "internal": SpanKind.INTERNAL, "producer": SpanKind.PRODUCER}
_SCOPE = InstrumentationScope("headrace")
_NO_SPAN = "0" * 16


class OtlpExporter:
    """An exporter as `shared.tracing.spans` has it."""

    def __init__(self, process: str) -> None:
        self._resource = _resource(process)
        self._sampler = TracerProvider(resource=self._resource, shutdown_on_exit=False).sampler
        _listen_to_the_sdk(process)
        self._processor = BatchSpanProcessor(OTLPSpanExporter())

    def is_sampled(self, trace_id: str, parent: TraceContext | None) -> bool:
        """By the sampler that OTEL_TRACES_SAMPLER names; else as the parent is, and always where there is none."""
        above = None
        if parent is not None:
            above = set_span_in_context(NonRecordingSpan(_context(parent, is_remote=True)))
        found = self._sampler.should_sample(above, int(trace_id, 16), "headrace")
        return found.decision is Decision.RECORD_AND_SAMPLE

    def export(self, span: Span) -> None:
        """Queue it."""
        parent = None
        if span.parent not in {"", _NO_SPAN}:
            parent = _context(span.context.below(span.parent), is_remote=True)
        self._processor.on_end(
            ReadableSpan(
                span.name,
                _context(span.context, is_remote=False),
                parent,
                self._resource,
                span.attributes,
                kind=_KINDS[span.kind],
                status=Status(StatusCode.ERROR, span.error) if span.error else Status(),
                start_time=span.began_ns,
                end_time=max(span.began_ns, span.ended_ns),
                instrumentation_scope=_SCOPE,
            )
        )

    def close(self) -> None:
        """Send what is queued, for CLOSE_S at most."""
        closing = Thread(target=self._processor.shutdown, name="tracing-close", daemon=True)
        closing.start()
        closing.join(CLOSE_S)


class _Complaints(logging.Handler):
    """What the SDK has to complain of, once a minute: while the collector is away it would be each second."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process
        self._tell_at = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        if time.monotonic() >= self._tell_at:
            self._tell_at = time.monotonic() + TELL_EVERY_S
            emit("tracing.failed", process=self._process, reason=record.getMessage())


def _listen_to_the_sdk(process: str) -> None:
    logger = logging.getLogger("opentelemetry")
    logger.handlers = [_Complaints(process)]
    logger.setLevel(logging.WARNING)
    logger.propagate = False


def _context(context: TraceContext, *, is_remote: bool) -> SpanContext:
    flags = TraceFlags(context.flags)
    return SpanContext(int(context.trace_id, 16), int(context.span_id, 16), is_remote, flags, _state(context.state))


def _state(text: str) -> TraceState | None:
    return TraceState.from_header([text]) if text else None


def _resource(process: str) -> Resource:
    """What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say, and our own where they say nothing."""
    found = Resource.create()
    own = {SERVICE_INSTANCE_ID: f"{socket.gethostname()}:{os.getpid()}"}
    missing = {name: value for name, value in own.items() if name not in found.attributes}
    if str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        missing[SERVICE_NAME] = f"headrace-{process}"
    return found.merge(Resource(missing))
