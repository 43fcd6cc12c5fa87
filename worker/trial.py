"""Running a script here and now, in a runner as a worker has them, without Redis and without a record of the run."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from shared.clock import iso_utc
from shared.definitions import Script, encode_definition
from shared.envelope import ENVELOPE_VERSION, Envelope, QoS
from shared.errors import UserError
from shared.event import EventV5
from shared.runs import RunSpec
from worker.arguments import message_call, tell_trace, trace_of
from worker.environment import run_environment
from worker.here import Here
from worker.runners.base import Form, Message, RunCall, RunErrorInfo

RUN_ID = "q0-trial-1-1"


class Event(msgspec.Struct, frozen=True):
    """The event of a preprocessor, as Windmill captures it too; `payload` is base64."""

    payload: str
    topic: str
    kind: str = "mqtt"
    trigger_path: str = ""
    retain: bool = False
    pkid: int = 0
    qos: QoS = 0
    v5: EventV5 | None = None


class _Runs(msgspec.Struct, frozen=True):
    runnable: str
    captures: dict[str, str] = {}


class _Saved(msgspec.Struct, frozen=True):
    event: Event
    runs: list[_Runs] = []


class Given(msgspec.Struct, frozen=True):
    """What code is run on: a message, arguments of `main` or of a flow (JSON), or both: then the arguments count.

    `environment`: further variables that it finds.
    """

    event: Event | None = None
    captures: dict[str, str] = {}
    args: bytes | None = None
    form: Form = "windmill"
    environment: dict[str, str] = {}


class Outcome(msgspec.Struct, frozen=True):
    """What came of it. `arguments` are those that a preprocessor has made, `messages` what would be published."""

    runnable: str
    version: str
    ok: bool
    result: Any
    error: RunErrorInfo | None
    log: str
    arguments: Any
    duration_ms: float
    messages: tuple[Message, ...] = ()


def read_event(text: bytes, runnable: str, where: str) -> Given:
    """What `headrace capture --save` has written, or a bare event. Raises UserError."""
    try:
        found = msgspec.json.decode(text, type=Mapping[str, Any])
        if "event" in found:
            saved = msgspec.convert(found, _Saved)
            captures = next((each.captures for each in saved.runs if each.runnable == runnable), {})
            event = saved.event
        else:
            event, captures = msgspec.convert(found, Event), dict[str, str]()
        base64.b64decode(event.payload, validate=True)
    except (msgspec.DecodeError, msgspec.ValidationError, binascii.Error) as error:
        hint = "headrace capture PATH --save FILE writes one; its payload is base64"
        raise UserError(f"{where} is not a captured event: {error}", hint=hint) from error
    return Given(event, captures)


def execute(script: Script, given: Given, here: Here, timeout_s: float) -> Outcome:
    """Run it in one of these runners. Raises HeadraceError for what keeps it from being begun."""
    version, _ = encode_definition(script)
    began = time.monotonic()
    done = here.run(script, version, _call(script, version, given), timeout_s)
    return Outcome(
        script.path, version, done.ok, _json(done.result_json), done.error, done.log, _json(done.arguments_json),
        round((time.monotonic() - began) * 1000, 3), done.messages if done.ok else (),
    )  # fmt: skip


def _call(script: Script, version: str, given: Given) -> RunCall:
    event = given.event
    trigger = event.trigger_path if event else ""
    spec = RunSpec(trigger, script.path, version, "trial", given.captures, b"", given.args, "" if event else "api")
    message = message_of(event) if event else None
    trace = trace_of(RUN_ID, RUN_ID, spec, message)
    environment = run_environment(RUN_ID, spec, "", iso_utc(time.time_ns()), trace) | given.environment
    if message is None:
        context = {"idempotency_key": "trial", "attempt": 1, "origin": "api"}
        return RunCall(RUN_ID, given.args or b"{}", None, context, "arguments", environment)
    call = message_call(RUN_ID, 1, spec, message, given.form, environment, with_event=script.has_preprocessor)
    if trace is not None:
        tell_trace(call, trace)
    if given.args is None:
        return call
    return msgspec.structs.replace(call, payload=given.args, event=None, form="arguments")


def message_of(event: Event) -> Envelope:
    """The message that a captured event was made of."""
    properties = None if event.v5 is None else event.v5.properties()
    return Envelope(
        ENVELOPE_VERSION, event.trigger_path, "", event.topic, base64.b64decode(event.payload), event.qos, event.retain,
        False, event.pkid, time.time_ns() // 1_000_000, 5 if event.v5 else 4, [], properties,  # noqa: FBT003 - in wire order
    )  # fmt: skip


def _json(text: bytes | None) -> Any:
    return None if text is None else msgspec.json.decode(text)
