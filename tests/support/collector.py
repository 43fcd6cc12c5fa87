"""A collector of traces: takes OTLP over HTTP as any does, and keeps what it gets."""

from __future__ import annotations

import gzip
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any, Self

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.support.ports import HOST, free_port


class Received(msgspec.Struct, frozen=True):
    """A span as it came; `parent` is '' for none."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent: str
    state: str
    began_ns: int
    ended_ns: int
    attributes: dict[str, str]
    error: str


class Collector:
    """Listens in a thread. Use as a context."""

    def __init__(self) -> None:
        self.port = free_port()
        self.endpoint = f"http://{HOST}:{self.port}"
        self.spans: list[Received] = []
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> Self:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.spans += _read(body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((HOST, self.port), Handler)
        Thread(target=self._server.serve_forever, name="collector", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def named(self, beginning: str) -> list[Received]:
        """Spans whose name begins so, in the order of their beginning."""
        found = [span for span in self.spans if span.name.startswith(beginning)]
        return sorted(found, key=lambda span: span.began_ns)


def _read(body: bytes) -> list[Received]:
    request = ExportTraceServiceRequest.FromString(body)
    found = []
    for resource in request.resource_spans:
        about = {each.key: each.value.string_value for each in resource.resource.attributes}
        for scope in resource.scope_spans:
            found += [_span(about["service.name"], span) for span in scope.spans]
    return found


def _span(service: str, it: Any) -> Received:
    attributes = {
        each.key: each.value.string_value or str(each.value.int_value or each.value.bool_value)
        for each in it.attributes
    }
    return Received(
        service, it.name, it.trace_id.hex(), it.span_id.hex(), it.parent_span_id.hex(), it.trace_state,
        it.start_time_unix_nano, it.end_time_unix_nano, attributes, it.status.message,
    )  # fmt: skip
