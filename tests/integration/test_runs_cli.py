"""`headrace runs` and `headrace dead` against a real server, with runs in every state."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest

from shared import keys
from shared.dead import LETTER_VERSION, DeadLetter, encode_letter
from shared.envelope import Properties, encode_envelope
from shared.scripts import worker as verbs
from shared.scripts.dispatch import Placement, place
from shared.scripts.worker import Ending, Limits
from shared.store import Store
from tests.support.command_line import CommandLine
from tests.support.factories import (
    NOW_ISO,
    NOW_MS,
    RUNNABLE,
    TRIGGER,
    HeldSession,
    make_envelope,
    make_run,
    place_runs,
    read_entries,
    run_fields,
)

LIMITS = Limits(max_crashes=3, dead_max=100)
LATER_ISO = "2026-01-02T03:04:06.500000Z"
FIELDS = {
    "id", "state", "trigger", "runnable", "topic", "qos", "idempotency_key", "attempts", "received_at", "queued_at",
    "started_at", "ended_at", "result", "error",
}  # fmt: skip


@pytest.fixture
def command(redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The command line on that server."""
    return CommandLine(redis_url, monkeypatch, capsys)


def end(store: Store, run_id: str, outcome: verbs.Outcome = "succeeded", **texts: Any) -> None:
    """Claim, start and end the run at the head of the queue."""
    store.run(verbs.beat("w1", 60_000))
    claims = store.run(verbs.claim("w1", f"w1-{run_id}", 1, 1 << 20)).claims
    assert [claim.run_id for claim in claims] == [run_id]
    store.run(verbs.start("w1", NOW_ISO, claims))
    ending = Ending(run_id, claims[0].execution, outcome, **texts)
    store.run(verbs.finish("w1", LATER_ISO, NOW_MS + 1500, LIMITS, 1.5, [ending]))


def packed(value: object) -> str:
    """A result as the worker stores it."""
    return base64.b64encode(msgspec.msgpack.encode(value)).decode()


def place_one(store: Store, run_id: str, trigger: str = TRIGGER, **envelope: Any) -> None:
    """A run for a message with these fields changed."""
    message = make_envelope(trigger=trigger, qos=int(run_id[1]), **envelope)
    HeldSession(store, session=run_id.split("-")[1]).admit(message)
    run = make_run(run_id, envelope=encode_envelope(message), trigger=trigger)
    at_us = NOW_MS * 1000 + store.command("ZCARD", keys.RUNS)
    store.run(place([Placement(read_entries(store)[0], trigger, "run", [run])], NOW_ISO, at_us, 100))


def test_runs_are_listed_newest_first_with_all_that_is_promised(store: Store, command: CommandLine) -> None:
    """Times in UTC with milliseconds; the result is the value that the code returned."""
    place_runs(store, "q2-s-1-1", "q1-s-1-2")
    end(store, "q2-s-1-1", result=packed({"hot": True}), log="hello\n")
    queued, done = command.lines("runs")

    assert set(done) >= FIELDS
    assert (queued["id"], queued["state"], queued["attempts"]) == ("q1-s-1-2", "queued", 0)
    assert (queued["started_at"], queued["ended_at"], queued["result"], queued["error"]) == (None, None, None, None)
    assert (done["id"], done["state"], done["attempts"], done["qos"]) == ("q2-s-1-1", "succeeded", 1, 2)
    assert (done["trigger"], done["runnable"], done["topic"]) == (TRIGGER, RUNNABLE.path, "demo/hello")
    assert (done["idempotency_key"], done["result"]) == ("s-1-1", {"hot": True})
    assert (done["received_at"], done["started_at"]) == ("2026-01-02T03:04:05.000Z", "2026-01-02T03:04:05.000000Z")
    assert (done["queued_at"], done["ended_at"]) == ("2026-01-02T03:04:05.000000Z", "2026-01-02T03:04:06.500000Z")


def test_runs_are_found_by_state_trigger_and_topic(store: Store, command: CommandLine) -> None:
    """Filters combine."""
    place_one(store, "q1-aaaaaaaa-1-1", topic="plant/1/temp")
    place_one(store, "q1-bbbbbbbb-1-1", "f/demo/other", topic="plant/2/temp")
    place_one(store, "q1-cccccccc-1-1", topic="office/temp")
    end(store, "q1-aaaaaaaa-1-1", "failed", error='{"name":"ValueError","message":"no"}')

    def found(*arguments: str) -> list[str]:
        return [run["id"][3] for run in command.lines("runs", *arguments)]

    assert found() == ["c", "b", "a"]
    assert found("--topic", "plant/+/temp") == ["b", "a"]
    assert found("--state", "queued") == ["c", "b"]
    assert found("--trigger", "f/demo/other") == ["b"]
    assert found("--trigger", TRIGGER, "--state", "failed", "--topic", "#") == ["a"]
    assert found("--limit", "1") == ["c"]
    assert found("--trigger", "f/none") == []


