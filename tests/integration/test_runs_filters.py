"""Finding runs: every filter of `headrace runs`, alone and together, over many steps."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from shared import create_runs, keys
from shared.envelope import encode_envelope
from shared.history import BYTES_AT_ONCE, search, search_page
from shared.run_query import Query, parse_sought
from shared.run_record import Noted
from shared.scripts import operate
from shared.scripts import worker as verbs
from shared.scripts.dispatch import NewRun, Placement, place
from shared.scripts.worker import Ending, Limits
from shared.store import Store
from shared.topics import parse_filter
from tests.support.command_line import CommandLine
from tests.support.factories import (
    NOW_ISO,
    NOW_MS,
    RUNNABLE,
    TRIGGER,
    HeldSession,
    make_envelope,
    make_run,
    read_entries,
)

LIMITS = Limits(max_crashes=3, dead_max=100)
OTHER = "f/demo/on_other"
HOUR_MS = 3_600_000


@pytest.fixture
def command(redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The command line on that server."""
    return CommandLine(redis_url, monkeypatch, capsys)


def place_one(store: Store, run_id: str, topic: str, *, runnable: str = RUNNABLE.path, at_ms: int = NOW_MS) -> None:
    """A run as dispatch places it, with its description."""
    message = make_envelope(qos=int(run_id[1]), topic=topic)
    HeldSession(store, session=run_id.split("-")[1]).admit(message)
    made = make_run(run_id, envelope=encode_envelope(message), runnable=runnable)
    run = NewRun(run_id, made.data, f"{runnable} on {topic}"[:120], 60)
    store.run(place([Placement(read_entries(store)[0], TRIGGER, "run", [run])], NOW_ISO, at_ms * 1000, 100))


def end(store: Store, run_id: str, outcome: verbs.Outcome = "succeeded", **texts: str) -> None:
    """Claim, start and end the run at the head of the queue."""
    store.run(verbs.beat("w1", 60_000))
    claims = store.run(verbs.claim("w1", f"w1-{run_id}", 1, 1 << 20)).claims
    assert [claim.run_id for claim in claims] == [run_id]
    store.run(verbs.start("w1", NOW_ISO, claims))
    ending = Ending(run_id, claims[0].execution, outcome, **texts)  # type: ignore[arg-type]
    store.run(verbs.finish("w1", NOW_ISO, NOW_MS, LIMITS, 1.5, [ending]))


def noted(**fields: Any) -> str:
    """What an attempt leaves beside its result."""
    return msgspec.json.encode(Noted(**fields)).decode()


@pytest.fixture
def some_runs(store: Store) -> None:
    """One succeeded with labels (a), one failed (b), one queued for another runnable and an hour later (c)."""
    place_one(store, "q1-aaaaaaaa-1-1", "plant/1/temp")
    end(store, "q1-aaaaaaaa-1-1", log="x", noted=noted(labels=["hot", "größe"], arguments={"site": "north"}))
    place_one(store, "q1-bbbbbbbb-1-1", "plant/2.5/temp", at_ms=NOW_MS + 1)
    error = {"name": "ValueError", "message": 'no "way" zurück', "stack": 'File "x.py", line 7\nValueError'}
    end(store, "q1-bbbbbbbb-1-1", "failed", error=json.dumps(error, ensure_ascii=False))
    place_one(store, "q1-cccccccc-1-1", "office/temp", runnable=OTHER, at_ms=NOW_MS + HOUR_MS)


