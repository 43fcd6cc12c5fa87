"""One connection: bytes of the transport ↔ decoder ↔ session ↔ ordered writer. It carries, the session decides.

All packets of one read go to the session together and so become one batch; all acknowledgements that an answer of the
store sets free are one write. There is no task per connection or message: everything happens in callbacks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import cast

from ingest.codec import Decoder
from ingest.handshake import ConnectStep
from ingest.pressure import Limits, Pressure, pressure
from ingest.session import Session
from ingest.session_events import Closed, SessionEvent, SessionRecord
from ingest.session_states import State
from ingest.writer import StoreWriter
from shared.metrics.catalogue import PAUSES

TICK_S = 0.5
_TICKS_PER_LOOK = 2
_LINGER_S = 1.0


def now_ms() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000


class Link(asyncio.Protocol):
    """One connection of a session. `closed` is done once the transport is gone.

    Reading pauses while too much waits for the store or for dispatch, while the broker does not take what we write, and
    at the end; TCP then holds the broker back.
    """

    def __init__(
        self, session: Session, writer: StoreWriter, limits: Limits, on_event: Callable[[SessionEvent], None]
    ) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._session = session
        self._writer = writer
        self._limits = limits
        self._on_event = on_event
        self._transport: asyncio.Transport | None = None
        self._decoder: Decoder | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ticks = 0
        self._pressure: Pressure | None = None
        self._write_full = False
        self._reading = False
        self._ending = False

    @property
    def is_amid_packet(self) -> bool:
        """Whether the rest of a packet has yet to come."""
        return self._decoder is not None and self._decoder.is_amid_packet

    def begin(self, record: SessionRecord, step: ConnectStep, max_payload: int) -> None:
        """Send CONNECT. The transport is open, and the session has no request under way."""
        self._decoder = Decoder(step.protocol, max_payload)
        self._session.connect(now_ms(), record, step)
        self._tick()

    def flush(self) -> None:
        """Pass on what the session has to say: to be called after everything that was done to it."""
        if requests := self._session.take_requests():
            self._writer.put(requests)
        if (output := self._session.take_output()) and self._transport is not None:
            self._transport.write(b"".join(output))
        for event in self._session.take_events():
            self._on_event(event)
            if isinstance(event, Closed):
                self._finish()
        self._regulate()

    def abort(self) -> None:
        """End the connection without a word."""
        self._finish()
        if self._transport is not None:
            self._transport.abort()
        elif not self.closed.done():
            self.closed.set_result(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing is read before CONNECT is sent."""
        self._transport = cast("asyncio.Transport", transport)
        if self._ending:
            self._transport.abort()
        else:
            self._transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """One read of the transport."""
        if self._ending or self._decoder is None:
            return
        packets = self._decoder.feed(data)
        self._session.receive(packets, now_ms())
        if self._decoder.error is not None:
            self._session.malformed(self._decoder.error)
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        self._session.connection_lost(f"the connection broke: {exc}" if exc else "the broker closed the connection")
        self.flush()
        self._finish()
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        """The broker reads slower than we write."""
        self._write_full = True
        self._regulate()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._write_full = False
        self._regulate()

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        self._ticks += 1
        self._session.tick(now_ms())
        self.flush()
        if self._pressure is Pressure.INBOX and self._ticks % _TICKS_PER_LOOK == 0:
            self._writer.ask_inbox()

    def _regulate(self) -> None:
        if self._ending or self._transport is None or self._decoder is None:
            return
        before = self._pressure
        self._pressure = pressure(before, self._session.buffered_bytes, self._writer.inbox, self._limits)
        if self._pressure is not None and self._pressure is not before:
            PAUSES.of(self._pressure.name.lower()).add()
        free = self._pressure is None and not self._write_full
        reading = free or self._session.state is State.CONNECTING
        if reading == self._reading:
            return
        self._reading = reading
        if reading:
            self._transport.resume_reading()
            self._session.resume()
        else:
            self._transport.pause_reading()
            self._session.pause()

    def _finish(self) -> None:
        """Let what is written go out, then close.

        What the broker still sends is read and dropped: a close that leaves bytes unread resets the connection, and our
        last words could be lost with it.
        """
        if self._ending:
            return
        self._ending = True
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is None or self._transport.is_closing():
            return
        if self._transport.can_write_eof():
            self._transport.resume_reading()
            self._transport.write_eof()
        else:
            self._transport.close()
        asyncio.get_running_loop().call_later(_LINGER_S, self._transport.abort)
