"""`headrace status` and `headrace doctor` against a real server."""

from __future__ import annotations

import json
import threading
from itertools import count
from pathlib import Path

import pytest

from shared import keys
from shared.deploy import Options, push, read_current
from shared.durability import read_durability
from shared.scripts import ingest, operate
from shared.scripts import worker as verbs
from shared.scripts.dispatch import Placement, place
from shared.status import read_status
from shared.store import Store
from shared.workspace import read_workspace
from tests.support.command_line import CommandLine
from tests.support.factories import (
    NOW_ISO,
    NOW_MS,
    TRIGGER,
    HeldSession,
    make_envelope,
    make_run,
    place_runs,
    read_entries,
)
from tests.support.ports import free_port
from tests.support.valkey import ValkeyServer

EXAMPLE = Path(__file__).resolve().parent.parent.parent / "examples" / "hello"


@pytest.fixture
def command(redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The command line on that server."""
    return CommandLine(redis_url, monkeypatch, capsys)


def deploy_example(store: Store) -> str:
    """Deploy the example; the session of its first trigger."""
    push(store, read_workspace(EXAMPLE), Options(60), lambda _plan: True)
    return read_current(store, create_id=False).triggers[TRIGGER].session


def test_an_empty_installation_has_a_status(command: CommandLine) -> None:
    """Nothing was ever deployed; the books balance."""
    status = command.json("status")

    assert (status["deployment"]["number"], status["sessions"], status["workers"]) == (0, [], [])
    assert (status["inbox_length"], status["queue_length"], status["oldest_unprocessed_age_ms"]) == (0, 0, None)
    assert all(identity["holds"] for identity in status["identities"])
    assert "nothing is deployed" in command.text("status")


def test_messages_are_counted_where_they_are(store: Store, command: CommandLine) -> None:
    """In the inbox, in the queue, claimed, running: sizes and cells agree."""
    place_runs(store, "q1-s-1-1", "q1-s-1-2", "q1-s-1-3")
    store.run(verbs.beat("w1", 60_000))
    claims = store.run(verbs.claim("w1", "w1-1", 2, 1 << 20)).claims
    store.run(verbs.start("w1", NOW_ISO, claims[:1]))
    HeldSession(store, session="second").admit(make_envelope(), make_envelope(), received=3, duplicate=1)
    status = command.json("status")
    cells = status["counters"]["total"]

    assert (status["inbox_length"], status["queue_length"], status["claimed"], status["running"]) == (2, 2, 1, 1)
    assert (cells["inbox"], cells["queued"], cells["running"]) == (2, 2, 1)
    assert (cells["received"], cells["duplicate"], cells["runs"]) == (6, 1, 3)
    assert status["counters"]["triggers"][TRIGGER] == cells
    assert all(identity["holds"] for identity in status["identities"])
    assert {(identity["trigger"], identity["name"]) for identity in status["identities"]} == {
        (trigger, name) for trigger in (None, TRIGGER) for name in ("admit", "place", "run", "send")
    }
    assert status["oldest_unprocessed_age_ms"] > 1000
    assert [(worker["name"], worker["claimed"], worker["running"]) for worker in status["workers"]] == [("w1", 1, 1)]
    assert "the oldest has waited" in command.text("status")


def test_the_session_of_each_trigger_is_shown(store: Store, command: CommandLine) -> None:
    """One is held and reports, the other waits for a process."""
    session = deploy_example(store)
    token = store.run(ingest.lease_acquire(session, "ingest-7", 60_000)).token
    store.run(ingest.session_open(session, token, TRIGGER, "my-client"))
    store.run(ingest.session_epoch(session, token, 1, 5))
    filters = [{"filter": "demo/hello", "requested": 2, "since": 1, "granted": 2}]
    stored = json.dumps({"connection": 1, "generations": [{"number": 1, "filters": filters}]})
    store.run(ingest.session_subscribed(session, token, 2, stored))
    store.run(ingest.session_report(session, token, {"state": "connected", "since": 1_767_323_045_000}))
    held, waiting = command.json("status")["sessions"]

    assert (held["trigger"], held["state"], held["holder"], held["epoch"]) == (TRIGGER, "connected", "ingest-7", 1)
    assert (held["client_id"], held["protocol"], held["granted"]) == ("my-client", "5", {"demo/hello": 2})
    assert held["since"] == "2026-01-02T03:04:05.000Z"
    assert (waiting["trigger"], waiting["state"], waiting["holder"]) == ("f/demo/temperature", "waiting", None)
    assert waiting["granted"] == {"demo/{room}/temperature": None}


def test_the_books_balance_at_every_instant_under_load(store: Store, redis_url: str) -> None:
    """All is read in one step, so a message on its way is never counted twice or not at all."""
    stop = threading.Event()

    def load() -> None:
        own = Store.connect(redis_url)
        held = HeldSession(own)
        numbers = count(1)
        while not stop.is_set():
            held.admit(make_envelope(), make_envelope())
            placements = [
                Placement(entry, TRIGGER, "run", [make_run(f"q1-s-1-{next(numbers)}")]) for entry in read_entries(own)
            ]
            own.run(place(placements, NOW_ISO, NOW_MS * 1000, 100))

    thread = threading.Thread(target=load)
    thread.start()
    try:
        snapshots = [read_status(store, redis_url) for _ in range(200)]
    finally:
        stop.set()
        thread.join()

    assert all(identity.holds for status in snapshots for identity in status.identities)
    assert all(status.inbox_length == status.counters.total["inbox"] for status in snapshots)
    assert all(status.queue_length == status.counters.total["queued"] for status in snapshots)
    assert len({status.counters.total["runs"] for status in snapshots}) > 1


def test_a_redis_with_fsync_always_is_durable_and_one_without_aof_is_not(store: Store, tmp_path: Path) -> None:
    """What the promise needs, and what falls short of it."""
    assert read_durability(store).level == "full"
    with ValkeyServer(tmp_path / "careless", {"appendonly": "no"}) as careless:
        careless.start()
        assert read_durability(Store.connect(careless.url)).level == "reduced"


def test_a_redis_that_forbids_questions_is_of_unknown_durability(tmp_path: Path) -> None:
    """And the status works without the answer, as it must on managed services."""
    with ValkeyServer(tmp_path / "strict", {"rename-command": 'CONFIG ""'}) as strict:
        strict.start()
        status = read_status(Store.connect(strict.url), strict.url)

    assert status.redis.durability == "unknown"


def test_the_doctor_says_what_is_missing(store: Store, command: CommandLine) -> None:
    """Exit status 1 because nobody holds the sessions and nobody works."""
    deploy_example(store)
    said = command("doctor", "--json")
    found = {check["name"]: check["level"] for check in json.loads(said.out)}

    assert said.status == 1
    assert (found["redis"], found["durability"], found["deployment"]) == ("ok", "ok", "ok")
    assert (found[f"session {TRIGGER}"], found["workers"], found["registries"]) == ("fail", "fail", "ok")
    assert "start headrace ingest" in command("doctor").out


def test_the_doctor_notices_a_registry_that_disagrees(store: Store, command: CommandLine) -> None:
    """Somebody has put a queued run among the failed ones."""
    place_runs(store, "q1-s-1-1")
    store.command("ZADD", keys.RQ_FAILED, 4_200_000_000, "q1-s-1-1")
    found = {check["name"]: check for check in json.loads(command("doctor", "--json").out)}

    assert found["registries"]["level"] == "warn"
    assert "q1-s-1-1 is in rq:failed:headrace, its state is queued" in found["registries"]["found"]


def test_without_redis_status_is_an_error_and_the_doctor_a_diagnosis(
    command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both end with status 1."""
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    status, doctor = command("status"), command("doctor")

    assert (status.status, "Redis is not available" in status.err) == (1, True)
    assert (doctor.status, "check REDIS_URL" in doctor.out) == (1, True)


def test_the_snapshot_writes_nothing(store: Store) -> None:
    """It may be taken as often as one likes."""
    deploy_example(store)
    before = store.command("DBSIZE")
    store.run(operate.snapshot())

    assert store.command("DBSIZE") == before
