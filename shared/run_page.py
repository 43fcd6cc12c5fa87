"""A run as text for people, and as one JSON document. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import msgspec

from shared.envelope import Envelope, Properties
from shared.flow_nodes import STEPS_SHOWN, abridged
from shared.flow_page import step_lines
from shared.history import RunDetails
from shared.run_record import Attempt, Run
from shared.tables import Column, clip, duration, printable, printable_lines, size

COLUMNS = (
    Column("RUN"), Column("STATE"), Column("RECEIVED"), Column("RUNNABLE", shrink=True), Column("TOPIC", shrink=True),
    Column("TOOK", "right"), Column("RESULT", shrink=True),
)  # fmt: skip
_RESULT_LENGTH = 200
_BYTES_SHOWN = 4096
_NAME_WIDTH = 26
_HEX_PER_LINE = 32
_PROTOCOLS = {4: "3.1.1", 5: "5"}


def row(run: Run) -> tuple[str, ...]:
    """The cells of a run under COLUMNS."""
    if run.error is not None:
        outcome = f"{run.error['name']}: {run.error['message']}"
    else:
        outcome = "" if run.result is None else _json_text(run.result)
    return (
        run.id, run.state, local_time(run.received_at), run.runnable or "?", run.topic or ("?" if run.trigger else ""),
        duration(milliseconds(run.started_at, run.ended_at)), clip(printable(outcome), _RESULT_LENGTH),
    )  # fmt: skip


def document(details: RunDetails) -> dict[str, Any]:
    """The run as listed, and the rest beside it."""
    return msgspec.structs.asdict(details.run) | {
        "message": None if details.message is None else _message_document(details.message),
        "captures": details.captures,
        "args": details.args,
        "origin": details.origin,
        "parent": details.parent,
        "root": details.root,
        "due_at": details.due_at,
        "steps": details.steps,
        "attempts_ended": details.attempts,
        "log": details.attempts[-1].log if details.attempts else "",
    }


def page(details: RunDetails) -> str:
    """The run on one screen: message, times, attempts."""
    run = details.run
    lines = [f"{run.id}  {run.state}{remark(details)}", ""]
    pairs = [
        ("trigger", _trigger(details)),
        ("runnable", f"{run.runnable or '?'}  version {run.runnable_version or '?'}"),
        ("idempotency key", run.idempotency_key or "?"),
        ("attempts", str(run.attempts)),
    ]
    if run.labels:
        pairs.append(("labels", ", ".join(run.labels)))
    if details.captures:
        pairs.append(("captures", ", ".join(f"{name} = {level}" for name, level in details.captures.items())))
    lines += fields(pairs)
    if details.message is not None:
        lines += ["", *_message(details.message)]
    if details.args is not None:
        lines += ["", "  arguments", *indented(_json_text(details.args, indent=2).split("\n"))]
    lines += ["", *_timings(run)]
    if details.steps:
        lines += ["", "steps", *step_lines(abridged(details.steps, STEPS_SHOWN))]
    ended = run.attempts - (run.state == "running")
    for index, attempt in enumerate(details.attempts, start=ended - len(details.attempts) + 1):
        lines += ["", *_attempt(index, attempt)]
    return "\n".join(lines)


def remark(details: RunDetails) -> str:
    """What a run's state does not say by itself."""
    run = details.run
    if run.source == "redrive":
        return "  (queued again by hand)"
    if details.due_at is not None:
        return f", to {'go on' if details.steps else 'be tried again'} at {local_time(details.due_at)}"
    if details.attempts and details.attempts[-1].skipped:
        return "  (skipped: it was stopped early)"
    recovered = run.state == "succeeded" and details.attempts and details.attempts[-1].error is not None
    return "  (recovered by its error handler)" if recovered else ""


def _trigger(details: RunDetails) -> str:
    if details.origin == "message":
        return details.run.trigger
    return f"{details.run.trigger or 'none'}, {made_by(details)}"


def made_by(details: RunDetails) -> str:
    """Who made a run that no message made."""
    if details.origin == "handler":
        return f"the error handler of run {details.parent}"
    if details.origin == "replay":
        return f"run {details.parent} again"
    if details.origin == "handler":
        return f"error handler of run {details.parent}"
    return f"started by run {details.parent}" if details.parent else f"made by the {details.origin}"


def message_lines(topic: str, delivery: str, payload: bytes, size_all: int, properties: Properties | None) -> list[str]:
    """A message as far as it is kept: `payload` is the head of one of `size_all` bytes."""
    given = msgspec.structs.asdict(properties) if properties else {}
    shown = [(name.replace("_", " "), property_text(value)) for name, value in given.items()]
    pairs = [("topic", topic), ("delivery", delivery), *[(name, text) for name, text in shown if text]]
    return [*fields([*pairs, ("payload", size(size_all))]), *indented(_payload_lines(payload, size_all))]


