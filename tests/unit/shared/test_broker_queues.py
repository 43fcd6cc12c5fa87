"""What a broker's topics under $SYS come to, and when it is a warning."""

from __future__ import annotations

from typing import Any

import pytest

from shared.broker_queues import LATELY_MS, QueueReport, broker_status, noted, part_of, troubled
from shared.definitions import Broker
from shared.doctor_queues import QueueCheck, check_queues
from shared.tables import number

NOW = 1_767_323_045_000
DROPPED = "$SYS/broker/publish/messages/dropped"
STORED = "$SYS/broker/store/messages/count"
RETAINED = "$SYS/broker/retained messages/count"


def mosquitto(stored: int, retained: int, dropped: int) -> dict[str, bytes]:
    """What it says."""
    return {STORED: b"%d" % stored, RETAINED: b"%d" % retained, DROPPED: b"%d" % dropped}


def checks(
    report: QueueReport | None, *, later_ms: int = 0, is_watched: bool = True, **broker: Any
) -> list[QueueCheck]:
    """Of a broker about which this is reported, so much later."""
    status = broker_status(Broker("f/t/b", "h", 1883, **broker), report, is_watched=is_watched, now_ms=NOW + later_ms)
    return check_queues([status])


def test_messages_that_are_kept_are_those_that_are_stored_and_not_retained() -> None:
    """Mosquitto counts both into its store."""
    assert noted(None, mosquitto(83, 53, 0), NOW).kept == 30
    assert noted(None, mosquitto(35, 40, 0), NOW).kept == 0


def test_what_was_dropped_before_the_first_look_is_told_as_the_total_alone() -> None:
    """Nobody knows when that was."""
    first = noted(None, mosquitto(0, 0, 7), NOW)
    assert (first.dropped, first.lately, first.dropped_at) == (7, 0, None)


def test_drops_within_an_hour_add_up_and_later_ones_begin_anew() -> None:
    """So that the sum says how bad it is now."""
    report = noted(None, mosquitto(0, 0, 7), NOW)
    report = noted(report, mosquitto(0, 0, 10), NOW + 1000)
    report = noted(report, mosquitto(0, 0, 15), NOW + 2000)
    assert (report.lately, report.lately_from, report.dropped_at) == (8, NOW + 1000, NOW + 2000)
    quiet = noted(report, mosquitto(0, 0, 15), NOW + 2000 + LATELY_MS)
    assert (quiet.dropped, quiet.lately, quiet.dropped_at) == (15, 0, None)
    again = noted(report, mosquitto(0, 0, 17), NOW + 2000 + LATELY_MS)
    assert (again.lately, again.lately_from) == (2, NOW + 2000 + LATELY_MS)


def test_a_broker_that_counts_from_the_start_again_has_dropped_what_it_counts() -> None:
    """It was started anew."""
    report = noted(noted(None, mosquitto(0, 0, 7), NOW), mosquitto(0, 0, 3), NOW + 1)
    assert (report.dropped, report.lately) == (3, 3)


def test_the_nodes_of_a_cluster_are_counted_together() -> None:
    """As EMQX names them."""
    said = {f"$SYS/brokers/emqx@{node}/metrics/delivery/dropped/queue_full": b"4" for node in ("a", "b")}
    report = noted(None, said | {"$SYS/brokers/emqx@a/version": b"5.8"}, NOW)
    assert (report.state, report.dropped, report.kept, report.version) == ("told", 8, None, "5.8")


def test_what_is_no_number_is_passed_over() -> None:
    """Whoever may publish under $SYS must not bring the listener down."""
    assert noted(None, {DROPPED: b"-1", STORED: b"9" * 40, RETAINED: b"\xff"}, NOW).state == "silent"
    assert part_of("$SYS/broker/uptime") is None
    assert part_of("$SYS/brokers") is None


def test_a_broker_that_cannot_be_reached_keeps_what_it_has_told() -> None:
    """And the state keeps its beginning."""
    report = troubled(noted(None, mosquitto(5, 0, 7), NOW), "away", "refused", NOW + 1)
    assert (report.state, report.since, report.dropped) == ("away", NOW + 1, 7)
    assert troubled(report, "away", "again", NOW + 2).since == NOW + 1


@pytest.mark.parametrize(
    "kept, limit, told",
    [(499, None, ""), (500, None, "1000"), (500, 2000, ""), (1000, 2000, "2000"), (10**9, 0, "")],
)
def test_a_broker_is_near_its_limit_from_half_of_it_on(kept: int, limit: int | None, told: str) -> None:
    """The limit is Mosquitto's unless the resource says it."""
    found = checks(QueueReport("told", NOW, kept=kept, dropped=0), max_queued_messages=limit)
    assert [check.level for check in found] == ["warn" if told else "ok"]
    assert not told or number(int(told)) in found[0].found


def test_drops_are_told_for_an_hour_and_then_as_a_total() -> None:
    """Whether or not somebody still listens."""
    report = noted(noted(None, mosquitto(0, 0, 7), NOW - 1), mosquitto(0, 0, 10), NOW)
    (warned,) = checks(report, is_watched=False)
    assert warned.level == "warn"
    assert "dropped 3 messages" in warned.found
    assert "(10 since it started)" in warned.found
    assert [check.level for check in checks(report, later_ms=LATELY_MS)] == ["ok"]


@pytest.mark.parametrize("state", ["silent", "refused"])
def test_a_broker_that_tells_nothing_is_a_warning_until_its_limit_is_given(state: Any) -> None:
    """Who has written it down has thought of it."""
    (warned,) = checks(QueueReport(state, NOW, "not authorized"))
    assert (warned.level, "not authorized" in warned.found, "max_queued_messages" in warned.fix) == ("warn", True, True)
    assert [check.level for check in checks(QueueReport(state, NOW), max_queued_messages=0)] == ["ok"]


def test_of_a_broker_that_nobody_has_asked_nothing_is_said() -> None:
    """No report, or one of long ago."""
    assert checks(None) == []
    assert checks(QueueReport("told", NOW, kept=900, dropped=0), is_watched=False) == []
