"""The outbox: what is in it is published in order, through every outage, or ends as a dead letter with its reason."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared import keys
from shared.definitions import Broker, Topic
from shared.outboxes import read_outboxes
from shared.outgoing import OUTGOING_VERSION, Outgoing, encode_outgoing
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import counters
from tests.support.ingest import BROKER, FAST, dead_letters, deploy_all, deploy_trigger
from tests.support.listener import Listener, user_properties
from tests.support.mosquitto import Mosquitto
from tests.support.pipeline import COMMAND
from tests.support.ports import HOST
from tests.support.processes import HeadraceProcess, headrace_env
from tests.support.valkey import ValkeyServer

Start = Callable[..., HeadraceProcess]


@pytest.fixture
def store(own_valkey: ValkeyServer) -> Iterator[Store]:
    """A store on an empty server of the test's own."""
    store = Store.connect(own_valkey.url)
    yield store
    store.close()


def outgoing(number: int, payload: bytes = b"", **changes: object) -> Outgoing:
    """A message as a run of no trigger says it."""
    fields = {"payload": payload or b"%d" % number, "topic": "out/a"} | changes
    return Outgoing(OUTGOING_VERSION, BROKER, "", "", "q1-run", f"q1-run.1.{number}", **fields)  # type: ignore[arg-type]


def put(store: Store, *messages: Outgoing | bytes) -> None:
    """Into the outbox, as `finish` does it."""
    for message in messages:
        blob = message if isinstance(message, bytes) else encode_outgoing(message)
        store.command("XADD", keys.outbox(BROKER), "*", "m", blob)
        store.command("HINCRBY", keys.counters("?"), "said", 1)
        store.command("HINCRBY", keys.counters("?"), "outbox", 1)
    store.command("SADD", keys.OUTBOXES, BROKER)
    store.command("SADD", keys.COUNTERS, "?")


def waiting(store: Store) -> int:
    """Messages in the outbox."""
    length: int = store.command("XLEN", keys.outbox(BROKER))
    return length


def deploy_broker(store: Store, port: int, **fields: object) -> None:
    """A broker without any trigger."""
    deploy_all(store, Broker(BROKER, HOST, port, **fields))  # type: ignore[arg-type]


def test_messages_are_published_in_order_and_leave_when_they_are_acknowledged(
    store: Store, own_valkey: ValkeyServer, headrace: Start, mosquitto: Mosquitto
) -> None:
    """A thousand, also of a broker that no trigger uses. A broker keeps the order of each QoS (MQTT 5 §4.6)."""
    deploy_broker(store, mosquitto.port)
    put(store, *[outgoing(i, qos=i % 2) for i in range(1000)])
    with Listener(mosquitto.port, "out/#") as listener:
        headrace("ingest", REDIS_URL=own_valkey.url, **FAST)
        eventually(lambda: waiting(store) == 0, 30)
        eventually(lambda: len(listener.messages) == 1000)
    for qos in (0, 1):
        assert [int(each.payload) for each in listener.messages if each.qos == qos] == list(range(qos, 1000, 2))
    assert counters(store, "?") == {"said": 1000, "sent": 1000}


def test_a_broker_that_is_away_gets_them_when_it_is_back(
    store: Store, own_valkey: ValkeyServer, headrace: Start, mosquitto: Mosquitto
) -> None:
    """Killed and started again: nothing is given up, and the connection is made anew."""
    deploy_broker(store, mosquitto.port)
    ingest = headrace("ingest", REDIS_URL=own_valkey.url, **FAST).wait_ready()
    with Listener(mosquitto.port, "out/#") as listener:
        put(store, outgoing(1))
        eventually(lambda: listener.payloads == [b"1"])
    mosquitto.kill9()
    put(store, outgoing(2), outgoing(3))
    eventually(lambda: "outbox.waiting" in ingest.output)
    (outbox,) = eventually(lambda: [each for each in read_outboxes(store) if "cannot be reached" in each.reason])
    assert (outbox.broker, outbox.state, outbox.waiting) == (BROKER, "waiting", 2)
    mosquitto.start()
    with Listener(mosquitto.port, "out/#") as listener:
        eventually(lambda: waiting(store) == 0)
        put(store, outgoing(4))
        eventually(lambda: b"4" in listener.payloads)
    eventually(lambda: counters(store, "?") == {"said": 4, "sent": 4})
    (outbox,) = read_outboxes(store)
    assert (outbox.state, outbox.waiting, outbox.reason) == ("connected", 0, "")
    ingest.sigterm()
    assert [each.state for each in read_outboxes(store)] == ["idle"]


