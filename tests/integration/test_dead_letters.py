"""`headrace dead`: found, run again once, put back into the inbox, dropped and counted."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import pytest

from dispatch.placing import Entry, decide
from dispatch.triggers import TriggerVersions
from shared import keys
from shared.dead import LETTER_VERSION, DeadLetter, encode_letter
from shared.dead_list import DeadQuery, list_dead
from shared.dead_redrive import retry
from shared.definitions import Script, Topic, Trigger, encode_definition
from shared.envelope import encode_envelope
from shared.runs import decode_job
from shared.scripts import worker as verbs
from shared.scripts.dispatch import place
from shared.scripts.history import expire_dead
from shared.scripts.worker import Ending, Limits
from shared.store import Store
from tests.support.command_line import CommandLine
from tests.support.factories import (
    NOW_ISO,
    NOW_MS,
    RUNNABLE,
    SESSION,
    TRIGGER,
    HeldSession,
    counters,
    make_envelope,
    make_trigger,
    run_fields,
)
from tests.support.workers import SCRIPT, queue_runs

LIMITS = Limits(max_crashes=3, dead_max=1000)


@pytest.fixture
def command(redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The command line on that server."""
    return CommandLine(redis_url, monkeypatch, capsys)


def fail(store: Store, *run_ids: str, name: str = "ValueError", now_ms: int = NOW_MS) -> None:
    """Runs that have failed with this error."""
    queue_runs(store, RUNNABLE.version, *run_ids)
    store.run(verbs.beat("w1", 60_000))
    claims = store.run(verbs.claim("w1", f"w1-{run_ids[0]}", len(run_ids), 1 << 24)).claims
    store.run(verbs.start("w1", NOW_ISO, claims))
    error = f'{{"name":"{name}","message":"no"}}'
    endings = [Ending(claim.run_id, claim.execution, "failed", error=error) for claim in claims]
    store.run(verbs.finish("w1", NOW_ISO, now_ms, LIMITS, 1.5, endings))


def deploy(store: Store, definition: Script | Trigger) -> str:
    """Make a definition current; its version."""
    version, blob = encode_definition(definition)
    store.command("HSET", keys.DEFINITIONS, version, blob)
    kind = "script" if isinstance(definition, Script) else "trigger"
    store.command("HSET", keys.DEPLOYED, f"{kind}:{definition.path}", version)
    return version


def dispatch_all(store: Store) -> None:
    """What dispatch does with the inbox."""
    versions = TriggerVersions(store)
    reply = store.command("XREADGROUP", "GROUP", "dispatch", "d", "COUNT", 100, "STREAMS", keys.INBOX, ">")
    for entry, fields in reply[0][1]:
        found = dict(zip(fields[::2], fields[1::2], strict=True)) if isinstance(fields, list) else fields
        placement = decide(Entry(entry, found[b"k"], found[b"e"]), versions, versions.owner, NOW_MS)
        store.run(place([placement], NOW_ISO, NOW_MS * 1000, 1000))


def unrouted(store: Store, **envelope: Any) -> str:
    """The id of a letter for a message that its trigger does not ask for."""
    version = deploy(store, make_trigger(Topic("else/where")))
    HeldSession(store).admit(make_envelope(trigger_version=version, **envelope))
    dispatch_all(store)
    (found,) = list_dead(store, DeadQuery(reasons=frozenset({"unrouted"})))
    return found.id


@pytest.fixture
def some_letters(store: Store) -> None:
    """Two runs and an oversized message, an hour apart."""
    fail(store, "q1-s-1-1")
    fail(store, "q2-s-1-2", name="KeyError", now_ms=NOW_MS + 3_600_000)
    letter = DeadLetter(LETTER_VERSION, "oversized", "f/x", "big", 1, b"head", 9000, "00", None, NOW_MS, "9 kB")
    HeldSession(store, session="letters1").admit(received=1, oversized=1, dead_letters=[encode_letter(letter)])


@pytest.mark.usefixtures("some_letters")
@pytest.mark.parametrize(
    "arguments, expected",
    [
        ((), {"q1-s-1-1", "q2-s-1-2", "m"}),
        (("--trigger", TRIGGER), {"q1-s-1-1", "q2-s-1-2"}),
        (("--reason", "oversized"), {"m"}),
        (("--state", "failed", "--reason", "oversized"), {"q1-s-1-1", "q2-s-1-2", "m"}),
        (("--error", "keyerror"), {"q2-s-1-2"}),
        (("--since", "2026-01-02T03:30:00Z"), {"q2-s-1-2"}),
        (("--until", "2026-01-02T03:30:00Z", "--state", "failed"), {"q1-s-1-1"}),
        (("--error", "no", "--trigger", "f/x"), set()),
    ],
)
def test_each_filter_finds_what_fits(command: CommandLine, arguments: tuple[str, ...], expected: set[str]) -> None:
    """Alone and together."""
    found = {entry["id"] for entry in command.lines("dead", "list", *arguments)}

    assert {"m" if name.startswith("m-") else name for name in found} == expected


