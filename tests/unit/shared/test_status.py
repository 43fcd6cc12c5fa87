"""The books, the sessions and the doctor's checks, from what Redis holds."""

from __future__ import annotations

import msgspec
import pytest

from shared.doctor import Check, check_names, check_session, check_status
from shared.durability import judge
from shared.scripts.operate import SessionSnapshot
from shared.status import (
    Counters,
    DeploymentStatus,
    RedisStatus,
    SessionStatus,
    Status,
    WorkerStatus,
    check_identities,
    session_status,
)
from shared.status_page import identity_text, status_page
from shared.tables import columns_of
from tests.support.factories import SESSION, TRIGGER, make_trigger

SAFE = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "maxmemory": "0"}
SUBSCRIBED = (
    '{"connection":2,"generations":[{"number":2,"filters":['
    '{"filter":"demo/hello","requested":1,"since":1,"granted":1}]}]}'
)


def session(lease: str = "4 ingest-1", **fields: str) -> SessionStatus:
    """A session that is held and connected, with these fields changed."""
    known = {"state": "connected", "since": "1767323045000", "epoch": "3", "connection": "7", "protocol": "5"}
    stored = known | {"subscriptions": SUBSCRIBED} | fields
    return session_status(make_trigger(), SessionSnapshot(stored, lease, 2))


def sound() -> Status:
    """A status without a fault."""
    cells = {"received": 3, "admitted": 2, "duplicate": 1, "placed": 2, "runs": 2, "running": 1, "succeeded": 1}
    worker = WorkerStatus("ab12", True, "idle", 0, 1, 1, 0, 0.5, "host", 42, None)  # noqa: FBT003 - a record
    return Status(
        at="2026-01-02T03:04:05.000Z",
        deployment=DeploymentStatus(1, "abc123", 1, 1),
        redis=RedisStatus("redis://127.0.0.1/0", "Valkey", "9.1.2", "full", []),
        inbox_length=0,
        queue_length=0,
        claimed=0,
        running=1,
        dead=0,
        oldest_unprocessed_age_ms=None,
        sessions=[session()],
        counters=Counters(cells, {TRIGGER: cells}),
        identities=[*check_identities(None, cells), *check_identities(TRIGGER, cells)],
        workers=[worker],
    )


def changed(name: str, **fields: object) -> Status:
    """A sound status with a part changed."""
    status = sound()
    if name:
        return msgspec.structs.replace(status, **{name: msgspec.structs.replace(getattr(status, name), **fields)})
    return msgspec.structs.replace(status, **fields)


def complaints(status: Status) -> dict[str, Check]:
    """What the doctor does not find in order."""
    return {check.name: check for check in check_status(status) if check.level != "ok"}


def test_the_books_balance_when_every_message_is_in_one_cell() -> None:
    """Four identities; both sides are shown."""
    cells = {"received": 5, "admitted": 4, "oversized": 1, "inbox": 1, "placed": 2, "unrouted": 1, "runs": 3, "lost": 3}
    admit, place, run, send = check_identities(TRIGGER, cells | {"said": 3, "outbox": 1, "sent": 2})

    assert admit.holds
    assert place.holds
    assert run.holds
    assert send.holds
    assert identity_text(admit) == f"{TRIGGER}: received 5 = admitted 4 + oversized 1"


def test_a_message_that_is_nowhere_breaks_an_identity() -> None:
    """And only that one."""
    found = check_identities(None, {"received": 5, "admitted": 5, "placed": 4, "runs": 4, "succeeded": 4})

    assert [identity.holds for identity in found] == [True, False, True, True]
    assert identity_text(found[1]) == "admitted 5 ≠ placed 4"


def test_a_held_session_is_shown_as_it_reports_itself() -> None:
    """With its holder, what was granted, and times in UTC."""
    found = session()

    assert (found.state, found.holder, found.epoch, found.protocol) == ("connected", "ingest-1", 3, "5")
    assert (found.since, found.granted, found.refused) == ("2026-01-02T03:04:05.000Z", {"demo/hello": 1}, {})
    assert (found.session, found.inflight) == (SESSION, 2)