def test_a_list_over_many_pages_has_every_run_once(store: Store, command: CommandLine) -> None:
    """Also where runs of two dispatchers were placed in the same microsecond."""
    ids = [f"q0-s-1-{n}" for n in range(1, 701)]
    HeldSession(store).admit(*[make_envelope(qos=0) for _ in ids])
    entries = read_entries(store)
    for start in range(0, 700, 350):
        part = zip(entries[start : start + 350], ids[start : start + 350], strict=True)
        placements = [Placement(entry, TRIGGER, "run", [make_run(run_id)]) for entry, run_id in part]
        store.run(place(placements, NOW_ISO, NOW_MS * 1000, 100))
    found = [run["id"] for run in command.lines("runs", "--limit", 1000)]

    assert sorted(found) == sorted(ids)
    assert len(command.lines("runs", "--limit", 300)) == 300


def test_a_search_ends_where_it_was_told_to(store: Store, command: CommandLine) -> None:
    """And says so, because there may be more."""
    place_runs(store, *[f"q1-s-1-{n}" for n in range(1, 11)])
    said = command("runs", "--json", "--state", "failed", "--scan", 5)

    assert (said.status, said.out) == (0, "")
    assert "searched the newest 5 runs" in said.err


def test_large_payloads_are_listed_without_holding_them_all(store: Store, command: CommandLine) -> None:
    """They are fetched in portions."""
    sizes = [9 << 20, 5 << 20, 4, 5 << 20]
    for n, size in enumerate(sizes):
        place_one(store, f"q1-sized{n}-1-1", payload=bytes(size))

    assert [run["payload_size"] for run in command.lines("runs")] == sizes[::-1]


def test_one_run_is_shown_with_message_attempts_and_log(store: Store, command: CommandLine) -> None:
    """Each attempt that ended, with what it left."""
    place_runs(store, "q1-s-1-1")
    end(store, "q1-s-1-1", "crashed", error='{"name":"RunnerDied","message":"killed"}', log="first\n")
    end(store, "q1-s-1-1", result=packed([1, 2]), log="second \x1b[2J\n")
    shown = command.json("runs", "show", "q1-s-1-1")
    page = command.text("runs", "show", "q1-s-1-1")

    assert [(attempt["outcome"], attempt["log"]) for attempt in shown["attempts_ended"]] == [
        ("failed", "first\n"),
        ("succeeded", "second \x1b[2J\n"),
    ]
    assert (shown["result"], shown["error"], shown["log"]) == ([1, 2], None, "second \x1b[2J\n")
    assert (shown["message"]["payload"], shown["message"]["packet_id"]) == ("21.5", 7)
    for text in ("q1-s-1-1  succeeded", "demo/hello", "21.5", "RunnerDied: killed", "attempt 2", "+1.5 s", "\\x1b[2J"):
        assert text in page
    assert "\x1b" not in page


def test_a_run_that_does_not_exist_is_an_error(command: CommandLine) -> None:
    """Whatever was given as its id."""
    for run_id in ("q1-s-1-1", "nonsense", "m-1-1"):
        said = command("runs", "show", run_id)
        assert (said.status, said.out) == (1, "")
        assert f"there is no run {run_id}" in said.err


def test_wrong_filters_are_wrong_usage(command: CommandLine) -> None:
    """Exit status 2, with what would be right."""
    assert command("runs", "--topic", "a/#/b").status == 2
    assert command("runs", "--state", "done").status == 2
    assert command("runs", "--limit", "0").status == 2


def test_the_list_for_people_has_a_line_for_each_run(store: Store, command: CommandLine) -> None:
    """With error or result in short."""
    assert command.text("runs") == "no runs\n"
    place_runs(store, "q1-s-1-1", "q1-s-1-2")
    end(store, "q1-s-1-1", "failed", error='{"name":"ValueError","message":"no\\nway"}')
    lines = command.text("runs").splitlines()

    assert [line.split()[:2] for line in lines] == [["RUN", "STATE"], ["q1-s-1-2", "queued"], ["q1-s-1-1", "failed"]]
    assert "ValueError: no\\nway" in lines[2]


def bury_message(store: Store) -> str:
    """Admit a batch that consists of a dead letter; its id."""
    properties = Properties(content_type="text/plain", correlation_data=b"\x01")
    letter = DeadLetter(
        LETTER_VERSION, "oversized", TRIGGER, "big/one", 1, b"the head", 20_000_000, "00ff", properties, NOW_MS, "20 MB"
    )
    HeldSession(store, session="letters1").admit(received=1, oversized=1, dead_letters=[encode_letter(letter)])
    (buried,) = store.command("HKEYS", keys.DEAD_LETTERS)
    return str(buried, "utf-8")


