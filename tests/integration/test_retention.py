"""Retention: ended runs and dead letters go by age and count, of all and of each trigger; what lives stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shared import keys
from shared.dead import LETTER_VERSION, DeadLetter, encode_letter
from shared.envelope import encode_envelope
from shared.scripts import worker as verbs
from shared.scripts.dispatch import Placement, place
from shared.scripts.history import Forgotten, Kept, expire_dead, prune_trigger
from shared.scripts.worker import Ending, Limits, prune
from shared.store import Store
from tests.support.command_line import CommandLine
from tests.support.eventually import eventually
from tests.support.factories import NOW_ISO, NOW_MS, HeldSession, counters, make_envelope, make_run, read_entries
from tests.support.processes import HeadraceProcess
from tests.support.workers import FAST, deploy, queue_runs
from tests.support.workspaces import trigger_yaml, write_workspace

StartProcess = Callable[..., HeadraceProcess]
LIMITS = Limits(max_crashes=3, dead_max=1000)
A, B = "f/t/a", "f/t/b"


@pytest.fixture
def command(redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The command line on that server."""
    return CommandLine(redis_url, monkeypatch, capsys)


def place_at(store: Store, trigger: str, *run_ids: str) -> None:
    """Queue runs of a trigger, in this order."""
    session = run_ids[0].replace("-", "")
    envelopes = [make_envelope(trigger=trigger, qos=int(run_id[1])) for run_id in run_ids]
    HeldSession(store, session, session).admit(*envelopes)
    placements = [
        Placement(entry, trigger, "run", [make_run(run_id, trigger=trigger, envelope=encode_envelope(envelope))])
        for entry, run_id, envelope in zip(read_entries(store), run_ids, envelopes, strict=True)
    ]
    at_us = NOW_MS * 1000 + 1000 * store.command("ZCARD", keys.RUNS)
    store.run(place(placements, NOW_ISO, at_us, 1000))


def end_all(store: Store, outcome: verbs.Outcome = "succeeded", most: int = 1000) -> None:
    """End what is queued, up to so many."""
    store.run(verbs.beat("w1", 60_000))
    claims = store.run(verbs.claim("w1", f"w1-{store.command('TIME')}", most, 1 << 24)).claims
    store.run(verbs.start("w1", NOW_ISO, claims))
    endings = [Ending(claim.run_id, claim.execution, outcome, log="x") for claim in claims]
    store.run(verbs.finish("w1", NOW_ISO, NOW_MS, LIMITS, 1.0, endings))


def listed(store: Store, key: str) -> list[str]:
    """The members of a sorted set, oldest first."""
    return [each.decode() for each in store.command("ZRANGE", key, 0, -1)]


def test_a_trigger_keeps_its_newest_runs_and_all_that_live(store: Store) -> None:
    """Another trigger's are not touched; the identities stand."""
    place_at(store, A, *[f"q1-a-1-{n}" for n in range(6)])
    place_at(store, B, "q1-b-1-0", "q1-b-1-1")
    end_all(store, "failed", most=5)
    books = counters(store, A)

    assert store.run(prune_trigger(A, Kept(3), 0, 2))[:2] == (2, 0)
    assert store.run(prune_trigger(A, Kept(3), 0, 2))[:2] == (1, 0)
    assert store.run(prune_trigger(A, Kept(3), 0, 2))[:2] == (0, 0)
    assert listed(store, keys.runs(A)) == ["q1-a-1-3", "q1-a-1-4", "q1-a-1-5"]
    assert listed(store, keys.RUNS) == ["q1-a-1-3", "q1-a-1-4", "q1-a-1-5", "q1-b-1-0", "q1-b-1-1"]
    assert listed(store, keys.DEAD) == listed(store, keys.RQ_FAILED) == ["q1-a-1-3", "q1-a-1-4"]
    assert store.command("EXISTS", keys.job("q1-a-1-0"), keys.results("q1-a-1-0")) == 0
    assert counters(store, A) == books | {"dead_dropped": 3}
    assert store.run(prune_trigger(A, Kept(0), 0, 10))[:2] == (2, 1)
    assert listed(store, keys.runs(A)) == ["q1-a-1-5"]


def test_runs_that_live_at_the_head_do_not_keep_the_others_from_going(store: Store) -> None:
    """The next step begins behind them."""
    place_at(store, A, *[f"q1-a-1-{n}" for n in range(6)])
    end_all(store)
    for n in range(3):
        store.command("HSET", keys.job(f"q1-a-1-{n}"), "status", "started", "state", "running")

    assert store.run(prune_trigger(A, Kept(1), 0, 3))[:2] == (0, 3)
    assert store.run(prune_trigger(A, Kept(1), 3, 3))[:2] == (3, 0)
    assert listed(store, keys.runs(A)) == ["q1-a-1-0", "q1-a-1-1", "q1-a-1-2"]


def test_a_dead_letter_that_goes_with_its_run_is_counted(store: Store) -> None:
    """By count as by age."""
    place_at(store, A, "q1-a-1-0", "q1-a-1-1")
    end_all(store, "failed")

    assert store.run(prune(keys.RQ_FAILED, 1, 0, 10)).count == 1
    assert (listed(store, keys.DEAD), counters(store, A)["dead_dropped"]) == (["q1-a-1-1"], 1)


