"""The worker as RQ's tools see it, and the only module that imports RQ.

RQ's way of executing jobs is replaced as a whole. What stays is its data model and its tools: `rq info`, the registry
of workers, suspend and resume, the commands shutdown, stop-job and kill-horse, cancel, requeue, results.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from threading import Thread
from typing import Any, Protocol

import msgspec
import rq
from rq.utils import now, utcformat

from shared import keys
from shared.store import rq_connection
from worker.executor import Verdict
from worker.uplink import Uplink

TTL_S = 60
HEARTBEAT_S = 5.0
LISTEN_S = 60.0
LISTEN_AGAIN_S = 1.0
SCHEDULER = "headrace"


class MsgpackSerializer:
    """How arguments and results are kept in RQ's records: `rq … --serializer worker.rq_worker.MsgpackSerializer`."""

    @staticmethod
    def dumps(value: object) -> bytes:
        """To msgpack."""
        return msgspec.msgpack.encode(value)

    @staticmethod
    def loads(blob: bytes) -> Any:
        """From msgpack; nothing in it is ever executed."""
        return msgspec.msgpack.decode(blob)


class Execution(Protocol):
    """What RQ's commands act on."""

    @property
    def current(self) -> str | None:
        """The run that executes now."""

    def interrupt(self, run_id: str, verdict: Verdict | None) -> None:
        """End it, if it still executes."""


class RqWorker(rq.Worker):
    """A worker in RQ's registry that executes nothing by RQ's own means."""

    def __init__(self, name: str, redis_url: str, uplink: Uplink, execution: Execution) -> None:
        logging.getLogger("rq.worker").setLevel(logging.WARNING)
        super().__init__(
            [keys.QUEUE],
            name=name,
            connection=rq_connection(redis_url),
            serializer=MsgpackSerializer,
            worker_ttl=TTL_S,
            prepare_for_work=False,  # it would speak to Redis at once
        )
        self.hostname = socket.gethostname()
        self.pid = os.getpid()
        self._uplink = uplink
        self._execution = execution
        self._shown = ("", False)
        self._shown_at = 0.0

    def run(self, loop: Callable[[], bool]) -> bool:
        """Work by our own loop, between RQ's birth and death; what the loop returns. True where it never began."""
        if not self.register_birth():
            return True
        self.subscribe()
        try:
            return loop()
        finally:
            self.register_death()

    def register_birth(self) -> bool:
        """As RQ's, through our door to Redis; also once its record of us has expired. Waits for it; False: in vain.

        It keeps RQ's own schedulers off our queue, for good: they read what is due, and enqueue it without a fence.
        """
        self.birth_date = self.birth_date or now()
        self.last_heartbeat = now()
        fields = [part for item in self.serialize().items() for part in item]
        registered = self._uplink.wait_for(
            lambda store: store.commands(
                [
                    ("HSET", self.key, *fields, "state", self._state),
                    ("EXPIRE", self.key, TTL_S),
                    ("SADD", keys.RQ_WORKERS, self.key),
                    ("SADD", keys.RQ_QUEUE_WORKERS, self.key),
                    ("SET", keys.RQ_SCHEDULER_LOCK, SCHEDULER),
                ]
            )
        )
        return registered is not None

    def register_death(self) -> None:
        """As RQ's, through our door to Redis; if it is away, the record expires by itself."""
        self._uplink.attempt(
            lambda store: store.commands(
                [
                    ("SREM", keys.RQ_WORKERS, self.key),
                    ("SREM", keys.RQ_QUEUE_WORKERS, self.key),
                    ("HSET", self.key, "death", utcformat(now())),
                    ("EXPIRE", self.key, TTL_S),
                ]
            )
        )

    def show(self, state: str, *, stopping: bool = False) -> None:
        """Let RQ's tools see that we live, and in which state: at once when it has changed, else now and then.

        `stopping`: told to stop, and so long as a run goes on, the console tells that run.
        """
        clock = time.monotonic()
        shown = (state, stopping)
        if shown == self._shown and clock < self._shown_at + HEARTBEAT_S:
            return
        self._state = state
        asked = ("shutdown_requested_date", utcformat(now())) if stopping else ()
        heartbeat = ("HSET", self.key, "last_heartbeat", utcformat(now()), "state", state, *asked)
        replies = self._uplink.attempt(
            lambda store: store.commands([("HEXISTS", self.key, "birth"), heartbeat, ("EXPIRE", self.key, TTL_S)])
        )
        if replies is None:
            return
        self._shown, self._shown_at = shown, clock
        if not replies[0]:
            self.register_birth()

    def subscribe(self) -> None:
        """Listen for RQ's commands in a thread of its own, through outages of Redis."""
        Thread(target=self._listen, name="rq-commands", daemon=True).start()

    def _listen(self) -> None:
        pubsub = self.connection.pubsub()  # type: ignore[no-untyped-call]
        subscribed = False
        while True:
            try:
                if not subscribed:
                    pubsub.subscribe(**{self.pubsub_channel_name: self.handle_payload})
                    subscribed = True
                pubsub.get_message(ignore_subscribe_messages=True, timeout=LISTEN_S)
            except Exception:  # noqa: BLE001 - an outage, or a command that makes no sense: listen on
                time.sleep(LISTEN_AGAIN_S)

    @property
    def horse_pid(self) -> int:
        """Is there a horse? Its process is the runner's business."""
        return 0 if self._execution.current is None else os.getpid()

    def get_current_job_id(self) -> str | None:
        """The run that executes now."""
        return self._execution.current

    def kill_horse(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """End the run that executes: as stopped if that is what RQ asks for, else as crashed."""
        del sig
        stopped, self._stopped_job_id = self._stopped_job_id, None
        if (current := self._execution.current) is not None:
            self._execution.interrupt(current, "stopped" if stopped == current else None)