@pytest.mark.usefixtures("some_runs")
@pytest.mark.parametrize(
    "arguments, expected",
    [
        ((), "cba"),
        (("--state", "queued"), "c"),
        (("--state", "queued", "--state", "failed"), "cb"),
        (("--runnable", OTHER), "c"),
        (("--runnable", "f/demo/on"), ""),
        (("--topic", "plant/+/temp"), "ba"),
        (("--topic", "plant/2.5/#"), "b"),
        (("--topic", "+/temp"), "c"),
        (("--topic", "plant/1/temp/#"), "a"),
        (("--topic", "plant/1/tem"), ""),
        (("--label", "hot"), "a"),
        (("--label", "größe"), "a"),
        (("--label", "ho"), ""),
        (("--error", "VALUEERROR: "), ""),
        (("--error", "valueerror"), "b"),
        (("--error", 'no "way" zurück'), "b"),
        (("--error", "LINE 7\nvalue"), "b"),
        (("--since", "2026-01-02T03:04:05.001Z"), "cb"),
        (("--until", "2026-01-02T03:04:05.001Z"), "a"),
        (("--since", "2026-01-02T03:04:05.001Z", "--until", "2026-01-02T04:00:00Z"), "b"),
        (("--trigger", TRIGGER, "--state", "failed", "--error", "zurück", "--topic", "#"), "b"),
        (("--since", "1h"), ""),
    ],
)
def test_each_filter_finds_what_fits_and_nothing_else(
    command: CommandLine, arguments: tuple[str, ...], expected: str
) -> None:
    """Newest first."""
    assert "".join(run["id"][3] for run in command.lines("runs", *arguments)) == expected


@pytest.mark.usefixtures("some_runs")
def test_labels_and_arguments_of_an_attempt_are_shown(command: CommandLine) -> None:
    """For people and as JSON."""
    shown = command.json("runs", "show", "q1-aaaaaaaa-1-1")
    page = command.text("runs", "show", "q1-aaaaaaaa-1-1")

    assert (shown["labels"], shown["attempts_ended"][0]["arguments"]) == (["hot", "größe"], {"site": "north"})
    assert "hot, größe" in page
    assert '"site": "north"' in page


@pytest.fixture
def made_runs(store: Store) -> None:
    """One of a message (m), which has succeeded; one that alice has asked for (a), in another folder, and what it has
    started (s).
    """
    place_one(store, "q1-mmmmmmmm-1-1", "plant/1/temp")
    result = base64.b64encode(msgspec.msgpack.encode({"site": "Nord", "t": [21.5, 3]})).decode()
    end(store, "q1-mmmmmmmm-1-1", result=result, noted=noted(arguments={"celsius": 21.5}))
    asked = create_runs.make_run(
        "f/plant/hall/check", "v1", 60, b'{"limits": {"low": 5, "high": "Zw\xc3\xb6lf"}}', "api"
    )
    asked = msgspec.structs.replace(create_runs.known_as(asked, "aaa"), created_by="alice")
    child = create_runs.make_run("f/plantation/x", "v1", 60, b"{}", "child", create_runs.Family(asked.id, asked.id))
    made = [asked, create_runs.known_as(child, "sss")]
    store.run(operate.create_runs(made, NOW_ISO, (NOW_MS + HOUR_MS) * 1000))


@pytest.mark.usefixtures("made_runs")
@pytest.mark.parametrize(
    "arguments, expected",
    [
        ((), "am"),
        (("--steps",), "sam"),
        (("--source", "message"), "m"),
        (("--source", "api", "--source", "child"), "sa"),
        (("--folder", "f/plant"), "a"),
        (("--folder", "f/plant/hall/"), "a"),
        (("--folder", "f/plan", "--steps"), ""),
        (("--folder", "f/plant/hall/check"), ""),
        (("--user", "alice"), "a"),
        (("--user", "ali"), ""),
        (("--worker", "w1"), "m"),
        (("--worker", "w"), ""),
        (("--args", "21.5"), "m"),
        (("--args", "ZWÖLF"), "a"),
        (("--args", "thirteen"), ""),
        (("--args", '{"limits": {"low": 5}}'), "a"),
        (("--args", '{"limits": {"low": 6}}'), ""),
        (("--args", '{"celsius": 21.5}'), "m"),
        (("--result", "nord"), "m"),
        (("--result", "süd"), ""),
        (("--result", '{"t": [3]}'), "m"),
        (("--result", '{"t": [4]}'), ""),
        (("--result", '{"t": [3]}', "--worker", "w1", "--args", "21.5", "--folder", "f/demo"), "m"),
    ],
)
def test_runs_are_found_by_who_has_made_them_where_and_with_what(
    command: CommandLine, arguments: tuple[str, ...], expected: str
) -> None:
    """What runs have started is left out, unless it is asked for."""
    assert "".join(run["id"][3] for run in command.lines("runs", *arguments)) == expected


