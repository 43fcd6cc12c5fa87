"""What becomes of an inbox entry by what is in the message: filters and the trigger's own idempotency key."""

from __future__ import annotations

from typing import Any

import pytest

from dispatch.placing import Entry, decide
from dispatch.router import CompiledTrigger
from shared.definitions import Filter, Topic
from shared.envelope import Envelope, Properties, encode_envelope
from shared.runs import decode_job
from shared.scripts.dispatch import Placement
from tests.support.factories import TRIGGER, VERSION, make_envelope, make_trigger

ALARMS = [Filter("kind", "alarm")]
GIVEN = Properties(user_properties=[("idempotency-key", "the publisher's")])


def placement(envelope: Envelope, **trigger: Any) -> Placement:
    """Decide about a message of a trigger for demo/{name} with these fields."""
    lookup = {VERSION: CompiledTrigger(make_trigger(Topic("demo/{name}", 2), **trigger))}
    return decide(Entry(b"1-1", b"abcdefgh-1-5", encode_envelope(envelope)), lookup.get, lambda _path: None, 1000)


def key(envelope: Envelope, expression: str) -> str:
    """The idempotency key of the run."""
    return decode_job(placement(envelope, idempotency_key=expression).runs[0].data).idempotency_key


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_what_the_filters_refuse_makes_no_run(qos: int) -> None:
    """It is settled all the same, and no id of it is remembered."""
    message = make_envelope(payload=b'{"kind": "info"}', qos=qos, properties=GIVEN)
    found = placement(message, filters=ALARMS, idempotency_key="topic")

    assert (found.verdict, found.trigger, found.runs) == ("filtered", TRIGGER, ())
    assert (found.published, found.letter) == ("", b"")


def test_what_the_filters_let_pass_runs() -> None:
    """As without them."""
    assert placement(make_envelope(payload=b'{"kind": "alarm"}'), filters=ALARMS).verdict == "run"


def test_what_the_filters_refuse_is_not_asked_where_it_goes() -> None:
    """Nobody wants to find it among the dead letters."""
    message = make_envelope(topic="elsewhere", filters=[], payload=b"no JSON")

    assert placement(message, filters=ALARMS).verdict == "filtered"
    assert placement(message).verdict == "unrouted"


@pytest.mark.parametrize("qos", [1, 2])
def test_the_triggers_expression_names_the_message(qos: int) -> None:
    """At QoS 2 too: whoever writes one wants it. It sees the levels of the topic."""
    message = make_envelope(qos=qos, properties=GIVEN)
    found = placement(message, idempotency_key="`${captures.name} ${payload}`")

    assert decode_job(found.runs[0].data).idempotency_key == "hello 21.5"
    assert found.published.startswith(f"headrace:published:{TRIGGER}:")
    assert found.runs[0].id == f"q{qos}-abcdefgh-1-5"


def test_the_triggers_expression_wins_over_the_publisher() -> None:
    """Also where it says that there is no key."""
    message = make_envelope(properties=GIVEN)

    assert key(message, "topic") == "demo/hello"
    assert key(message, "user_property['idempotency-key']") == "the publisher's"
    assert key(message, "null") == "abcdefgh-1-5"


def test_at_qos_0_no_key_is_asked_for() -> None:
    """A message that may be lost is never told apart from another by dropping it."""
    found = placement(make_envelope(qos=0), idempotency_key="topic")

    assert (found.verdict, found.published) == ("run", "")


@pytest.mark.parametrize("expression", ["payload.a.b", "payload_text.x.y", "true"])
def test_a_message_whose_key_cannot_be_told_runs_without(expression: str) -> None:
    """It is never lost for it."""
    found = placement(make_envelope(), idempotency_key=expression)

    assert (found.verdict, found.published, len(found.runs)) == ("run", "", 1)
    assert decode_job(found.runs[0].data).idempotency_key == "abcdefgh-1-5"
