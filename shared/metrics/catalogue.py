"""Every metric, with what it means and who exports it: the page of reference is rendered from here.

Names are Prometheus': the unit is a suffix, counters end in `_total`. Labels hold paths of triggers, names of states
and of verbs, never a topic or anything else that a message brings along.

What is in Redis is exported by the console alone: so it is not there once for each process. A cell of the books that
may become smaller (a run written off that turns out well, a dead letter that is placed again) is a gauge, because a
counter that falls is taken for one that began anew.
"""

from __future__ import annotations

from typing import Final

from shared.metrics.instruments import Count, Distribution, Family, Gauge, Process, Spec

_LEGS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_TRIPS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
_LAGS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)

EVERY: Final[tuple[Process, ...]] = ("ingest", "dispatch", "worker", "console")
_INGEST: Final[tuple[Process, ...]] = ("ingest",)
_DISPATCH: Final[tuple[Process, ...]] = ("dispatch",)
_WORKER: Final[tuple[Process, ...]] = ("worker",)

MEASURED: list[Family[Count] | Family[Distribution] | Gauge] = []
"""What a process measures of itself, in the order of the page."""


def _count(name: str, by: tuple[Process, ...], description: str, *labels: str) -> Family[Count]:
    family = Family(Spec(name, "counter", by, description, labels), Count)
    MEASURED.append(family)
    return family


def _distribution(
    name: str, by: tuple[Process, ...], description: str, *labels: str, buckets: tuple[float, ...] = _LEGS
) -> Family[Distribution]:
    family = Family(Spec(name, "histogram", by, description, labels, buckets), Distribution)
    MEASURED.append(family)
    return family


def _gauge(name: str, by: tuple[Process, ...], description: str) -> Gauge:
    gauge = Gauge(Spec(name, "gauge", by, description))
    MEASURED.append(gauge)
    return gauge


ADMIT = _distribution(
    "headrace_message_admit_seconds", _INGEST,
    "From a message's receipt until Redis has confirmed that it is stored; then it is acknowledged.", "trigger",
)  # fmt: skip
PLACE = _distribution(
    "headrace_message_place_seconds", _DISPATCH,
    "From the moment that a message was stored until its runs were queued.", "trigger",
)  # fmt: skip
WAIT = _distribution(
    "headrace_run_wait_seconds", _WORKER,
    "From the moment that a run was queued (of a retry: queued again) until its start was recorded.", "trigger",
)  # fmt: skip
EXECUTION = _distribution(
    "headrace_run_execution_seconds", _WORKER, "From the beginning of a run's code to its end, however it ended.",
    "trigger",
)  # fmt: skip
END_TO_END = _distribution(
    "headrace_message_end_to_end_seconds", _WORKER,
    "From a message's receipt until the end of its run was recorded. Of a run that is tried again: its last end.",
    "trigger",
)  # fmt: skip

SEND = _distribution(
    "headrace_publish_seconds", _INGEST,
    "From the end of a run until the broker has acknowledged what it has published.", "trigger",
)  # fmt: skip

CONNECTIONS = _count(
    "headrace_session_connects_total", _INGEST, "Connections that brokers have accepted from this process.", "trigger"
)
DISCONNECTIONS = _count(
    "headrace_session_failures_total", _INGEST,
    "Connections that have failed or ended unasked, by what follows: reconnecting, refused, taken_over.",
    "trigger", "state",
)  # fmt: skip
PAUSES = _count(
    "headrace_reading_pauses_total", _INGEST,
    "How often reading from a broker has paused because messages wait for Redis (store) or for dispatch (inbox).",
    "reason",
)  # fmt: skip
SESSIONS_HELD = _gauge("headrace_sessions_held", _INGEST, "Sessions whose lease this process holds.")

TAKEN_OVER = _count("headrace_messages_taken_over_total", _DISPATCH, "Messages that another dispatcher had left lying.")

ATTEMPTS = _count(
    "headrace_run_attempts_total", _WORKER,
    "Starts of runs that have ended in this worker, by outcome: succeeded, failed, crashed, stopped, or retry, where it"
    " has failed and is to be tried again.",
    "trigger", "outcome",
)  # fmt: skip
EXECUTING = _gauge("headrace_runs_executing", _WORKER, "1 while this worker executes code, else 0.")
BUSY = _count("headrace_worker_busy_seconds_total", _WORKER, "Time that this worker has spent on executing code.")
RUNNERS = _gauge("headrace_runners", _WORKER, "Child interpreters that are kept warm.")
RUNNER_STARTS = _count("headrace_runner_starts_total", _WORKER, "Child interpreters that were started.", "language")
RUNNER_DEATHS = _count(
    "headrace_runner_deaths_total", _WORKER,
    "Child interpreters that have ended, by cause: killed (time-out, stop), out_of_memory, crashed.", "cause",
)  # fmt: skip
SWEPT = _count(
    "headrace_swept_runs_total", _WORKER,
    "Runs of dead workers that this one has settled, by what became of them: queued, lost, interrupted, failed.",
    "state",
)  # fmt: skip

ROUND_TRIP = _distribution(
    "headrace_redis_round_trip_seconds", EVERY,
    "From a request to Redis until it was answered, by the first verb in it. What a worker asks while its code runs is"
    " not in it.",
    "verb", buckets=_TRIPS,
)  # fmt: skip
OUTAGES = _count("headrace_redis_outages_total", EVERY, "How often this process has lost touch with Redis.")
LAG = _distribution(
    "headrace_event_loop_lag_seconds", ("ingest", "console"),
    "How late the event loop comes to what is due, sampled every second.", buckets=_LAGS,
)  # fmt: skip
READY = _gauge("headrace_ready", EVERY, "1 if the process can do its work, as /readyz says it, else 0.")

