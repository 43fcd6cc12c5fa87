"""Which connections to make to come to the session that a trigger asks for."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.codec import (
    Protocol,
)
from ingest.handshake import ConnectStep, connect_plan, protocol_of
from ingest.session_events import (
    SessionRecord,
)
from ingest.subscriptions import Generation, Subscriptions
from shared.definitions import Topic
from shared.left import WEEK_S
from tests.support.factories import make_trigger

NEVER = SessionRecord(0, 1, None, None, {})
PURGE = {protocol: ConnectStep(protocol, clean_start=True, purge=True) for protocol in Protocol}


def known(protocol: Protocol = Protocol.V5, *, lasting: bool = True) -> SessionRecord:
    """A session that has been connected before."""
    return SessionRecord(1, 5, protocol, Subscriptions(4, [Generation(0, [])], lasting=lasting), {})


@pytest.mark.parametrize("protocol", Protocol)
def test_the_first_connect_ends_what_there_is_and_then_begins_a_session_that_lasts(protocol: Protocol) -> None:
    """On 3.1.1 one connection cannot do both; on 5 Mosquitto would not save the session."""
    plan = connect_plan(make_trigger(Topic("a", 1)), NEVER, protocol, new_holder=True)

    assert plan == [PURGE[protocol], ConnectStep(protocol, clean_start=False, session_expiry_s=WEEK_S, lasting=True)]


@pytest.mark.parametrize("protocol", Protocol)
@pytest.mark.parametrize("new_holder", [True, False])
def test_every_later_connect_resumes(protocol: Protocol, new_holder: bool) -> None:  # noqa: FBT001
    """Whoever holds the session."""
    (step,) = connect_plan(make_trigger(Topic("a", 2)), known(protocol), protocol, new_holder=new_holder)

    assert not step.clean_start
    assert step.lasting


@pytest.mark.parametrize("changes", [{}, {"session_expiry_interval": 0}])
@pytest.mark.parametrize("protocol", Protocol)
def test_a_session_that_need_not_last_starts_clean_each_time(protocol: Protocol, changes: dict[str, Any]) -> None:
    """At QoS 0 there is nothing to keep, and an expiry of 0 says that nothing shall be kept."""
    trigger = make_trigger(Topic("a", 1) if changes else Topic("a", 0), **changes)

    for record in (NEVER, known(protocol, lasting=False)):
        assert connect_plan(trigger, record, protocol, new_holder=False) == [ConnectStep(protocol, clean_start=True)]


@pytest.mark.parametrize("protocol", Protocol)
def test_what_an_earlier_deployment_left_at_the_broker_is_fetched_once_more(protocol: Protocol) -> None:
    """The trigger has gone from QoS 2 to 0 while messages were queued."""
    (step,) = connect_plan(make_trigger(Topic("a", 0)), known(protocol), protocol, new_holder=True)

    assert (step.clean_start, step.lasting, step.session_expiry_s) == (False, False, 0)


def test_an_explicit_clean_start_is_made_by_each_new_holder() -> None:
    """And by nobody else: a reconnect resumes."""
    trigger = make_trigger(Topic("a", 2), clean_start=True)

    assert connect_plan(trigger, known(), Protocol.V5, new_holder=True)[0] == PURGE[Protocol.V5]
    (step,) = connect_plan(trigger, known(), Protocol.V5, new_holder=False)
    assert not step.clean_start


def test_on_3_1_1_an_explicit_clean_session_never_outlives_its_connection() -> None:
    """That is what the flag means there."""
    trigger = make_trigger(Topic("a", 2), clean_start=True)
    steps = connect_plan(trigger, known(Protocol.V311), Protocol.V311, new_holder=False)

    assert [(step.clean_start, step.lasting) for step in steps] == [(True, False)]


@pytest.mark.parametrize("protocol", Protocol)
def test_an_explicit_false_takes_the_session_that_is_there(protocol: Protocol) -> None:
    """Even on the first connect of all."""
    trigger = make_trigger(Topic("a", 1), clean_start=False)
    (step,) = connect_plan(trigger, NEVER, protocol, new_holder=True)

    assert not step.clean_start


def test_the_protocol_is_the_triggers_else_that_of_the_epoch_else_5() -> None:
    """It does not change by itself while a session lasts."""
    assert protocol_of(make_trigger(client_version="v3"), known()) is Protocol.V311
    assert protocol_of(make_trigger(), known(Protocol.V311)) is Protocol.V311
    assert protocol_of(make_trigger(), NEVER) is Protocol.V5