def test_two_processes_share_outboxes_and_one_takes_over_when_the_other_is_killed(
    store: Store, own_valkey: ValkeyServer, headrace: Start, mosquitto: Mosquitto
) -> None:
    """Each message is published at least once, and by its key once."""
    deploy_broker(store, mosquitto.port)
    first = headrace("ingest", REDIS_URL=own_valkey.url, **FAST).wait_ready()
    put(store, outgoing(0))
    eventually(lambda: waiting(store) == 0)
    headrace("ingest", REDIS_URL=own_valkey.url, **FAST).wait_ready()
    with Listener(mosquitto.port, "out/#") as listener:
        put(store, *[outgoing(i) for i in range(1, 401)])
        eventually(lambda: waiting(store) < 350)
        first.kill9()
        put(store, *[outgoing(i) for i in range(401, 501)])
        eventually(lambda: waiting(store) == 0, 30)
        eventually(lambda: {int(payload) for payload in listener.payloads} == set(range(1, 501)))
    published = [user_properties(message)["idempotency-key"] for message in listener.messages]
    assert set(published) == {f"q1-run.1.{i}" for i in range(1, 501)}
    assert len(published) < 501 + 64  # what was under way when the first one died, at the most
    assert counters(store, "?") == {"said": 501, "sent": 501}


def test_a_restart_of_redis_loses_none_of_them(
    store: Store, own_valkey: ValkeyServer, headrace: Start, mosquitto: Mosquitto
) -> None:
    """Killed in the midst of it."""
    deploy_broker(store, mosquitto.port)
    headrace("ingest", REDIS_URL=own_valkey.url, **FAST).wait_ready()
    with Listener(mosquitto.port, "out/#") as listener:
        put(store, *[outgoing(i) for i in range(500)])
        eventually(lambda: len(listener.messages) > 20)
        own_valkey.kill9()
        own_valkey.start()
        eventually(lambda: waiting(store) == 0, 30)
        eventually(lambda: {int(payload) for payload in listener.payloads} == set(range(500)))
    assert counters(store, "?") == {"said": 500, "sent": 500}


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that lets nobody publish to `secret/…`, and takes packets of up to 2000 bytes."""
    (tmp_path / "acl").write_text("topic readwrite out/#\n")
    with Mosquitto(tmp_path / "strict", {"acl_file": str(tmp_path / "acl"), "max_packet_size": "2000"}) as server:
        yield server.start()


def test_what_the_broker_refuses_becomes_a_dead_letter_and_the_rest_goes_on(
    store: Store, own_valkey: ValkeyServer, headrace: Start, strict: Mosquitto
) -> None:
    """Not authorised, too large, no topic to publish to, damaged: with the reason; a person may have it sent again."""
    deploy_broker(store, strict.port)
    put(store, outgoing(1, topic="secret/a"), outgoing(2, b"x" * 3000), outgoing(3, topic="a/+"), b"\xc1", outgoing(5))
    with Listener(strict.port, "out/#") as listener:
        headrace("ingest", REDIS_URL=own_valkey.url, **FAST)
        eventually(lambda: waiting(store) == 0)
        eventually(lambda: listener.payloads == [b"5"])
        letters = {letter.key: letter for letter in dead_letters(store)}
        assert {letter.reason for letter in letters.values()} == {"unsent"}
        assert "not authorized" in letters["q1-run.1.1"].detail
        assert "the broker takes 2000" in letters["q1-run.1.2"].detail
        assert "topic" in letters["q1-run.1.3"].detail.lower()
        assert "cannot be read" in letters[""].detail
        assert counters(store, "?") == {"said": 5, "sent": 1, "unsent": 4}

        (strict.log.parent.parent / "acl").write_text("topic readwrite #\n")
        strict.send(signal.SIGHUP)
        retry(own_valkey.url)
        eventually(lambda: counters(store, "?").get("sent") == 2)
    assert counters(store, "?") == {"said": 5, "sent": 2, "unsent": 3}


def retry(redis_url: str) -> None:
    """Have all dead letters run, routed or sent again. Some may be refused."""
    environment = headrace_env({"REDIS_URL": redis_url})
    subprocess.run([*COMMAND, "dead", "retry", "--all", "--yes"], env=environment, check=False, capture_output=True)


def test_messages_for_a_broker_that_is_not_deployed_go_to_the_dead_letters(
    store: Store, own_valkey: ValkeyServer, headrace: Start, mosquitto: Mosquitto
) -> None:
    """They say so, and can be sent once it is."""
    deploy_trigger(store, mosquitto.port, Topic("in", 1))
    deploy_all(store, delete=(f"broker:{BROKER}",))
    put(store, outgoing(1))
    headrace("ingest", REDIS_URL=own_valkey.url, **FAST).wait_ready()
    (letter,) = eventually(lambda: dead_letters(store))
    assert letter.detail == f"the broker {BROKER} is not deployed"

    deploy_broker(store, mosquitto.port)
    with Listener(mosquitto.port, "out/#") as listener:
        retry(own_valkey.url)
        eventually(lambda: listener.payloads == [b"1"])
    eventually(lambda: counters(store, "?") == {"said": 1, "sent": 1})
