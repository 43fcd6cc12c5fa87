"""What a deployment does to sessions: which are left behind, which are taken up again."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from shared.definitions import Broker, Topic, Trigger, decode_definition, encode_definition
from shared.departures import After, Before, settle_sessions
from shared.left import Left, LeftEntry, encode_left, lasts
from shared.workspace.plan import Plan
from tests.support.factories import TRIGGER, make_trigger

HERE = Broker("f/demo/broker", "here.example", 1883)
THERE = Broker("f/demo/broker", "there.example", 1883)
NOW_MS = 1_767_323_045_000
OLD = make_trigger()


def entry(broker: Broker = HERE, **changes: Any) -> LeftEntry:
    """A session on record as left."""
    fields: dict[str, Any] = {
        "trigger": TRIGGER,
        "trigger_version": "v",
        "broker_version": "b",
        "client_id": OLD.client_id,
        "epoch": 3,
        "why": "deleted",
        "at": 5,
    }
    left = Left(**(fields | changes))
    return LeftEntry(left, encode_left(left), broker)


def settle(
    before: Trigger | None,
    after: Trigger | None,
    left: dict[str, LeftEntry] | None = None,
    brokers: tuple[Broker, Broker] = (HERE, HERE),
) -> Plan:
    """The plan of a deployment that makes one trigger of another."""
    changed, definitions = {}, {}
    if after is not None:
        version, blob = encode_definition(after)
        changed, definitions = {f"trigger:{after.path}": version}, {version: blob}
    plan = Plan(1, [], [], [], [], definitions, changed, [])
    was = Before(
        {before.path: before} if before else {},
        {HERE.path: brokers[0]},
        {f"trigger:{before.path}": "tv", f"broker:{HERE.path}": "bv"} if before else {},
        left or {},
        {before.session: brokers[0]} if before else {},
        {before.session: 2} if before else {},
    )
    will_be = After({after.path: after} if after else {}, {HERE.path: brokers[1]})
    return settle_sessions(plan, was, will_be, NOW_MS, lambda: "new")


def session_of(plan: Plan) -> str:
    """The session that the one trigger of the plan gets."""
    (version,) = plan.changed.values()
    return decode_definition(plan.definitions[version], Trigger).session


def test_a_deleted_trigger_leaves_its_session() -> None:
    """With all that it takes to drain it."""
    assert settle(OLD, None).left == {
        OLD.session: Left(TRIGGER, "tv", "bv", OLD.client_id, 2, "deleted", NOW_MS),
    }


def test_the_record_has_the_variables_that_the_broker_named() -> None:
    """The same deployment may delete them."""
    broker = structs.replace(HERE, username="me", password="$var:f/demo/password")
    versions = {f"trigger:{OLD.path}": "tv", f"broker:{HERE.path}": "bv", "variable:f/demo/password": "pv"}
    before = Before({OLD.path: OLD}, {HERE.path: broker}, versions, {}, {}, {})
    plan = settle_sessions(Plan(1, [], [], [], [], {}, {}, []), before, After({}, {}), NOW_MS, lambda: "new")

    assert plan.left[OLD.session].variables == {"f/demo/password": "pv"}


@pytest.mark.parametrize(
    "trigger",
    [
        make_trigger(Topic("a", 0)),
        make_trigger(session_expiry_interval=0),
        make_trigger(client_version="v3", clean_start=True),
        make_trigger(Topic("a", 0), client_version="v3"),
        make_trigger(enabled=False),
    ],
)
def test_a_session_that_does_not_outlive_its_connection_is_not_left(trigger: Trigger) -> None:
    """Nothing can wait in it; that of a disabled trigger is on record already, or was ended."""
    assert settle(trigger, None).left == {}


def test_a_trigger_that_goes_on_leaves_nothing() -> None:
    """Also under another path."""
    assert settle(OLD, structs.replace(OLD, keep_alive_s=5)).left == {}
    assert settle(OLD, structs.replace(OLD, path="f/demo/renamed")).left == {}


def test_another_client_id_gets_a_session_of_its_own() -> None:
    """The old one keeps what belongs to it."""
    plan = settle(OLD, structs.replace(OLD, client_id="other"))

    assert session_of(plan) == "new"
    assert plan.left[OLD.session].why == "client id"
    assert len(plan.definitions) == 1


def test_going_back_to_an_older_client_id_takes_its_session_up() -> None:
    """And leaves the newer one."""
    now = make_trigger(client_id="other", session="s2")
    plan = settle(now, structs.replace(now, client_id=OLD.client_id), {"s1": entry()})

    assert (session_of(plan), list(plan.left), plan.taken) == ("s1", ["s2"], {"s1": entry().blob})


def test_a_trigger_that_is_created_takes_up_what_was_left_at_its_broker() -> None:
    """By client id and address; at another address, that is another session."""
    created = make_trigger(session="fresh")
    taken = settle(None, created, {"s1": entry()})
    other = settle(None, created, {"s1": entry(broker=THERE)})

    assert (session_of(taken), taken.taken) == ("s1", {"s1": entry().blob})
    assert (session_of(other), other.taken) == ("fresh", {})


def test_a_disabled_trigger_leaves_its_session_until_it_is_enabled() -> None:
    """Under the same id; when it is deleted meanwhile, the reason changes and the time does not."""
    off = structs.replace(OLD, enabled=False)
    kept = {OLD.session: entry(why="disabled")}

    assert settle(OLD, off).left[OLD.session].why == "disabled"
    assert settle(off, OLD, kept).taken == {OLD.session: kept[OLD.session].blob}
    deleted = settle(off, None, kept).left[OLD.session]
    assert (deleted.why, deleted.at) == ("deleted", 5)


def test_another_address_keeps_the_session_until_the_broker_there_has_answered() -> None:
    """It may be the same one under another name."""
    plan = settle(OLD, structs.replace(OLD, keep_alive_s=5), brokers=(HERE, THERE))

    assert (session_of(plan), plan.left, plan.moving) == (OLD.session, {}, [TRIGGER])


def test_coming_back_to_a_broker_takes_up_the_session_that_was_left_there() -> None:
    """Also where nothing but the broker has changed: the one at the other broker is left."""
    plan = settle(OLD, OLD, {"abcdefgh_3": entry()}, brokers=(THERE, HERE))

    assert (session_of(plan), plan.moving) == ("abcdefgh_3", [])
    assert plan.left[OLD.session].why == "broker"


def test_a_session_lasts_where_the_broker_is_asked_to_keep_it() -> None:
    """By the rules of either protocol version."""
    assert lasts(make_trigger())
    assert lasts(make_trigger(Topic("a", 0), session_expiry_interval=60))
    assert lasts(make_trigger(Topic("a", 0), client_version="v3", clean_start=False))
    assert not lasts(make_trigger(Topic("a", 0)))