def test_a_filter_chooses_what_is_run_again(store: Store, command: CommandLine) -> None:
    """The others stay."""
    fail(store, "q1-s-1-1")
    fail(store, "q2-s-1-2", name="KeyError")
    outcomes = command.lines("dead", "retry", "--error", "KeyError")

    assert outcomes == [{"id": "q2-s-1-2", "outcome": "queued"}]
    assert [entry["id"] for entry in command.lines("dead", "list")] == ["q1-s-1-1"]
    assert command("dead", "retry", "q1-s-1-1", "--all").status == 2


def test_re_driven_by_many_at_the_same_moment_a_run_is_queued_once(store: Store, redis_url: str) -> None:
    """With its idempotency key."""
    ids = [f"q2-s-1-{n}" for n in range(1, 101)]
    fail(store, *ids)
    outcomes: list[str] = []

    def redrive() -> None:
        mine = Store.connect(redis_url)
        outcomes.extend(each.outcome for each in retry(mine, ids))
        mine.close()

    threads = [threading.Thread(target=redrive) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["not ended badly"] * 100 + ["queued"] * 100
    assert sorted(each.decode() for each in store.command("LRANGE", keys.RQ_QUEUE, 0, -1)) == sorted(ids)
    assert decode_job(store.command("HGET", keys.job(ids[0]), "data")).idempotency_key == "s-1-1"


def test_a_run_can_be_re_driven_with_the_version_of_now(store: Store, command: CommandLine) -> None:
    """Under its own id and key; without a version of now it is refused."""
    fail(store, "q2-s-1-1")
    refused = command("dead", "retry", "q2-s-1-1", "--latest")
    version = deploy(store, Script(SCRIPT, "python3", "x.py", {"x.py": "def main(): ..."}, timeout_s=7))
    done = command("dead", "retry", "q2-s-1-1", "--latest")
    spec = decode_job(store.command("HGET", keys.job("q2-s-1-1"), "data"))

    assert (refused.status, "is not deployed now" in refused.err) == (1, True)
    assert (done.status, spec.runnable_version, spec.idempotency_key) == (0, version, "s-1-1")
    assert run_fields(store, "q2-s-1-1")["timeout"] == "7"


def test_a_re_drive_forgets_who_had_cancelled_the_run(store: Store) -> None:
    """Else its worker would end it at once."""
    fail(store, "q2-s-1-1")
    store.command("HSET", keys.job("q2-s-1-1"), "cancelled_by", "somebody", "retries", 3)
    retry(store, ["q2-s-1-1"])

    assert {"cancelled_by", "retries"} & run_fields(store, "q2-s-1-1").keys() == set()


def test_an_unrouted_message_is_routed_by_what_is_deployed_now(store: Store, command: CommandLine) -> None:
    """It keeps its idempotency key, and the books balance."""
    letter = unrouted(store)
    deploy(store, make_trigger())
    first = command("dead", "retry", letter)
    second = command("dead", "retry", letter)
    before = counters(store)
    dispatch_all(store)
    (run,) = command.lines("runs")

    assert (first.status, second.status) == (0, 1)
    assert f"there is no dead letter {letter}" in second.err
    assert before == {"received": 1, "admitted": 1, "inbox": 1}
    assert counters(store) == {"received": 1, "admitted": 1, "placed": 1, "runs": 1, "queued": 1}
    assert (run["id"], run["idempotency_key"]) == (f"q1-{SESSION}-1-1", f"{SESSION}-1-1")
    assert command.lines("dead", "list") == []


def test_a_message_that_still_has_no_route_is_buried_again(store: Store, command: CommandLine) -> None:
    """Nothing is lost by trying."""
    letter = unrouted(store)
    assert command("dead", "retry", letter).status == 0
    dispatch_all(store)

    assert [entry["reason"] for entry in command.lines("dead", "list")] == ["unrouted"]
    assert counters(store) == {"received": 1, "admitted": 1, "unrouted": 1}


def test_a_message_of_a_trigger_that_is_gone_is_refused(store: Store, command: CommandLine) -> None:
    """And stays."""
    letter = unrouted(store)
    store.command("DEL", keys.DEPLOYED)
    said = command("dead", "retry", letter)

    assert (said.status, said.out) == (1, "")
    assert f"trigger {TRIGGER} is not deployed now" in said.err
    assert len(command.lines("dead", "list")) == 1


def test_a_poisoned_entry_that_can_be_read_by_now_goes_back(store: Store, command: CommandLine) -> None:
    """One that still cannot is refused."""
    version = deploy(store, make_trigger())
    blob = encode_envelope(make_envelope(trigger_version=version))
    for n, payload in enumerate((blob, b"garbage")):
        letter = DeadLetter(
            LETTER_VERSION, "poisoned", TRIGGER, "", 0, payload, len(payload), "", None, NOW_MS, "?", None, f"s-1-{n}"
        )
        store.command("HSET", keys.DEAD_LETTERS, f"m-1-{n}", encode_letter(letter))
        store.command("ZADD", keys.DEAD, NOW_MS, f"m-1-{n}")
    said = command("dead", "retry", "m-1-0", "m-1-1")

    assert (said.status, said.out.split()[0], "m-1-1 is left alone" in said.err) == (1, "m-1-0", True)
    assert store.command("XLEN", keys.INBOX) == 1


def test_an_unknown_id_is_an_error(command: CommandLine) -> None:
    """On stderr, with exit status 1, for every verb."""
    for verb in ("retry", "drop", "show"):
        for dead_id in ("q2-none-1-1", "m-1-1", "nonsense"):
            said = command("dead", verb, dead_id)
            assert (said.status, said.out) == (1, ""), (verb, dead_id)
            assert f"there is no dead letter {dead_id}" in said.err


def test_what_is_dropped_is_counted_for_its_trigger(store: Store, command: CommandLine) -> None:
    """A run stays in the history; of a message nothing stays."""
    fail(store, "q1-s-1-1", "q1-s-1-2")
    letter = DeadLetter(LETTER_VERSION, "oversized", "f/x" * 20, "big", 1, b"head", 9000, "00", None, NOW_MS, "9 kB")
    store.command("HSET", keys.DEAD_LETTERS, "m-1-1", encode_letter(letter))
    store.command("ZADD", keys.DEAD, NOW_MS, "m-1-1")
    asked = command("dead", "drop", "--all")
    done = command("dead", "drop", "q1-s-1-1", "m-1-1")
    again = command("dead", "drop", "q1-s-1-1")

    assert (asked.status, "--yes" in asked.err) == (2, True)
    assert (done.status, done.out) == (0, "q1-s-1-1  dropped\nm-1-1  dropped\n")
    assert (again.status, again.out) == (1, "")
    assert (counters(store)["dead_dropped"], counters(store, "f/x" * 20)) == (1, {"dead_dropped": 1})
    assert store.command("HLEN", keys.DEAD_LETTERS) == 0
    assert [run["state"] for run in command.lines("runs")] == ["failed", "failed"]
    assert command.lines("dead", "drop", "--all", "--yes") == [{"id": "q1-s-1-2", "outcome": "dropped"}]


def test_dead_letters_go_by_count_and_by_age(store: Store) -> None:
    """The oldest first, a step at a time, each counted."""
    ids = [f"q1-s-1-{n}" for n in range(10)]
    for n, run_id in enumerate(ids):
        fail(store, run_id, now_ms=NOW_MS + n)

    assert store.run(expire_dead(1000, NOW_MS, 3)).count == 0
    assert store.run(expire_dead(1000, NOW_MS + 5, 3)).count == 3
    assert store.run(expire_dead(1000, NOW_MS + 5, 3)).count == 2
    assert store.run(expire_dead(4, NOW_MS + 5, 3)).count == 1
    assert [each.decode() for each in store.command("ZRANGE", keys.DEAD, 0, -1)] == ids[6:]
    assert counters(store)["dead_dropped"] == 6


def test_a_letter_names_its_trigger_in_the_place_where_the_verbs_look(store: Store) -> None:
    """They read it from the record's first bytes, also where path or reason is long."""
    for n, trigger in enumerate(("", "f", "f/" + "t" * 29, "f/" + "t" * 30, "f/" + "ü" * 100)):
        letter = DeadLetter(LETTER_VERSION, "unrouted", trigger, "", 0, b"", 0, "", None, 0, "")
        store.command("HSET", keys.DEAD_LETTERS, f"m-{n}", msgspec.msgpack.encode(letter))
        store.command("ZADD", keys.DEAD, n, f"m-{n}")
        assert store.run(expire_dead(0, 0, 10)).count == 1
        assert counters(store, trigger) == {"dead_dropped": 1}