BUILD = Spec(
    "headrace_build_info", "gauge", EVERY, "Always 1; which release runs, on which Python.",
    ("process", "version", "python"),
)  # fmt: skip

_CONSOLE: Final[tuple[Process, ...]] = ("console",)


def _told(name: str, description: str, *labels: str) -> Spec:
    return Spec(name, "counter" if name.endswith("_total") else "gauge", _CONSOLE, description, labels)


REDIS_UP = _told("headrace_redis_up", "1 if Redis has told all that follows, else 0, and it is left out.")
RECEIVED = _told(
    "headrace_messages_received_total", "Messages that brokers have sent, repetitions included.", "trigger"
)
ADMISSION = _told(
    "headrace_messages_admission_total",
    "What became of them: admitted, duplicate, invalid, oversized, retained_skipped, own (what a run has published)."
    " The sum is what was received.",
    "trigger", "outcome",
)  # fmt: skip
PLACED = _told(
    "headrace_messages_placed_total", "Messages that were admitted and have made their runs.", "trigger",
)  # fmt: skip
REPEATED = _told(
    "headrace_messages_repeated_total", "Messages that were admitted and whose own id had been seen before.", "trigger",
)  # fmt: skip
UNPLACED = _told(
    "headrace_messages_unplaced",
    "Messages that were admitted and are in the inbox, or in the dead letters as unrouted or poisoned. With those that"
    " were placed or repeated the sum is what was admitted.",
    "trigger", "where",
)  # fmt: skip
RUNS_PLACED = _told("headrace_runs_placed_total", "Runs that messages have made.", "trigger")
RUNS = _told(
    "headrace_runs",
    "Runs that messages have made, by the state that they are in or ended in. The sum is all that were placed;"
    " retention does not lower it, a run that recovers moves.",
    "trigger", "state",
)  # fmt: skip
SAID = _told("headrace_publishes_total", "Messages that runs have had published.", "trigger")
SENT = _told("headrace_publishes_sent_total", "Those of them that the broker has acknowledged.", "trigger")
UNSENT = _told(
    "headrace_publishes_unsent",
    "Those of them that wait in the outbox, or are in the dead letters because the broker refuses them. With those that"
    " were sent the sum is all.",
    "trigger", "where",
)  # fmt: skip
LATE = _told(
    "headrace_runs_late_total", "Results that came when the run was no longer their worker's, and were dropped.",
    "trigger",
)  # fmt: skip
DROPPED = _told(
    "headrace_dead_letters_dropped_total", "Dead letters that were dropped, by a person or by retention.", "trigger"
)
BALANCED = _told(
    "headrace_books_balanced", "1 if the identity (admit, place, run, send) holds for every trigger; 0 is a defect.",
    "identity",
)  # fmt: skip
INBOX = _told("headrace_inbox_messages", "Messages that are stored and not yet placed.")
PENDING = _told("headrace_inbox_pending_messages", "Those of them that a dispatcher has read and not yet placed.")
QUEUE = _told("headrace_queue_runs", "Runs in the queue.")
CLAIMED = _told("headrace_claimed_runs", "Runs that workers have taken and not yet started.")
RUNNING = _told("headrace_running_runs", "Runs whose start is recorded, and whose end is not.")
SCHEDULED = _told("headrace_scheduled_runs", "Runs that wait for the time at which they are tried again.")
HANDLERS = _told(
    "headrace_error_handlers_waiting", "Runs that ended badly, and whose error handler is yet to be called."
)
OLDEST = _told(
    "headrace_oldest_unprocessed_seconds",
    "Age of the oldest message in the inbox or the run at the head of the queue; 0 where nothing waits.",
)  # fmt: skip
DEAD = _told("headrace_dead_letters", "Dead letters that are kept.")
SESSION_STATE = _told(
    "headrace_session_state", "1 for the state that the trigger's MQTT session is in, 0 for the others.",
    "trigger", "state",
)  # fmt: skip
SESSION_CONNECTIONS = _told(
    "headrace_session_connections_total", "Connections of the session that were begun, by whichever process.", "trigger"
)
SESSION_EPOCH = _told(
    "headrace_session_epoch", "Grows when the broker has forgotten the session, and what it had kept for it.", "trigger"
)
SESSION_INFLIGHT = _told("headrace_session_inflight_messages", "QoS 2 messages between PUBLISH and PUBREL.", "trigger")
WORKERS = _told("headrace_workers", "Workers by state; a dead one is settled by the others within seconds.", "state")
DEPLOYMENT = _told("headrace_deployment_number", "The deployment that is current.")
DURABILITY = _told(
    "headrace_redis_durability",
    "1 for what Redis' settings come to (full, reduced, unknown); reduced is less than QoS 1 and 2 need.", "level",
)  # fmt: skip

TOLD: Final = [
    REDIS_UP, RECEIVED, ADMISSION, PLACED, REPEATED, UNPLACED, RUNS_PLACED, RUNS, SAID, SENT, UNSENT, LATE, DROPPED,
    BALANCED, INBOX, PENDING, QUEUE, CLAIMED, RUNNING, SCHEDULED, HANDLERS, OLDEST, DEAD, SESSION_STATE,
    SESSION_CONNECTIONS, SESSION_EPOCH, SESSION_INFLIGHT, WORKERS, DEPLOYMENT, DURABILITY,
]  # fmt: skip
"""What the console tells of the whole, out of Redis."""


def specs() -> list[Spec]:
    """All of them."""
    return [*(each.spec for each in MEASURED), BUILD, *TOLD]
