"""What has changed from one look to the next."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from console.blocking import Blocking
from console.errors import Refusal
from console.live import BEHIND_MAX, LISTENERS_MAX, Event, Live, Picture, RunNews, differences
from shared.config_sources import load_settings
from shared.status import Counters, DeploymentStatus, RedisStatus, Status

STATUS = Status(
    "2026-01-01T00:00:00Z", DeploymentStatus(1, "x", 0, 0), RedisStatus("", "", "", "full", []), 0, 0, 0, 0, 0, None,
    [], Counters({"received": 1, "runs": 1}, {"f/a": {"received": 1}}), [], [],
)  # fmt: skip
RUN = RunNews("q1-a", "queued", "f/a", "f/s", "t", None, None, None)


def test_only_what_has_changed_is_told() -> None:
    """Cells of counters, the backlog, and runs that are new or in another state, the oldest first."""
    before = Picture(STATUS, {"q1-a": RUN})
    counters = Counters({"received": 2, "runs": 1}, {"f/a": {"received": 2}, "f/b": {"received": 0}})
    ended = msgspec.structs.replace(RUN, state="succeeded")
    new = msgspec.structs.replace(RUN, id="q1-b")
    after = Picture(msgspec.structs.replace(STATUS, counters=counters, inbox_length=3), {"q1-b": new, "q1-a": ended})

    events = differences(before, after)

    assert differences(before, before) == []
    assert [event.kind for event in events] == ["counters", "backlog", "run", "run"]
    assert events[0].data == {"total": {"received": 2}, "triggers": {"f/a": {"received": 2}, "f/b": {"received": 0}}}
    assert events[1].data["inbox"] == 3
    assert [event.data for event in events[2:]] == [ended, new]


def test_one_listener_too_many_is_refused_and_one_that_falls_behind_is_ended(tmp_path: Path) -> None:
    """So that nobody's slowness costs memory. Without a listener nothing looks."""
    settings = load_settings({}, tmp_path)
    work = Blocking(settings.redis_url)
    live = Live(work, settings)

    async def scenario() -> None:
        assert live._task is None
        listening = live.listen()
        first = asyncio.ensure_future(anext(listening))
        await asyncio.sleep(0)
        live._tell([Event("run", 1)])
        assert await first == Event("run", 1)
        live._tell([Event("run", number) for number in range(BEHIND_MAX + 1)])
        seen = [event async for event in listening]
        assert len(seen) < BEHIND_MAX
        assert live._task is None
        with live.counted():
            live._others = LISTENERS_MAX
            with pytest.raises(Refusal):
                live.check()

    asyncio.run(scenario())
    work.close()