def test_a_session_that_nobody_holds_is_waiting() -> None:
    """Whatever its last holder has said."""
    found = session(lease="", reason="broken pipe")

    assert (found.state, found.since, found.reason, found.holder) == ("waiting", None, None, None)


def test_a_disabled_trigger_that_was_never_opened_is_disabled() -> None:
    """And nothing is granted."""
    found = session_status(make_trigger(enabled=False), None)

    assert (found.state, found.granted, found.client_id) == ("disabled", {"demo/hello": None}, "headrace-test")


@pytest.mark.parametrize("stored", ["", "{", "[]", '{"generations":[]}'])
def test_subscriptions_that_cannot_be_read_grant_nothing(stored: str) -> None:
    """A newer release may have written them."""
    assert session(subscriptions=stored).granted == {"demo/hello": None}


def test_a_refused_topic_is_shown_with_the_brokers_reason() -> None:
    """And the doctor says what to do."""
    found = session(subscriptions=SUBSCRIBED.replace('"granted":1', '"granted":135'))

    assert (found.granted, found.refused) == ({"demo/hello": None}, {"demo/hello": "0x87"})
    assert check_session(found).level == "fail"


@pytest.mark.parametrize(
    "config, level, word",
    [
        ({}, "full", ""),
        ({"appendonly": "no"}, "reduced", "snapshot"),
        ({"appendfsync": "everysec"}, "reduced", "last second"),
        ({"maxmemory-policy": "allkeys-lru"}, "reduced", "forgets"),
    ],
)
def test_durability_is_judged_by_what_redis_would_forget(config: dict[str, str], level: str, word: str) -> None:
    """Each shortfall says what it costs."""
    found = judge(SAFE | config)

    assert found.level == level
    assert word in "".join(found.reasons)


def test_a_redis_that_does_not_tell_is_unknown() -> None:
    """Managed services forbid CONFIG GET."""
    assert judge({}).level == "unknown"


def test_the_doctor_finds_nothing_where_all_is_well() -> None:
    """Every check is ok."""
    assert complaints(sound()) == {}


@pytest.mark.parametrize(
    "status, name, level, fix",
    [
        (changed("redis", version="6.2.1"), "redis", "fail", "upgrade"),
        (changed("redis", durability="reduced", reasons=["x"]), "durability", "warn", "appendfsync always"),
        (changed("deployment", triggers=0), "deployment", "warn", "headrace push"),
        (changed("", workers=[]), "workers", "fail", "headrace worker"),
        (changed("", sessions=[session(lease="")]), f"session {TRIGGER}", "fail", "headrace ingest"),
        (changed("", sessions=[session(state="reconnecting")]), f"session {TRIGGER}", "warn", "reached"),
        (changed("", sessions=[session(state="refused")]), f"session {TRIGGER}", "fail", "objects"),
        (changed("", oldest_unprocessed_age_ms=60_000, inbox_length=5), "backlog", "warn", "headrace dispatch"),
        (changed("", oldest_unprocessed_age_ms=60_000), "backlog", "warn", "more of headrace worker"),
        (changed("", identities=check_identities(None, {"received": 1})), "books", "fail", "report"),
    ],
)
def test_the_doctor_says_what_is_wrong_and_how_to_mend_it(status: Status, name: str, level: str, fix: str) -> None:
    """One complaint for one fault."""
    found = complaints(status)

    assert list(found) == [name]
    assert found[name].level == level
    assert fix in found[name].fix


def test_packages_of_our_names_from_others_are_warned_about() -> None:
    """Top-level packages have plain names."""
    assert check_names({"shared": ["headrace"], "worker": ["headrace", "worker-lib"]}).level == "warn"
    assert check_names({"shared": ["headrace"], "numpy": ["numpy"]}).level == "ok"


def test_the_status_fits_a_screen_of_100_columns() -> None:
    """Long names give way, and control characters are shown."""
    long = session(reason="x\x1b[2J")
    status = changed("", sessions=[msgspec.structs.replace(long, trigger="f/" + "long/" * 30, state="refused")])
    page = status_page(status, 100)

    assert max(columns_of(line) for line in page.split("\n") if "x\\x1b" not in line) <= 100
    assert "\x1b" not in page
