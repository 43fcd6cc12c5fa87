"""What a session gives out, and in which order: bytes, store requests, events.

The one rule that everything rests on lives here: acknowledgements are written when the request before them is answered.
"""

from __future__ import annotations

from collections import deque

from ingest.admission import Batch
from ingest.codec import Packet, Protocol, encode
from ingest.session_events import Admit, SessionEvent, StoreRequest
from shared.errors import InternalError


class Outbox:
    """Queues towards broker, store and owner."""

    def __init__(self) -> None:
        self.events: list[SessionEvent] = []
        self.waiting_bytes = 0
        """Size of the batches that were not answered yet."""
        self.admissions = 0
        """Batches that had something to store."""
        self._protocol = Protocol.V5
        self._output: list[bytes] = []
        self._requests: list[StoreRequest] = []
        self._waiting: deque[tuple[StoreRequest, list[bytes]]] = deque()

    def __len__(self) -> int:
        """Requests that were not answered yet, taken or not."""
        return len(self._waiting)

    def begin(self, protocol: Protocol) -> None:
        """A new connection: what was not taken for the last one is void."""
        self._protocol = protocol
        self._output.clear()

    def write(self, *packets: Packet) -> None:
        """Packets that wait for nothing; one write."""
        if packets:
            self._output.append(b"".join([encode(packet, self._protocol) for packet in packets]))

    def request(self, request: StoreRequest) -> None:
        """A request, behind those before it."""
        self._requests.append(request)
        self._waiting.append((request, []))

    def admit(self, batch: Batch) -> None:
        """A batch; its acknowledgements when it is stored, at once where neither it nor anything before has to be."""
        admission = batch.admission()
        if admission is not None:
            self.request(Admit(admission, batch.bytes, batch.receipts))
            self.admissions += 1
            self.waiting_bytes += batch.bytes
        if self._waiting:
            self._waiting[-1][1].extend(batch.acks)
        elif batch.acks:
            self._output.append(b"".join(batch.acks))

    def answered(self) -> tuple[StoreRequest, bytes]:
        """The oldest request is carried out: the request, and the acknowledgements that may now be written."""
        if not self._waiting:
            raise InternalError("an answer of the store came, and no request waits for one")
        request, acks = self._waiting.popleft()
        if isinstance(request, Admit):
            self.waiting_bytes -= request.size
        return request, b"".join(acks)

    def acknowledge(self, acks: bytes) -> None:
        """Write what `answered` gave."""
        self._output.append(acks)

    def silence(self) -> None:
        """Nothing that was not taken yet is given out any more, and no answer is waited for."""
        self._output.clear()
        self._requests.clear()
        self._waiting.clear()
        self.waiting_bytes = 0

    def take_output(self) -> list[bytes]:
        """What is to be written to the broker, in order."""
        output, self._output = self._output, []
        return output

    def take_requests(self) -> list[StoreRequest]:
        """What the store is asked for, in order. Each is answered, in the same order."""
        requests, self._requests = self._requests, []
        return requests

    def take_events(self) -> list[SessionEvent]:
        """What happened, in order."""
        events, self.events = self.events, []
        return events