def test_a_trigger_keeps_runs_for_as_long_as_it_says(store: Store) -> None:
    """From their end on, whatever their number; what lives stays, and so does what has ended since."""
    place_at(store, A, *[f"q1-a-1-{n}" for n in range(6)])
    end_all(store, most=5)
    store.command("HSET", keys.job("q1-a-1-1"), "ended_at", "2026-01-02T03:05:00.000000Z")
    books = counters(store, A)
    a_moment_later = Kept(ended_before_us=(NOW_MS + 1) * 1000)

    assert store.run(prune_trigger(A, Kept(ended_before_us=NOW_MS * 1000), 0, 10)) == (0, 0, False)
    assert store.run(prune_trigger(A, a_moment_later, 0, 3)) == (2, 1, True)
    assert store.run(prune_trigger(A, a_moment_later, 1, 3)) == (2, 1, True)
    assert listed(store, keys.runs(A)) == ["q1-a-1-1", "q1-a-1-5"]
    assert store.run(prune_trigger(A, a_moment_later, 2, 3)) == (0, 0, False)
    assert counters(store, A) == books


def test_a_step_ends_when_it_has_freed_much(store: Store) -> None:
    """Redis frees large values while it answers nobody else; the rest is for the next step."""
    place_at(store, A, *[f"q1-a-1-{n}" for n in range(3)])
    end_all(store, "failed")
    for n in range(3):
        store.command("HSET", keys.job(f"q1-a-1-{n}"), "data", b"x" * 3_000_000)

    assert store.run(prune_trigger(A, Kept(0), 0, 10)) == (1, 0, True)
    assert store.run(prune(keys.RQ_FAILED, 0, 0, 10)) == Forgotten(1, more=True)
    assert store.run(prune(keys.RQ_FAILED, 0, 0, 10)) == Forgotten(1, more=True)
    assert store.run(prune(keys.RQ_FAILED, 0, 0, 10)) == Forgotten(0, more=False)


def test_large_dead_letters_go_a_few_at_a_time_and_are_counted_under_their_trigger(store: Store) -> None:
    """Without being read: a message may be as large as `max_payload`."""
    letters = [
        DeadLetter(LETTER_VERSION, "oversized", A, "t", 1, b"x" * 3_000_000, 0, "", None, n, "") for n in range(2)
    ]
    HeldSession(store).admit(oversized=2, dead_letters=[encode_letter(letter) for letter in letters])

    assert store.run(expire_dead(0, 0, 10)) == Forgotten(1, more=True)
    assert store.run(expire_dead(0, 0, 10)) == Forgotten(1, more=True)
    assert store.command("EXISTS", keys.DEAD, keys.DEAD_LETTERS, keys.DEAD_TRIGGERS) == 0


def test_each_trigger_has_its_own_bounds_else_the_workspaces(
    store: Store, headrace: StartProcess, redis_url: str, tmp_path: Path, command: CommandLine
) -> None:
    """By count and by age; a push changes them for a worker that runs."""
    of_its_own = trigger_yaml("s", ("x", 1), extra="retention: {runs_max: 2}\n")
    triggers = {"own": of_its_own, "rest": trigger_yaml("s", ("y", 1)), "old": trigger_yaml("s", ("z", 1))}
    folder = write_workspace(tmp_path / "ws", 1883, triggers, {"s": "def main(): ...\n"})
    (folder / "headrace.yaml").write_text("retention: {runs_max: 4}\n")
    command.json("push", folder)
    for name in triggers:
        place_at(store, f"f/t/{name}", *[f"q1-{name}-1-{n}" for n in range(6)])
    end_all(store)
    for_long = {"HEADRACE_RETENTION__RUNS_MAX_AGE_S": "1e9"}
    headrace("worker", REDIS_URL=redis_url, **FAST, **for_long).wait_ready()
    eventually(lambda: [store.command("ZCARD", keys.runs(f"f/t/{name}")) for name in triggers] == [2, 4, 4])
    text = trigger_yaml("s", ("z", 1), extra="retention: {runs_max: 100, runs_max_age_s: 60}\n")
    (folder / "f" / "t" / "old.mqtt_trigger.yaml").write_text(text)
    command.json("push", folder)

    eventually(lambda: [store.command("ZCARD", keys.runs(f"f/t/{name}")) for name in triggers] == [2, 4, 0])
    assert all(counters(store, f"f/t/{name}")["succeeded"] == 6 for name in triggers)


def test_a_worker_keeps_within_what_is_set(store: Store, headrace: StartProcess, redis_url: str) -> None:
    """Runs of each trigger, and dead letters by age, a step at a time."""
    limits = {"RUNS_MAX_PER_TRIGGER": "4", "DEAD_MAX_AGE_S": "0.5", "PRUNE_STEP": "3"}
    environment = {f"HEADRACE_RETENTION__{name}": value for name, value in limits.items()}
    ids = [f"q1-s-1-{n}" for n in range(20)]
    queue_runs(store, deploy(store, "def main(): raise ValueError"), *ids)
    worker = headrace("worker", REDIS_URL=redis_url, **FAST, **environment).wait_ready()

    eventually(lambda: listed(store, keys.RUNS) == ids[16:])
    eventually(lambda: store.command("ZCARD", keys.DEAD) == 0)
    assert (counters(store)["failed"], counters(store)["dead_dropped"]) == (20, 20)
    assert worker.running