def test_dead_letters_are_runs_and_messages_in_one_list(store: Store, command: CommandLine) -> None:
    """Each with the reason why it is there."""
    place_runs(store, "q1-s-1-1")
    end(store, "q1-s-1-1", "failed", error='{"name":"ValueError","message":"no"}')
    message = bury_message(store)
    listed = {entry["id"]: entry for entry in command.lines("dead", "list")}

    assert set(listed) == {"q1-s-1-1", message}
    assert (listed["q1-s-1-1"]["kind"], listed["q1-s-1-1"]["reason"]) == ("run", "failed")
    assert listed["q1-s-1-1"]["detail"] == "ValueError: no"
    assert (listed[message]["kind"], listed[message]["reason"], listed[message]["topic"]) == (
        "message",
        "oversized",
        "big/one",
    )
    assert command.lines("dead", "list", "--trigger", "f/none") == []
    assert len(command.lines("dead", "list", "--limit", 1)) == 1
    assert "oversized" in command.text("dead", "list")


def test_a_dead_letter_is_shown_with_what_is_kept_of_it(store: Store, command: CommandLine) -> None:
    """A run as `runs show` shows it, a message with its head."""
    place_runs(store, "q1-s-1-1")
    end(store, "q1-s-1-1", "failed", error='{"name":"ValueError","message":"no"}')
    message = bury_message(store)
    shown = command.json("dead", "show", message)
    page = command.text("dead", "show", message)

    assert (shown["payload"], shown["payload_size"], shown["complete"]) == ("the head", 20_000_000, False)
    assert shown["properties"]["content_type"] == "text/plain"
    for text in ("oversized", "19.1 MiB", "the head", "text/plain", "correlation data          01", "its head"):
        assert text in page
    assert "it never became a run" in page
    assert command.json("dead", "show", "q1-s-1-1")["error"]["message"] == "no"
    assert command("dead", "show", "q1-none-1-1").status == 1


def test_of_what_could_not_be_published_it_is_not_said_that_it_never_ran(store: Store, command: CommandLine) -> None:
    """The run that said it may have ended well."""
    letter = DeadLetter(
        LETTER_VERSION, "unsent", TRIGGER, "out/one", 1, b"on", 2, "00ff", None, NOW_MS, "not authorized", b"entry"
    )
    HeldSession(store, session="letters2").admit(received=1, oversized=1, dead_letters=[encode_letter(letter)])
    (buried,) = store.command("HKEYS", keys.DEAD_LETTERS)
    page = command.text("dead", "show", str(buried, "utf-8"))

    assert "whole; it could not be published" in page
    assert "never became a run" not in page


def test_a_run_that_ended_badly_is_queued_again_once(store: Store, command: CommandLine) -> None:
    """Under its own id; asked again, it is left alone, and the exit status says so."""
    place_runs(store, "q2-s-1-1")
    end(store, "q2-s-1-1", "failed", error='{"name":"ValueError","message":"no"}')
    first = command("dead", "retry", "q2-s-1-1")
    second = command("dead", "retry", "q2-s-1-1", "q2-none-1-1")
    (run,) = command.lines("runs")

    assert (first.status, "queued again" in first.out) == (0, True)
    assert (second.status, second.out, second.err.count("error: ")) == (1, "", 2)
    assert "there is no dead letter q2-none-1-1" in second.err
    assert (run["state"], run["source"], run["result"], run["error"]) == ("queued", "redrive", None, None)
    assert store.command("LLEN", keys.RQ_QUEUE) == 1
    assert command.lines("dead", "list") == []
    assert run_fields(store, "q2-s-1-1")["source"] == "redrive"


def test_all_runs_are_queued_again_and_a_message_that_is_not_kept_whole_is_left_alone(
    store: Store, command: CommandLine
) -> None:
    """What stands against it is said."""
    place_runs(store, "q1-s-1-1", "q2-s-1-2")
    end(store, "q1-s-1-1", "failed", error='{"name":"ValueError","message":"no"}')
    end(store, "q2-s-1-2", "failed", error='{"name":"ValueError","message":"no"}')
    message = bury_message(store)
    outcomes = {entry["id"]: entry["outcome"] for entry in command.lines("dead", "retry", "--all")}

    assert outcomes == {"q1-s-1-1": "queued", "q2-s-1-2": "queued", message: "refused"}
    assert [entry["id"] for entry in command.lines("dead", "list")] == [message]
    refused = command("dead", "retry", message)
    assert (refused.status, "only the first 8 of 20000000 bytes are kept: publish it again" in refused.err) == (1, True)
    assert command("dead", "retry").status == 2


def test_a_letter_that_cannot_be_read_is_listed_all_the_same(store: Store, command: CommandLine) -> None:
    """A newer release may have written it."""
    message = bury_message(store)
    store.command("HSET", keys.DEAD_LETTERS, message, b"garbage")

    assert command.lines("dead", "list")[0]["reason"] == "unreadable"
    assert command("dead", "show", message).status == 1


def test_json_lines_are_json_whatever_a_message_holds(store: Store, command: CommandLine) -> None:
    """One object a line."""
    place_one(store, "q1-aaaaaaaa-1-1", topic="a\nb")
    lines = command.text("runs", "--json").splitlines()

    assert [json.loads(line)["topic"] for line in lines] == ["a\nb"]
