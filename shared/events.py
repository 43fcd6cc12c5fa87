"""Every event that Headrace reports, with its fields. Logs, tests and the reference page hang on this table.

Healthy operation is silent but for one line per process start and per change of state; each attempt of a run reports
exactly one of the `run.*` events. Names are past tense. To add an event, add an entry to EVENTS; a field that no other
event has is described in FIELDS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from shared.errors import InternalError

Level = Literal["debug", "info", "warning", "error"]
Sink = Callable[[Level, str, dict[str, object]], None]

FIELDS = {
    "address": "address that the request came from",
    "alert": "id of the notice",
    "attempt": "how often this was tried or started, counted from 1",
    "away_ms": "milliseconds that it was out of reach",
    "broker": "URL of the broker, without password",
    "bytes": "size in bytes",
    "claims": "runs that the worker holds",
    "client_id": "client id of the MQTT session",
    "consumer": "name of the dispatcher within the consumer group",
    "dead": "dead letters concerned",
    "deployment": "number of the deployment",
    "detail": "what exactly was found",
    "duration_ms": "milliseconds from start to end of the code",
    "dropped": "messages that it has dropped within an hour or so",
    "drained": "messages taken in while the session was emptied",
    "durability": "full, or reduced: less than the promise of QoS 1 and 2 needs",
    "entries": "messages of the inbox",
    "entry": "id of the message in the inbox",
    "epoch": "number of the session's life at the broker; a new one starts when the broker has forgotten it",
    "error": "what went wrong; a hint says how to mend it",
    "exit_status": "exit status of the process, negative for the signal that ended it",
    "failures": "how often since the process knows this version of the trigger",
    "fix": "what to do about it",
    "granted": "topic filters with the QoS that the broker granted",
    "holder": "process that holds it",
    "idempotency_key": "key that the message has for good",
    "idle_ms": "milliseconds that the messages had been left lying",
    "interrupted": "QoS 2 runs that had started: never started again on their own",
    "kind": "what kind of trouble: session, backlog, dead_letters, stalled or durability",
    "left": "id under which the session that was left goes on record",
    "limit": "the size in bytes that was allowed",
    "login": "address that logs a browser in, once; or the command that makes one",
    "logger": "name of the library's logger",
    "lost": "QoS 0 runs given up",
    "method": "method of the HTTP request",
    "name": "name of this process among its kind",
    "path": "path of the HTTP request, without its query",
    "pid": "process id",
    "process": "ingest, dispatch, worker, console, redis, broker or demo",
    "protocol": "MQTT version: 5 or 3.1.1",
    "qos": "QoS that the message was delivered with",
    "reason": "why, in words",
    "reason_code": "MQTT reason code, as two hexadecimal digits",
    "redis": "URL of Redis, without password",
    "requeued": "runs put back into the queue",
    "result": "beginning of the result",
    "resource": "path of the broker's resource",
    "resumed": "whether the broker still had the session",
    "retry_in_s": "seconds until the next try",
    "run": "id of the run, which is the id of its RQ job",
    "runnable": "path of the script or flow",
    "runs": "runs concerned",
    "scripts": "scripts in the deployment",
    "session": "id of the session",
    "state": "state that the run ended in, or went to",
    "supported": "newest version that this process understands",
    "target": "who was to be told: runnable or webhook",
    "text": "what the library said",
    "timeout_s": "seconds that the code may run",
    "token": "fencing token of the lease",
    "total": "messages that it has dropped since it started",
    "topic": "topic of the message, or topic filter of the subscription",
    "trigger": "path of the trigger",
    "triggers": "triggers in the deployment",
    "url": "address that is served",
    "version": "version that was found",
    "what": "what falls short",
    "worker": "name of the worker",
}
"""The vocabulary: a field means the same in every event."""


class EventSpec(msgspec.Struct, frozen=True):
    """One event."""

    level: Level
    description: str
    fields: dict[str, str]
    """What may come with it, name → meaning."""
    line: str = ""
    """How a person is told, where it is more than name and fields; `{field}` is replaced."""


def _spec(level: Level, description: str, fields: str, line: str = "") -> EventSpec:
    return EventSpec(level, description, {name: FIELDS[name] for name in fields.split()}, line)


_SESSION = "trigger session client_id broker protocol"
_RUN = "run trigger runnable topic qos attempt"

EVENTS: dict[str, EventSpec] = {
    "process.ready": _spec(
        "info", "The process has started and does its work.", "process name pid url login redis broker durability",
        "headrace {process} ready",
    ),
    "process.stopping": _spec(
        "info", "The process was asked to stop and finishes what is under way.", "process reason",
        "headrace {process} stopping",
    ),
    "process.stopped": _spec("info", "The process has ended in good order.", "process", "headrace {process} stopped"),
    "process.failed": _spec(
        "error", "The process ends because it cannot go on.", "process error", "headrace {process} failed: {error}",
    ),
    "durability.reduced": _spec(
        "warning", "A setting outside Headrace weakens the promise of QoS 1 and 2.", "what fix redis broker",
    ),
    "alert.raised": _spec(
        "warning", "Something is wrong, and the workspace's alerts are told.", "alert kind what fix",
        "{what} (headrace alerts)",
    ),
    "alert.resolved": _spec("info", "What an alert told of is over.", "alert kind what", "over: {what}"),
    "alert.undelivered": _spec(
        "warning", "An alert could not be delivered; it is tried again, for about an hour.",
        "alert kind target reason attempt retry_in_s",
    ),
    "store.unavailable": _spec("warning", "Redis cannot be reached; work waits.", "redis error attempt retry_in_s"),
    "store.available": _spec("info", "Redis is reached again; work goes on.", "redis away_ms"),
    "metrics.unavailable": _spec(
        "warning", "Metrics and health are not served; all else goes on.", "process reason fix",
    ),
    "tracing.unavailable": _spec("warning", "Traces are asked for and not recorded.", "process reason"),
    "tracing.failed": _spec(
        "warning", "Spans could not be sent, and some are lost; all else goes on. At most once a minute.",
        "process reason",
    ),
    "lease.acquired": _spec("info", "This process holds the trigger's session now.", "trigger session token holder"),
    "lease.lost": _spec(
        "warning", "Another process may hold the trigger's session; this one has stepped down.",
        "trigger session token holder reason",
    ),
    "session.connected": _spec("info", "The broker accepted the connection.", f"{_SESSION} resumed epoch"),
    "session.epoch_started": _spec(
        "info", "The broker holds a new session; what an earlier one had kept is gone.", f"{_SESSION} epoch reason",
    ),
    "session.subscribed": _spec("info", "The broker granted the subscriptions.", f"{_SESSION} granted"),
    "session.subscription_refused": _spec(
        "error", "The broker refused a subscription; messages on its topics do not arrive.",
        f"{_SESSION} topic reason reason_code retry_in_s",
    ),
    "session.reconnecting": _spec(
        "warning", "The connection failed or ended in a way that is likely to pass.",
        f"{_SESSION} reason reason_code attempt retry_in_s",
    ),
    "session.refused": _spec(
        "error", "The broker refuses us until a person mends it; it is tried again from time to time.",
        f"{_SESSION} reason reason_code attempt retry_in_s",
    ),
    "session.taken_over": _spec(
        "error", "Another client connected with our client id, and the broker ended our connection.",
        f"{_SESSION} attempt retry_in_s",
    ),
    "session.disconnected": _spec("info", "We ended the connection, in good order.", f"{_SESSION} reason"),
    "session.left": _spec(
        "warning", "The trigger goes to another broker, and its session stays at the one that it had.",
        f"{_SESSION} left epoch",
    ),
    "session.ended": _spec(
        "info", "A session that was left behind is ended at its broker, and forgotten.",
        "trigger session client_id drained reason",
        "session {session} of {trigger} is ended ({reason}); messages taken in before: {drained}",
    ),
    "session.protocol_fallback": _spec(
        "warning", "The broker does not speak MQTT 5; the session goes on with 3.1.1.", f"{_SESSION} reason",
    ),
    "session.malformed_packet": _spec(
        "warning", "The broker sent what is not MQTT; the connection was ended.", f"{_SESSION} reason_code detail",
    ),
    "message.oversized": _spec(
        "warning", "A payload over the limit went to the dead letters without its body.",
        "trigger session topic qos bytes limit idempotency_key",
    ),
    "message.unsent": _spec(
        "warning", "A message that a run wanted published went to the dead letters.", "resource trigger topic reason",
    ),
    "outbox.connected": _spec("info", "What runs publish goes to the broker.", "resource broker client_id"),
    "outbox.waiting": _spec(
        "warning", "What runs publish waits: the broker cannot be reached.", "resource error attempt retry_in_s",
    ),
    "broker.dropped": _spec(
        "warning", "A broker has dropped messages of some client: a queue was full.", "resource dropped total",
    ),
    "message.invalid": _spec(
        "warning", "A message that breaks the rules went to the dead letters.",
        "trigger session topic qos reason idempotency_key",
    ),
    "trigger.expression_failed": _spec(
        "error", "The trigger's idempotency_key could not be told; the message runs without it. At most once a minute.",
        "trigger topic error failures",
    ),
    "message.unrouted": _spec(
        "warning", "No runnable was found for a message.", "trigger topic qos idempotency_key reason version",
    ),
    "deployment.applied": _spec("info", "A workspace was deployed.", "deployment triggers scripts"),
    "deployment.seen": _spec("info", "This process works with a new deployment now.", "process deployment triggers"),
    "inbox.entries_taken_over": _spec(
        "warning", "Messages that another dispatcher left lying were taken over.", "entries consumer idle_ms",
    ),
    "inbox.poisoned": _spec("error", "An entry of the inbox could not be read and is in the dead letters.",
        "entry idempotency_key bytes reason"),
    "inbox.newer_envelope": _spec(
        "error", "A newer release wrote to the inbox; this dispatcher stops until it is upgraded.",
        "entry version supported",
    ),
    "run.finished": _spec(
        "debug", "A run ended as it should; shown at any level with log.runs.", f"{_RUN} state duration_ms result",
        "{trigger}: {topic} (QoS {qos}) {state} in {duration_ms} ms",
    ),
    "run.failed": _spec(
        "warning", "The code raised an error.", f"{_RUN} state duration_ms error retry_in_s",
        "{trigger}: {topic} (QoS {qos}) failed: {error}",
    ),
    "run.timed_out": _spec(
        "warning", "The code ran too long and was ended.", f"{_RUN} state timeout_s retry_in_s",
        "{trigger}: {topic} (QoS {qos}) ended after {timeout_s} s",
    ),
    "run.crashed": _spec(
        "warning", "The runner died while the code ran.", f"{_RUN} state exit_status reason",
        "{trigger}: {topic} (QoS {qos}) crashed: {reason}",
    ),
    "run.unhandled": _spec(
        "warning", "An error handler cannot be called for a run that has ended badly.", "run reason",
    ),
    "environment.made": _spec(
        "debug", "The packages of a script were installed, or had been already.", "runnable duration_ms",
    ),
    "environment.failed": _spec(
        "error", "The packages of a script cannot be installed; its runs fail.", "runnable error",
    ),
    "runner.started": _spec("debug", "A child interpreter has loaded a runnable.", "runnable version pid duration_ms"),
    "runner.died": _spec("warning", "A child interpreter ended unasked.", "runnable pid exit_status reason"),
    "worker.swept": _spec(
        "warning", "The runs of a worker that is gone were dealt with.", "worker requeued lost interrupted dead",
    ),
    "worker.secrets_unreadable": _spec(
        "error", "Secrets cannot be opened: runs cannot use them, and they are not masked in what runs leave behind.",
        "deployment error",
    ),
    "worker.claim_reconciled": _spec(
        "warning", "After a lost reply the worker took over what Redis had recorded as its own.", "worker claims runs",
    ),
    "request.failed": _spec(
        "error", "A request was answered with status 500, because of a defect of Headrace.", "method path error",
    ),
    "login.failed": _spec("warning", "Somebody tried to log in with a token that is not good.", "address"),
    "audit.failed": _spec(
        "error", "A change through the console could not be written to the audit log.", "method path error",
    ),
    "runs.pruned": _spec("debug", "Runs and dead letters beyond the retention were removed.", "runs dead"),
    "library.warning": _spec("warning", "A library reported something unusual.", "logger text error"),
    "library.error": _spec("error", "A library reported a failure.", "logger text error"),
}  # fmt: skip


def _discard(_level: Level, _name: str, _fields: dict[str, object]) -> None:
    pass


_sink: Sink = _discard
_muted: frozenset[str] = frozenset()


def emit(name: str, /, **fields: object) -> None:
    """Report an event. Costs next to nothing for one that is not shown. A field that is None counts as absent, and an
    exception is best passed as it is: the log shows its message and hint, or its traceback.

    Raises InternalError for an event or a field that EVENTS does not have.
    """
    spec = EVENTS.get(name)
    if spec is None:
        raise InternalError(f"event {name!r} is not in shared/events.py", hint="add it to EVENTS")
    if not fields.keys() <= spec.fields.keys():
        unknown = ", ".join(sorted(fields.keys() - spec.fields.keys()))
        raise InternalError(f"event {name!r} has no field {unknown}", hint="add it to the event in shared/events.py")
    if name not in _muted:
        _sink(spec.level, name, fields)


def send_to(sink: Sink, muted: Iterable[str] = ()) -> tuple[Sink, frozenset[str]]:
    """Let all events but the muted ones go to a sink from now on; gives what was set before. At first none is shown."""
    global _sink, _muted
    before = (_sink, _muted)
    _sink, _muted = sink, frozenset(muted)
    return before
