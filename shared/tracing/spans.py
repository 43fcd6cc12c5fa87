"""Recording spans: off, and free of cost, unless OpenTelemetry is configured by its standard variables.

A span is handed over when it has ended, into a queue that a thread sends from. Nothing here waits; what does not fit
into the queue, because the collector is slow or away, is dropped.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from typing import Final, Literal, Protocol

import msgspec

from shared.events import emit
from shared.tracing.context import KNOWN_FLAGS, SAMPLED, TraceContext, derived_id

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_TRUE: Final = "true"

Kind = Literal["consumer", "internal", "producer"]
Value = str | int | bool


class Span(msgspec.Struct, frozen=True):
    """Something that has ended. `context` names the span itself, `parent` the one above ('' for none); times are epoch
    nanoseconds, `error` says what went wrong.
    """

    name: str
    kind: Kind
    context: TraceContext
    parent: str
    began_ns: int
    ended_ns: int
    attributes: Mapping[str, Value]
    error: str = ""


class Exporter(Protocol):
    """Takes spans."""

    def is_sampled(self, trace_id: str, parent: TraceContext | None) -> bool:
        """Whether spans of a trace that begins here, or below this parent, are recorded."""

    def export(self, span: Span) -> None:
        """Take a span of a trace that is sampled. Never blocks, never raises."""

    def close(self) -> None:
        """Send what is queued, for a second or two at most."""


_exporter: Exporter | None = None


def is_on() -> bool:
    """Whether this process records spans."""
    return _exporter is not None


def turn_on(process: str, environment: Mapping[str, str] = os.environ) -> None:
    """Record spans from now on if OpenTelemetry is configured. That it cannot be done is told, and changes nothing."""
    if not wanted(environment):
        return
    protocol = next((value for name in _PROTOCOLS if (value := environment.get(name))), "http/protobuf")
    if protocol != "http/protobuf":
        emit("tracing.unavailable", process=process, reason=f"OTLP is sent as http/protobuf, not as {protocol}")
        return
    try:
        from shared.tracing.export import OtlpExporter  # noqa: PLC0415 - an extra: only where it is turned on
    except ImportError as error:
        why = f"OpenTelemetry is not installed ({error}): pip install 'headrace[otel]'"
        emit("tracing.unavailable", process=process, reason=why)
        return
    send_to(OtlpExporter(process))


def send_to(exporter: Exporter | None) -> Exporter | None:
    """Hand spans to this one from now on; gives the one before. At first there is none."""
    global _exporter
    before, _exporter = _exporter, exporter
    return before


def turn_off() -> None:
    """Send what is queued, and record no more. A collector that is away keeps no process from ending."""
    if (exporter := send_to(None)) is not None:
        exporter.close()


def wanted(environment: Mapping[str, str]) -> bool:
    """Whether these variables ask for traces: an endpoint is named, and nothing turns it off."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == _TRUE:
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "")
    return exporter == "otlp" or (not exporter and any(environment.get(name) for name in _ENDPOINTS))


def record(span: Span) -> None:
    """Record it, if its trace is sampled and spans are recorded at all."""
    if _exporter is not None and span.context.is_sampled:
        _exporter.export(span)


def root(seed: str) -> TraceContext:
    """The trace of what belongs to none, the same whenever and wherever it is asked for."""
    trace_id = derived_id(f"trace {seed}", 16)
    return TraceContext(trace_id, "0" * 16, _flags(trace_id, None))


def received(parent: TraceContext | None) -> TraceContext:
    """A new span for a message that has come in, below what it brought along, or in a trace of its own."""
    trace_id = parent.trace_id if parent else secrets.token_hex(16)
    state = parent.state if parent else ""
    return TraceContext(trace_id, secrets.token_hex(8), _flags(trace_id, parent), state)


def _flags(trace_id: str, parent: TraceContext | None) -> int:
    """What is known of the parent's beside whether it is sampled, which is decided here."""
    known = parent.flags & KNOWN_FLAGS & ~SAMPLED if parent else 0
    return known | (SAMPLED if _exporter is not None and _exporter.is_sampled(trace_id, parent) else 0)