@pytest.mark.usefixtures("made_runs")
def test_a_page_that_has_not_looked_at_everything_says_how_far_and_goes_on(store: Store) -> None:
    """However few it may look at, each run is found once."""
    found: list[str] = []
    looked, cursor, pages = 0, "", 0
    query = Query(args=parse_sought("21.5"), scan=1)
    while True:
        page = search_page(store, query, cursor)
        found += [run.id[3] for run in page.runs]
        looked, pages = looked + page.looked_at, pages + 1
        if page.next is None:
            break
        cursor = page.next
    assert (found, looked, pages) == (["m"], 3, 4)


def test_the_few_that_ended_badly_are_found_behind_any_number_of_others(store: Store) -> None:
    """Nothing else is looked at; by their error, too."""
    place_one(store, "q1-bbbbbbbb-1-1", "b")
    end(store, "q1-bbbbbbbb-1-1", "failed", error='{"name": "E", "message": "no way", "stack": ""}')
    made = [create_runs.make_run(OTHER, "v1", 60, b"{}", "api") for _ in range(300)]
    store.run(operate.create_runs(made, NOW_ISO, (NOW_MS + HOUR_MS) * 1000))
    for query in (
        Query(states=frozenset({"failed", "lost"}), scan=100),
        Query(trigger=TRIGGER, error="NO WAY", scan=5),
    ):
        page = search_page(store, query)
        assert ([run.id[3] for run in page.runs], page.next, page.looked_at) == (["b"], None, 1)


