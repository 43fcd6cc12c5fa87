"""Which findings people are told of, and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from shared.alerts.decide import SETTLE_MS, decide
from shared.alerts.model import Finding, Notice, Records, decode_record, encode
from shared.workspace.alerts import Alerts

REFUSED = Finding("session", "f/p/a", "the session is refused: bad password", "mend it")
OTHER = Finding("session", "f/p/b", "the session is refused: bad password", "mend it")
NO_WORKER = Finding("stalled", "worker", "5 runs wait, and no worker lives", "start headrace worker")
SECOND, MINUTE = 1000, 60_000
T0 = 1_767_323_045_000


class Story:
    """Looks one after the other, each at its time; what is remembered passes through JSON in between, as in Redis."""

    def __init__(self, **alerts: Any) -> None:
        self.alerts = Alerts(**({"webhook": None, "runnable": "f/ops/tell"} | alerts))
        self.records: Records = {}
        self.told: list[Notice] = []

    def look(self, at_ms: int, *found: Finding, dead: Mapping[str, int] | None = None) -> list[tuple[str, str]]:
        """What is told at this look, as kind and status."""
        decided = decide(self.records, found, dead or {}, self.alerts, T0 + at_ms)
        kept = {key: decode_record(encode(record)) for key, record in decided.records.items()}
        self.records = {key: record for key, record in kept.items() if record is not None}
        self.told += decided.notices
        return [(notice.kind, notice.status) for notice in decided.notices]


def backlog(age_s: int) -> Finding:
    """A backlog whose oldest message is so old."""
    return Finding("backlog", "", f"the oldest for {age_s} s", "start more", level=age_s * SECOND)


def test_what_is_wrong_is_told_once_it_has_lasted() -> None:
    """And once only, however often it is seen; what passes by itself is not told."""
    story = Story(session_after_s=60)

    assert story.look(0, REFUSED) == []
    assert story.look(59 * SECOND, REFUSED) == []
    assert story.look(60 * SECOND, REFUSED) == [("session", "active")]
    assert story.look(65 * SECOND, REFUSED) == []
    (notice,) = story.told
    assert (notice.subjects, notice.since_ms, notice.fix, notice.waits) == (["f/p/a"], T0, "mend it", ["runnable"])
    assert notice.what == "f/p/a: the session is refused: bad password"


def test_what_passes_in_time_is_told_to_nobody() -> None:
    """It begins anew when it comes back."""
    story = Story(session_after_s=60)
    story.look(0, REFUSED)
    story.look(30 * SECOND)

    assert story.records.keys() == {"dead_letters:"}
    assert story.look(70 * SECOND, REFUSED) == []
    assert story.look(130 * SECOND, REFUSED) == [("session", "active")]


def test_the_end_is_told_once_it_has_stayed_away() -> None:
    """Unless the workspace does not want to hear of it."""
    story, silent = Story(session_after_s=0), Story(session_after_s=0, resolved=False)
    for each in (story, silent):
        assert each.look(0, REFUSED) == [("session", "active")]
        assert each.look(SECOND) == []
    assert story.look(SECOND + SETTLE_MS - 1) == []
    assert story.look(SECOND + SETTLE_MS) == [("session", "resolved")]
    assert silent.look(SECOND + SETTLE_MS) == []
    assert story.look(10 * MINUTE) == silent.look(10 * MINUTE) == []
    assert story.records.keys() == silent.records.keys() == {"dead_letters:"}


def test_what_flickers_is_one_alert() -> None:
    """Gone for less than it takes to count as over, it goes on as what it was."""
    story = Story(session_after_s=0)
    told = [each for n in range(100) for each in story.look(n * 10 * SECOND, *([REFUSED] if n % 2 == 0 else []))]

    assert told == [("session", "active")]


def test_what_comes_back_soon_is_not_told_again_before_the_quiet_time_is_over() -> None:
    """However often it came and went meanwhile."""
    story = Story(session_after_s=0, quiet_s=300)
    assert story.look(0, REFUSED) == [("session", "active")]
    story.look(SECOND)
    assert story.look(SECOND + SETTLE_MS) == [("session", "resolved")]
    assert story.look(60 * SECOND, REFUSED) == []
    assert story.look(299 * SECOND, REFUSED) == []
    assert story.look(300 * SECOND, REFUSED) == [("session", "active")]


def test_what_lasts_is_told_again_from_time_to_time() -> None:
    """Or never, with 0."""
    story, once = Story(session_after_s=0, repeat_s=3600), Story(session_after_s=0, repeat_s=0)
    hours = range(0, 4 * 60 * MINUTE, 10 * MINUTE)
    told = [each for at in hours for each in story.look(at, REFUSED)]

    assert told == [("session", "active"), *[("session", "still")] * 3]
    assert [each for at in hours for each in once.look(at, REFUSED)] == [("session", "active")]


def test_many_of_a_kind_are_one_notice() -> None:
    """A broker that goes away takes all its sessions with it. Each kind has its own patience."""
    story = Story(session_after_s=60, stalled_after_s=30)
    many = [Finding("session", f"f/p/{n}", "the session is reconnecting: refused", "see") for n in range(50)]
    story.look(0, *many, NO_WORKER)

    assert story.look(30 * SECOND, *many, NO_WORKER) == [("stalled", "active")]
    assert story.look(60 * SECOND, *many, NO_WORKER) == [("session", "active")]
    assert len(story.told[-1].subjects) == 50
    assert story.told[-1].what.endswith("f/p/19 and 30 more: the session is reconnecting: refused")


def test_one_that_comes_later_is_told_for_itself() -> None:
    """What was told before is not told with it."""
    story = Story(session_after_s=0)
    story.look(0, REFUSED)
    story.look(SECOND, REFUSED, OTHER)

    assert [notice.subjects for notice in story.told] == [["f/p/a"], ["f/p/b"]]


def test_a_backlog_is_told_when_it_grows() -> None:
    """One that is being worked off is on its way to be over."""
    shrinking, growing = Story(), Story()
    assert [shrinking.look(n * 5 * SECOND, backlog(300 - n)) for n in range(10)] == [[]] * 10
    assert growing.look(0, backlog(60)) == []
    assert growing.look(5 * SECOND, backlog(65)) == [("backlog", "active")]
    assert growing.told[-1].subjects == []
    assert growing.look(10 * SECOND, backlog(40)) == growing.look(15 * SECOND, backlog(70)) == []


def test_dead_letters_that_were_there_before_are_nobodys_news() -> None:
    """From the first look on, each new one is."""
    story = Story()

    assert story.look(0, dead={"f/p/a": 7}) == []
    assert story.look(5 * SECOND, dead={"f/p/a": 7}) == []
    assert story.look(10 * SECOND, dead={"f/p/a": 9, "f/p/b": 1}) == [("dead_letters", "active")]
    assert story.told[-1].what == "3 new dead letters: 2 of f/p/a, 1 of f/p/b"
    assert story.told[-1].subjects == ["f/p/a", "f/p/b"]
    assert story.told[-1].fix.startswith("headrace dead list")


def test_a_flood_of_dead_letters_is_one_notice_per_quiet_time() -> None:
    """Which counts all of them, and none twice."""
    story = Story(quiet_s=300)
    story.look(0)
    for n in range(1, 601):
        story.look(n * SECOND, dead={"f/p/a": n})

    assert [notice.what for notice in story.told] == [
        "1 new dead letters: 1 of f/p/a",
        "300 new dead letters: 300 of f/p/a",
    ]


@pytest.mark.parametrize("kind", ["session", "stalled", "backlog", "dead_letters"])
def test_a_kind_that_is_not_asked_for_is_not_told(kind: str) -> None:
    """Nor kept for later: asked for again, only what comes then is news."""
    others = tuple(each for each in Alerts().kinds if each != kind)
    story = Story(session_after_s=0, stalled_after_s=0, kinds=others)
    told = []
    for n in range(5):
        told += story.look(n * MINUTE, REFUSED, NO_WORKER, backlog(100 + n), dead={"f/p/a": n})

    assert {each for each, _ in told} == {"session", "stalled", "backlog", "dead_letters"} - {kind}
    if kind == "dead_letters":
        story.alerts = Alerts(runnable="f/ops/tell")
        assert story.look(5 * MINUTE, dead={"f/p/a": 4}) == []
