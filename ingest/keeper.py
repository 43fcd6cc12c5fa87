"""Keeps the MQTT session of one trigger connected, for one term of its lease."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any, Literal, TypeVar

import msgspec

from ingest.approach import Approach
from ingest.handshake import ConnectStep
from ingest.leases import Leases
from ingest.link import Link
from ingest.pressure import Limits
from ingest.reconnect import STABLE_S, Ending, delay_s, ending_of
from ingest.reporter import Reporter
from ingest.session import Session
from ingest.session_events import (
    BeginEpoch,
    Connected,
    Malformed,
    OversizedDropped,
    ProtocolRefused,
    SessionConfig,
    SessionEvent,
    SessionRecord,
    StoreRequest,
    SubscriptionRefused,
    SubscriptionsGranted,
)
from ingest.store_watch import StoreWatch
from ingest.transport import BrokerRejected, Unreachable, UnusableCertificate, open_transport
from ingest.writer import RETRY_FIRST_S, RETRY_MAX_S, StoreWriter
from shared.backoff import full_jitter, steady
from shared.config import Settings
from shared.definitions import Broker, Trigger
from shared.errors import LeaseLost, StoreUnavailable
from shared.lease import Lease
from shared.scripts import ingest as verbs
from shared.store import AsyncStore

Stop = Literal["stopped", "disabled"]
T = TypeVar("T")


class Assignment(msgspec.Struct, frozen=True):
    """A trigger as deployed, its version, and its broker."""

    trigger: Trigger
    version: str
    broker: Broker

    @property
    def connection(self) -> tuple[object, ...]:
        """All that a connection depends on: if it changes, the session is connected anew."""
        trigger = self.trigger
        return (
            self.broker,
            trigger.path,
            trigger.client_id,
            trigger.client_version,
            trigger.clean_start,
            trigger.session_expiry_interval,
            trigger.topic_alias_maximum,
            trigger.receive_maximum,
            trigger.keep_alive_s,
            trigger.max_payload,
            any(topic.qos for topic in trigger.topics),
        )


class Tools(msgspec.Struct, frozen=True):
    """What the keepers of a process share."""

    store: AsyncStore
    watch: StoreWatch
    leases: Leases
    settings: Settings


class Keeper:
    """One term: `run` it, tell it of deployments with `assign`, end it with `stop` or `lose`.

    A connection begins only when everything that the one before asked of Redis is answered, so that what Redis tells of
    the session is all there is; and only right after a renewal of the lease.
    """

    def __init__(self, assignment: Assignment, lease: Lease, tools: Tools) -> None:
        self.assignment = assignment
        self.lease = lease
        self._tools = tools
        self._writer = StoreWriter(
            tools.store, tools.watch, assignment.trigger.session, lease.token, self._stored, tools.settings
        )
        self._reporter = Reporter(self._writer)
        self._approach = Approach()
        self._session = self._new_session()
        self._link: Link | None = None
        self._record = SessionRecord(0, 0, None, None, {})
        self._step = ConnectStep(self._session_protocol(), clean_start=False)
        self._ending: Ending | None = None
        self._stop: Stop | None = None
        self._poke = asyncio.Event()
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