@pytest.mark.parametrize("few", [lambda _: True, lambda _: False, lambda page: page % 2 == 0])
def test_pages_hold_the_same_runs_whether_few_or_all_are_looked_at(
    store: Store, monkeypatch: pytest.MonkeyPatch, few: Callable[[int], bool]
) -> None:
    """Also where that changes from page to page, and where many were made in the same microsecond."""
    ids = [f"q1-{number:08}-1-1" for number in range(60)]
    for number, run_id in enumerate(ids):
        place_one(store, run_id, "t", at_ms=NOW_MS + number // 20)
        end(store, run_id, "failed" if number % 3 else "succeeded")
    query = Query(states=frozenset({"failed", "cancelled"}), limit=7, since=NOW_MS * 1000, until=(NOW_MS + 2) * 1000)
    found: list[str] = []
    cursor = ""
    for number in range(20):
        monkeypatch.setattr("shared.run_walk.LISTED_MAX", 1000 if few(number) else -1)
        page = search_page(store, query, cursor)
        found += [run.id for run in page.runs]
        if page.next is None:
            break
        cursor = page.next
    assert page.next is None
    assert found == sorted((run_id for number, run_id in enumerate(ids[:40]) if number % 3), reverse=True)


def test_a_page_ends_where_much_was_read(store: Store) -> None:
    """So that large messages bring down nobody: the next page goes on."""
    payload = bytes(BYTES_AT_ONCE)
    for number in range(6):
        message = make_envelope(qos=1, payload=payload)
        HeldSession(store, session=f"s{number}").admit(message)
        made = make_run(f"q1-{number}-1-1", envelope=encode_envelope(message))
        store.run(
            place([Placement(read_entries(store)[0], TRIGGER, "run", [made])], NOW_ISO, NOW_MS * 1000 + number, 9)
        )
    first = search_page(store, Query())
    assert first.next is not None
    second = search_page(store, Query(), first.next)

    assert [len(first.runs), len(second.runs), second.next] == [4, 2, None]


@pytest.mark.parametrize("wrong", ['{"t": }', "[" * 200, '["' + "\ud800"])
def test_json_that_is_none_is_wrong_usage(command: CommandLine, wrong: str) -> None:
    """With what would be right."""
    assert command("runs", "--args", wrong).status == 2


def test_a_search_over_many_steps_has_every_fitting_run_once(store: Store) -> None:
    """Also where thousands were placed in the same microsecond."""
    ids = [f"q0-s-1-{n}" for n in range(1, 1201)]
    HeldSession(store).admit(*[make_envelope(qos=0) for _ in ids])
    entries = read_entries(store, count=2000)
    for entry, run_id in zip(entries, ids, strict=True):
        store.run(place([Placement(entry, TRIGGER, "run", [make_run(run_id)])], NOW_ISO, NOW_MS * 1000, 100))
    steps: list[int] = []
    queued = Query(states=frozenset({"queued"}), limit=5000)
    found = [run.id for run in search(store, queued, steps.append)]

    assert sorted(found) == sorted(ids)
    assert steps[-1] == 1200
    assert len(list(search(store, Query(limit=700), steps.append))) == 700
    assert list(search(store, Query(runnable="f/none"), steps.append)) == []


def test_a_run_whose_description_was_cut_is_found_by_what_its_record_says(store: Store) -> None:
    """RQ's text for a job is short; names and topics may be long."""
    runnable, topic = "f/demo/" + "x" * 150, "plant/" + "y" * 150
    place_one(store, "q1-aaaaaaaa-1-1", topic, runnable=runnable)
    place_one(store, "q1-bbbbbbbb-1-1", topic)

    def found(**filters: Any) -> list[str]:
        return [run.id[3] for run in search(store, Query(**filters), lambda _: None)]

    assert found(runnable=runnable) == ["a"]
    assert found(runnable=runnable + "x") == []
    assert found(topic=parse_filter(topic)) == ["b", "a"]
    assert found(topic=parse_filter(topic + "y")) == []


def test_runs_that_rq_has_queued_or_cancelled_are_found_by_the_state_that_is_shown(store: Store) -> None:
    """RQ's tools change the status, and where the run is listed."""
    place_one(store, "q1-aaaaaaaa-1-1", "a")
    end(store, "q1-aaaaaaaa-1-1", "failed")
    place_one(store, "q1-bbbbbbbb-1-1", "b")
    store.command("HSET", keys.job("q1-aaaaaaaa-1-1"), "status", "queued")
    store.commands([("ZREM", keys.RQ_FAILED, "q1-aaaaaaaa-1-1"), ("RPUSH", keys.RQ_QUEUE, "q1-aaaaaaaa-1-1")])
    store.command("HSET", keys.job("q1-bbbbbbbb-1-1"), "status", "canceled")
    store.commands([("LREM", keys.RQ_QUEUE, 1, "q1-bbbbbbbb-1-1"), ("ZADD", keys.RQ_CANCELED, 1, "q1-bbbbbbbb-1-1")])

    def found(state: str) -> list[str]:
        return [run.id[3] for run in search(store, Query(states=frozenset({state})), lambda _: None)]

    assert (found("queued"), found("cancelled"), found("failed")) == (["a"], ["b"], [])


def test_a_result_without_notes_has_neither_labels_nor_arguments(store: Store, command: CommandLine) -> None:
    """They are stored only where there are any."""
    place_one(store, "q1-aaaaaaaa-1-1", "a")
    end(store, "q1-aaaaaaaa-1-1", result=base64.b64encode(msgspec.msgpack.encode(1)).decode())

    assert b"noted" not in dict(store.command("XRANGE", keys.results("q1-aaaaaaaa-1-1"), "-", "+")[0][1])
    assert command.json("runs", "show", "q1-aaaaaaaa-1-1")["labels"] == []


def test_a_wrong_time_is_wrong_usage(command: CommandLine) -> None:
    """With what would be right."""
    said = command("runs", "--since", "yesterday")

    assert (said.status, "2h" in said.err) == (2, True)
