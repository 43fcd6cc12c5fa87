"""What becomes of an inbox entry: pure. An entry is decoded, routed, and turned into the runs to be made of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

import msgspec

from dispatch.expiry import lifetime_ms
from dispatch.router import CompiledTrigger, Route
from shared import keys
from shared.dead import HEAD_BYTES, LETTER_VERSION, DeadLetter, Reason, encode_letter
from shared.envelope import Envelope, decode_envelope, publisher_key, run_id, split_key
from shared.errors import EnvelopeError, NewerEnvelope
from shared.runs import RunSpec, encode_job
from shared.scripts.dispatch import NewRun, Placement

UNKNOWN_TRIGGER = "?"
DESCRIPTION_LENGTH = 120

Lookup = Callable[[str], CompiledTrigger | None]
"""Trigger version → what it was compiled to; None where there is no such version."""

Owner = Callable[[str], str | None]
"""Session id → path of the trigger that it is for; None where there is no such session."""


class Entry(msgspec.Struct, frozen=True):
    """An entry of the inbox as read: stream id, idempotency key, encoded envelope."""

    id: bytes
    key: bytes
    envelope: bytes


def decide(entry: Entry, lookup: Lookup, owner: Owner, now_ms: int) -> Placement:
    """How to settle an entry. Raises NewerEnvelope, and nothing else: what cannot be read is poisoned.

    The verdict goes by the trigger's version; whether it is suspended now is not asked here (`dispatch.modes`), nor
    whether it has expired (`place` knows the time).
    The trigger's filters come first: what they refuse is not asked where it would go.
    """
    session = None
    try:
        key = entry.key.decode()
        session, _, _ = split_key(key)
        envelope = decode_envelope(entry.envelope)
    except NewerEnvelope:
        raise
    except (EnvelopeError, UnicodeDecodeError) as error:
        trigger = (session and owner(session)) or UNKNOWN_TRIGGER
        return Placement(entry.id, trigger, "poisoned", letter=_poisoned(entry, trigger, str(error), now_ms))
    compiled = lookup(envelope.trigger_version)
    if compiled is None:
        return _unrouted(entry, envelope, known=False, now_ms=now_ms)
    lifetime = lifetime_ms(compiled.trigger, envelope)
    if compiled.filter is not None and not compiled.filter.wants(envelope.payload):
        return Placement(entry.id, envelope.trigger, "filtered", lifetime_ms=lifetime)
    routes = compiled.route(envelope)
    if not routes:
        return _unrouted(entry, envelope, known=True, now_ms=now_ms)
    own = _own_key(compiled, envelope, routes[0])
    return Placement(
        entry.id,
        envelope.trigger,
        "suspended" if compiled.trigger.suspended else "run",
        [_new_run(entry, envelope, key, own or key, index, route) for index, route in enumerate(routes)],
        published=_published(envelope.trigger, own) if own else "",
        lifetime_ms=lifetime,
    )


def in_parts(placements: Sequence[Placement], most_bytes: int) -> Iterator[list[Placement]]:
    """The placements in their order, cut where a part holds `most_bytes`."""
    part: list[Placement] = []
    size = 0
    for placement in placements:
        part.append(placement)
        size += len(placement.letter) + sum(len(run.data) for run in placement.runs)
        if size >= most_bytes:
            yield part
            part, size = [], 0
    if part:
        yield part


def _new_run(entry: Entry, envelope: Envelope, key: str, idempotency_key: str, index: int, route: Route) -> NewRun:
    runnable = route.runnable
    spec = RunSpec(
        envelope.trigger, runnable.path, runnable.version, idempotency_key, route.captures, entry.envelope,
        is_flow=runnable.is_flow,
    )  # fmt: skip
    description = f"{runnable.path} on {envelope.topic}"[:DESCRIPTION_LENGTH]
    return NewRun(run_id(envelope.qos, key, index), encode_job(spec), description, runnable.timeout_s, route.handled)


def _own_key(compiled: CompiledTrigger, envelope: Envelope, best: Route) -> str | None:
    """The id under which a message runs once: what the trigger says, or else, at QoS 1, what the publisher says."""
    if envelope.qos == 0:
        return None
    if compiled.key is not None:
        return compiled.key.of(envelope, best.captures)
    return publisher_key(envelope) if envelope.qos == 1 else None


def _published(trigger: str, own: str) -> str:
    return keys.published(trigger, hashlib.blake2b(own.encode(), digest_size=16).hexdigest())


def _unrouted(entry: Entry, envelope: Envelope, *, known: bool, now_ms: int) -> Placement:
    if envelope.qos == 0:
        return Placement(entry.id, envelope.trigger, "unrouted")
    detail = (
        f"no topic of trigger {envelope.trigger} (version {envelope.trigger_version}) asks for {envelope.topic}"
        if known
        else f"version {envelope.trigger_version} of trigger {envelope.trigger} is not deployed"
    )
    letter = _letter("unrouted", envelope, entry, detail, now_ms)
    return Placement(entry.id, envelope.trigger, "unrouted", letter=encode_letter(letter))


def _letter(reason: Reason, envelope: Envelope, entry: Entry, detail: str, now_ms: int) -> DeadLetter:
    payload = envelope.payload
    return DeadLetter(
        LETTER_VERSION, reason, envelope.trigger, envelope.topic, envelope.qos, payload[:HEAD_BYTES], len(payload),
        hashlib.blake2b(payload, digest_size=8).hexdigest(), envelope.properties, now_ms, detail, entry.envelope,
        entry.key.decode(),
    )  # fmt: skip


def _poisoned(entry: Entry, trigger: str, detail: str, now_ms: int) -> bytes:
    blob = entry.envelope
    digest = hashlib.blake2b(blob, digest_size=8).hexdigest()
    letter = DeadLetter(
        LETTER_VERSION, "poisoned", trigger, "", 0, blob[:HEAD_BYTES], len(blob), digest, None, now_ms, detail,
        key=entry.key.decode("ascii", "replace"),
    )  # fmt: skip
    return encode_letter(letter)