def fields(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Names and values under each other, each on one line."""
    return [f"  {name:<{_NAME_WIDTH}}{printable(value)}" for name, value in pairs]


def indented(lines: Iterable[str]) -> list[str]:
    """Lines that belong to the one before."""
    return [f"    {line}".rstrip() for line in lines]


def as_text(payload: bytes) -> str | None:
    """The payload as text, None where it is none."""
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return None


def property_text(value: object) -> str:
    """A property of MQTT 5 in words, '' if absent; binary data in hexadecimal, user properties as name = value."""
    match value:
        case None:
            return ""
        case bytes():
            return value.hex(" ")
        case list():
            return ", ".join(" = ".join(each) if isinstance(each, tuple) else str(each) for each in value)
        case _:
            return str(value)


def _message(message: Envelope) -> list[str]:
    flags = [word for word, is_set in (("retained", message.retain), ("dup", message.dup)) if is_set]
    delivery = [f"QoS {message.qos}", *flags, f"packet id {message.packet_id}", f"MQTT {_PROTOCOLS[message.protocol]}"]
    payload = message.payload
    return message_lines(message.topic, ", ".join(delivery), payload, len(payload), message.properties)


def _message_document(message: Envelope) -> dict[str, Any]:
    return {
        "payload": as_text(message.payload),
        "payload_base64": base64.b64encode(message.payload).decode(),
        "retain": message.retain,
        "dup": message.dup,
        "packet_id": message.packet_id,
        "protocol": _PROTOCOLS[message.protocol],
        "trigger_version": message.trigger_version,
        "properties": message.properties and msgspec.structs.asdict(message.properties),
    }


def _payload_lines(payload: bytes, size_all: int) -> list[str]:
    """As text where it is text, else in hexadecimal."""
    text = as_text(payload)
    if text is None:
        head = payload[:_BYTES_SHOWN]
        lines = [head[i : i + _HEX_PER_LINE].hex(" ") for i in range(0, len(head), _HEX_PER_LINE)]
    else:
        head = text[:_BYTES_SHOWN].encode()
        lines = printable_lines(head.decode()).split("\n")
    return [*lines, f"… and {size(size_all - len(head))} more"] if size_all > len(head) else lines


def _timings(run: Run) -> list[str]:
    """Each step with the time since the one before."""
    steps = {
        "received": run.received_at, "admitted": run.admitted_at, "queued": run.queued_at, "started": run.started_at,
        "ended": run.ended_at,
    }  # fmt: skip
    known = {name: at for name, at in steps.items() if at is not None}
    waits = [milliseconds(before, at) for before, at in pairwise(known.values())]
    shown = ["", *[f"  +{duration(wait)}" for wait in waits]]
    return fields((name, at + wait) for (name, at), wait in zip(known.items(), shown, strict=False))


_CUT_OFF = {"RunnerDied": "cut off by its runner's death", "WorkerDied": "cut off by its worker's death, noticed"}
"""Errors of attempts that did not end by themselves, and what is said of them."""


def attempt_outcome(attempt: Attempt) -> str:
    """How an attempt ended, in words."""
    return _CUT_OFF.get(str(attempt.error["name"]), attempt.outcome) if attempt.error else attempt.outcome


def _attempt(index: int, attempt: Attempt) -> list[str]:
    took = duration(milliseconds(attempt.started_at, attempt.ended_at))
    lines = [f"attempt {index}  {attempt_outcome(attempt)} after {took}  ({attempt.execution_id or 'unknown worker'})"]
    if attempt.arguments is not None:
        lines += ["  arguments, from the preprocessor", *indented(_json_text(attempt.arguments, indent=2).split("\n"))]
    if attempt.result is not None:
        lines += ["  result", *indented(_json_text(attempt.result, indent=2).split("\n"))]
    if attempt.error is not None:
        lines.append(f"  {attempt.error['name']}: {printable_lines(str(attempt.error['message']))}")
        lines += indented(printable_lines(str(attempt.error["stack"])).splitlines())
    if attempt.log:
        lines += ["  log", *indented(printable_lines(attempt.log).split("\n"))]
    return lines


def _json_text(value: Any, indent: int | None = None) -> str:
    return printable_lines(json.dumps(value, ensure_ascii=False, default=str, indent=indent))


def milliseconds(start: str | None, end: str | None) -> float | None:
    """Milliseconds from one time to another."""
    if start is None or end is None:
        return None
    return max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds() * 1000)


def local_time(at: str | None) -> str:
    """A time of today as clock time, else with its date; of this machine."""
    if at is None:
        return "–"
    local = datetime.fromisoformat(at).astimezone()
    today = datetime.now(UTC).astimezone().date()
    return f"{local:%H:%M:%S}" if local.date() == today else f"{local:%Y-%m-%d %H:%M}"
