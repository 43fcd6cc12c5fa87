"""MQTT over WebSocket (MQTT 5 §6): an asyncio protocol that looks like a plain transport to the one inside it.

The frames are those of the `websockets` package, without its connection and its tasks: what it decodes goes straight to
the inner protocol, so that pausing, closing and batching work as on TCP. A frame is buffered whole: over WebSocket a
message of any size that MQTT allows is in memory at least once.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from websockets.client import ClientProtocol
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from shared.definitions import Broker

_CONNECTION_ENDED = "the connection ended before the WebSocket handshake did"


class WebSocketLayer(asyncio.Protocol):
    """Between a TCP or TLS transport (below) and an MQTT connection (`inner`).

    `opened` is done when the handshake is; it raises ConnectionError if the server refuses. Only then does `inner` get
    its `connection_made`, with a `WebSocketTransport`.
    """

    def __init__(self, broker: Broker, inner: asyncio.Protocol) -> None:
        path, _, query = (broker.websocket_path or "/").partition("?")
        uri = WebSocketURI(broker.tls, broker.host, broker.port, path if path.startswith("/") else f"/{path}", query)
        self.frames = ClientProtocol(uri, subprotocols=[Subprotocol("mqtt")], max_size=None)
        self.opened: asyncio.Future[WebSocketTransport] = asyncio.get_running_loop().create_future()
        self._inner = inner
        self._below: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the handshake."""
        self._below = cast("asyncio.Transport", transport)
        self.frames.send_request(self.frames.connect())
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Hand what is in the frames to the inner protocol, in one piece."""
        self.frames.receive_data(data)
        received = self.frames.events_received()
        payload = bytearray()
        for event in received:
            if isinstance(event, Frame):
                self._take(event, payload)
        if not self.opened.done():
            self._finish_handshake()
        if payload:
            self._inner.data_received(bytes(payload))
        self.flush()

    def eof_received(self) -> bool:
        """The server is done; so are we."""
        self.frames.receive_eof()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        if not self.opened.done():
            self.opened.set_exception(exc or ConnectionError(_CONNECTION_ENDED))
        elif not self.opened.cancelled() and self.opened.exception() is None:
            self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass it on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._inner.resume_writing()

    def flush(self) -> None:
        """Write what the WebSocket protocol wants to say."""
        if self._below is None or self._below.is_closing():
            return
        chunks = self.frames.data_to_send()
        if chunks:
            self._below.write(b"".join(chunks))
        if self.frames.state is State.CLOSED or (self.frames.state is State.CLOSING and b"" in chunks):
            self._below.close()

    def _take(self, frame: Frame, payload: bytearray) -> None:
        if frame.opcode in {Opcode.BINARY, Opcode.CONT}:
            payload += frame.data
        elif frame.opcode is Opcode.TEXT:
            self.frames.fail(CloseCode.UNSUPPORTED_DATA, "MQTT is binary")

    def _finish_handshake(self) -> None:
        if self.frames.handshake_exc is not None:
            self.opened.set_exception(ConnectionError(f"the server refuses WebSocket: {self.frames.handshake_exc}"))
        elif self.frames.state is State.OPEN and self._below is not None:
            transport = WebSocketTransport(self, self._below)
            self.opened.set_result(transport)
            self._inner.connection_made(transport)


class WebSocketTransport(asyncio.Transport):
    """What the inner protocol writes to: every write is one binary frame."""

    def __init__(self, layer: WebSocketLayer, below: asyncio.Transport) -> None:
        super().__init__()
        self._layer = layer
        self._below = below

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue one frame."""
        if self._layer.frames.state is State.OPEN:
            self._layer.frames.send_binary(bytes(data))
            self._layer.flush()

    def close(self) -> None:
        """Say good-bye and close once everything is written."""
        if self._layer.frames.state is State.OPEN:
            self._layer.frames.send_close(CloseCode.NORMAL_CLOSURE)
            self._layer.flush()
        self._below.close()

    def can_write_eof(self) -> bool:
        """WebSocket knows no half-closed connection."""
        return False

    def abort(self) -> None:
        """Close at once."""
        self._below.abort()

    def is_closing(self) -> bool:
        """Whether nothing more can be written."""
        return self._below.is_closing()

    def pause_reading(self) -> None:
        """Stop reading."""
        self._below.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._below.resume_reading()

    def get_write_buffer_size(self) -> int:
        """Bytes not yet sent."""
        return self._below.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Pass it on."""
        self._below.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Pass it on."""
        return self._below.get_extra_info(name, default)
