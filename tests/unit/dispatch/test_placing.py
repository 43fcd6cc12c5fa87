"""What becomes of an inbox entry."""

from __future__ import annotations

import msgspec
import pytest

from dispatch.placing import Entry, decide
from dispatch.router import CompiledTrigger
from shared.dead import decode_letter
from shared.definitions import Runnable, Topic
from shared.envelope import ENVELOPE_VERSION, Envelope, Properties, encode_envelope
from shared.errors import NewerEnvelope
from shared.runs import decode_job
from shared.scripts.dispatch import Placement
from tests.support.factories import RUNNABLE, TRIGGER, VERSION, make_envelope, make_trigger

KEY = b"abcdefgh-1-5"


def placement(envelope: Envelope | bytes, *, key: bytes = KEY, known: bool = True) -> Placement:
    """Decide about an entry with this envelope, with the trigger's version deployed or not."""
    blob = envelope if isinstance(envelope, bytes) else encode_envelope(envelope)
    compiled = CompiledTrigger(make_trigger(Topic("demo/{name}", 1)))
    lookup = {VERSION: compiled} if known else {}
    return decide(Entry(b"1-1", key, blob), lookup.get, {"abcdefgh": TRIGGER}.get, 1000)


def test_a_message_becomes_a_run_with_an_id_made_of_qos_and_key() -> None:
    """The same entry always makes the same run."""
    (run,) = placement(make_envelope(qos=2)).runs
    spec = decode_job(run.data)

    assert run.id == "q2-abcdefgh-1-5"
    assert (spec.runnable, spec.runnable_version) == (RUNNABLE.path, RUNNABLE.version)
    assert (spec.idempotency_key, spec.captures) == ("abcdefgh-1-5", {"name": "hello"})
    assert spec.message() == make_envelope(qos=2)
    assert run.timeout_s == RUNNABLE.timeout_s


def test_a_message_for_a_flow_becomes_a_run_of_the_flow() -> None:
    """With its version, and the time that it may take."""
    flow = Runnable("f/iot/hot", "0f3a", 604800, is_flow=True)
    trigger = make_trigger(Topic("demo/#", 1), runnable=flow.path, runnables={flow.path: flow})
    entry = Entry(b"1-1", KEY, encode_envelope(make_envelope()))
    (run,) = decide(entry, {VERSION: CompiledTrigger(trigger)}.get, {"abcdefgh": TRIGGER}.get, 1000).runs
    spec = decode_job(run.data)

    assert (spec.runnable, spec.runnable_version, spec.is_flow, run.timeout_s) == ("f/iot/hot", "0f3a", True, 604800)


@pytest.mark.parametrize(
    "user_properties",
    [[("idempotency-key", "order 7")], [("specversion", "1.0"), ("source", "order"), ("id", "7")]],
)
def test_at_qos_1_the_publishers_own_id_is_the_idempotency_key(user_properties: list[tuple[str, str]]) -> None:
    """From the user property or a CloudEvent; the run's id still comes from the admission."""
    message = make_envelope(properties=Properties(user_properties=user_properties))
    found = placement(message)

    assert decode_job(found.runs[0].data).idempotency_key == "order 7"
    assert found.published.startswith(f"headrace:published:{TRIGGER}:")
    assert found.runs[0].id == "q1-abcdefgh-1-5"


@pytest.mark.parametrize("qos", [0, 2])
def test_at_qos_0_and_2_the_publishers_own_id_drops_nothing(qos: int) -> None:
    """QoS 2 is told apart by the protocol, QoS 0 is never sent again."""
    message = make_envelope(qos=qos, properties=Properties(user_properties=[("idempotency-key", "order 7")]))

    assert placement(message).published == ""


def test_a_version_that_is_not_deployed_is_a_dead_letter() -> None:
    """With the whole envelope, and a detail that names the version."""
    found = placement(make_envelope(), known=False)
    letter = decode_letter(found.letter)

    assert (found.verdict, found.trigger, found.runs) == ("unrouted", TRIGGER, ())
    assert (letter.reason, letter.topic, letter.payload) == ("unrouted", "demo/hello", b"21.5")
    assert VERSION in letter.detail
    assert letter.envelope == encode_envelope(make_envelope())


def test_a_topic_that_nothing_asks_for_is_a_dead_letter_from_qos_1_on() -> None:
    """At QoS 0 it is only counted."""
    counted, buried = (placement(make_envelope(topic="other", qos=qos, filters=[])) for qos in (0, 1))

    assert (counted.verdict, counted.letter) == ("unrouted", b"")
    assert (buried.verdict, decode_letter(buried.letter).reason) == ("unrouted", "unrouted")


@pytest.mark.parametrize("blob", [b"", b"\xc1", b"not an envelope", msgspec.msgpack.encode([1, "x"])])
def test_bytes_that_are_no_envelope_are_poison(blob: bytes) -> None:
    """They are buried, on the account of the trigger that their session is for."""
    found = placement(blob)

    assert (found.verdict, found.trigger) == ("poisoned", TRIGGER)
    assert decode_letter(found.letter).payload == blob


@pytest.mark.parametrize("key", [b"", b"abc", b"a-b-c", b"\xff-1-1"])
def test_an_entry_without_a_proper_key_is_poison(key: bytes) -> None:
    """No run id can be made of it."""
    found = placement(make_envelope(), key=key)
    assert (found.verdict, found.trigger) == ("poisoned", "?")


def test_an_envelope_of_a_newer_release_stops_this_one() -> None:
    """It is for the release that wrote it: the entry must stay pending."""
    fields = [*msgspec.to_builtins(msgspec.structs.astuple(make_envelope())), "something new"]
    fields[0] = ENVELOPE_VERSION + 1

    with pytest.raises(NewerEnvelope):
        placement(msgspec.msgpack.encode(fields))
