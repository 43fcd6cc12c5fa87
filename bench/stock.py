"""RQ's own SimpleWorker on jobs that do nothing: `python -m bench.stock REDIS_URL COUNT` prints jobs per second.

From the first job's start to the last one's, so that neither the worker's birth nor the second that it sleeps at the
end of a burst counts.
"""

from __future__ import annotations

import sys
import time

import redis
import rq

from bench.load import PAYLOAD_BYTES

_begun: list[float] = []


def no_op(payload: bytes) -> None:
    """The job."""
    del payload
    _begun.append(time.monotonic())


def main(url: str, count: int) -> None:
    """Enqueue, work in a burst, print the rate."""
    connection = redis.Redis.from_url(url)
    queue = rq.Queue("stock", connection=connection)
    job = "bench.stock.no_op"
    for _ in range(count):
        queue.enqueue(job, b"0" * PAYLOAD_BYTES)
    rq.SimpleWorker([queue], connection=connection).work(burst=True, logging_level="WARNING")
    begun = sys.modules["bench.stock"]._begun  # noqa: SLF001 - RQ imports this module by its own name
    print((count - 1) / (begun[-1] - begun[0]))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
