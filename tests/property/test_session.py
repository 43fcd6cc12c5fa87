"""The session against a model broker that drops the connection anywhere, while the process is killed anywhere.

Held to account: at QoS 2 never lost and never twice, at QoS 1 never lost, at QoS 0 never twice. Messages that a broker
held when it lost the session may be lost, and are still not admitted twice.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.codec import Protocol
from shared.definitions import Topic
from tests.property.model_broker import Habits
from tests.property.session_world import ONE, OVERLAPPING, STEPS, Step, World
from tests.support.factories import make_trigger


@dataclass(frozen=True)
class Script:
    """A long walk through the steps, made of a few numbers: hypothesis' own lists are too short to get anywhere."""

    seed: int
    length: int
    calm: float
    identical: bool

    def steps(self, extra: list[Step]) -> list[tuple[Step, int]]:
        """Steps with a number each; the calmer, the rarer are ends of connections and processes."""
        dice = random.Random(self.seed)
        choice = [*STEPS, *extra]
        ends = (World.drop, World.kill, World.stop, World.lose_session)
        weights = [1 - self.calm if each in ends else dice.choice((0.3, 1, 2)) for each in choice]
        return [(step, dice.randrange(8)) for step in dice.choices(choice, weights, k=self.length)]


scripts = st.builds(
    Script,
    st.integers(0, 2**32 - 1),
    st.integers(10, 250),
    st.sampled_from([0.5, 0.7, 0.9, 0.95, 1.0]),
    st.booleans(),
)
protocols = st.sampled_from(Protocol)
brokers = st.builds(
    Habits,
    protocols,
    st.sampled_from(["each", "each", "merged", "single"]),
    says_dup=st.booleans(),
    window=st.sampled_from([1, 3, None]),
    releases_first=st.booleans(),
)


def play(habits: Habits, topics: list[Topic], script: Script, *extra: Step) -> None:
    """Let it happen, let it heal, and look."""
    world = World(habits, make_trigger(*topics), script.identical)
    world.settle()
    for step, argument in script.steps(list(extra)):
        step(world, argument)
    world.settle()
    world.check()


@settings(max_examples=1000, deadline=None)
@given(brokers, scripts)
def test_each_message_is_admitted_as_often_as_its_qos_promises(habits: Habits, script: Script) -> None:
    """Whatever ends, at whatever moment, with brokers that keep to MQTT; or that drop exchanges which expire."""
    play(replace(habits, expires=not script.identical), ONE, script)


@settings(max_examples=800, deadline=None)
@given(brokers, scripts)
def test_copies_through_overlapping_filters_neither_lose_nor_repeat_a_message(habits: Habits, script: Script) -> None:
    """However the broker makes copies; not repeated once it is on record how it does."""
    play(habits, OVERLAPPING, script)


@settings(max_examples=600, deadline=None)
@given(brokers, scripts)
def test_packet_identifiers_reused_in_flight_do_not_confuse_messages(habits: Habits, script: Script) -> None:
    """As Mosquitto does with a large backlog, ignoring Receive Maximum."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ingest.inflight.RESENT_WITHIN", -1)  # so few identifiers come again much sooner than 65,535 do
        play(replace(habits, packet_ids=2, reuse=True, window=None), ONE, script)


@settings(max_examples=400, deadline=None)
@given(protocols, scripts)
def test_a_publish_that_comes_again_beside_its_pubrel_is_no_new_message(protocol: Protocol, script: Script) -> None:
    """As aedes does when a client comes back: without DUP, before our PUBCOMP."""
    play(Habits(protocol, says_dup=False, packet_ids=60_000, republishes=True), ONE, script)


@settings(max_examples=800, deadline=None)
@given(brokers, scripts)
def test_no_message_is_lost_while_subscriptions_change(habits: Habits, script: Script) -> None:
    """Filters come and go, overlap or not, with messages queued under all; in the end they are what is wanted."""
    play(habits, ONE, script, World.deploy)
