"""The embedded servers: they serve, keep what they promise to keep, and start and stop in good order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as paho
import psutil
import pytest
import redis
from paho.mqtt.enums import CallbackAPIVersion

from shared.errors import UserError
from shared.events import send_to
from shared.services.broker import find_mosquitto
from shared.services.foreground import Server, run_in_foreground
from tests.support.eventually import eventually
from tests.support.mosquitto import MosquittoMissingError
from tests.support.ports import HOST, accepts, free_port
from tests.support.processes import HeadraceProcess
from tests.support.valkey import ValkeyServer

Start = Callable[..., HeadraceProcess]


def _own_redis(headrace: Start, port: int) -> HeadraceProcess:
    return headrace("redis", REDIS_URL=f"redis://{HOST}:{port}/0").wait_ready()


def _own_broker(headrace: Start, port: int, kind: str) -> HeadraceProcess:
    program = "none" if kind == "amqtt" else find_mosquitto()
    if program is None:
        raise MosquittoMissingError
    return headrace("broker", HEADRACE_BROKER=f"mqtt://{HOST}:{port}", HEADRACE_MOSQUITTO=program).wait_ready()


def test_redis_stores_every_write_before_it_answers(headrace: Start) -> None:
    """The settings that the promise of QoS 1 and 2 rests on are in force."""
    port = free_port()
    _own_redis(headrace, port)

    with redis.Redis(HOST, port, decode_responses=True) as client:
        settings = client.config_get("append*", "maxmemory-policy", "save")

    assert (settings["appendonly"], settings["appendfsync"]) == ("yes", "always")
    assert (settings["maxmemory-policy"], settings["save"]) == ("noeviction", "")


def test_redis_keeps_its_data_when_it_is_killed(headrace: Start) -> None:
    """After kill -9 of our process the server goes with it, and the next one has all that was answered."""
    port = free_port()
    first = _own_redis(headrace, port)
    with redis.Redis(HOST, port) as client:
        client.set("kept", "value")

    first.kill9()
    _own_redis(headrace, port)

    with redis.Redis(HOST, port) as client:
        assert client.get("kept") == b"value"


def test_redis_keeps_its_data_when_the_server_is_killed(headrace: Start) -> None:
    """When the server itself dies we end with status 1 and show its last words; a new start finds the data."""
    port = free_port()
    first = _own_redis(headrace, port)
    with redis.Redis(HOST, port) as client:
        client.set("kept", "value")
    (server,) = psutil.Process(first.pid).children()

    server.kill()

    assert first.wait() == 1
    assert "ended with status -9" in first.output
    assert "Ready to accept connections" in first.output
    _own_redis(headrace, port)
    with redis.Redis(HOST, port) as client:
        assert client.get("kept") == b"value"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_redis_stops_in_good_order(headrace: Start, signum: signal.Signals) -> None:
    """SIGTERM and Ctrl-C end it with status 0, and nothing holds the port."""
    port = free_port()
    process = _own_redis(headrace, port)

    process.send(signum)

    assert process.wait() == 0
    assert not accepts(port)


def test_redis_waits_for_its_clients_to_go(headrace: Start) -> None:
    """Processes that are stopped together with it can still store what they have."""
    port = free_port()
    process = _own_redis(headrace, port)
    with redis.Redis(HOST, port) as client:
        client.ping()
        process.send(signal.SIGTERM)
        eventually(lambda: "stopping" in process.output)

        assert client.set("last", "words")

    assert process.wait() == 0


def test_redis_refuses_a_port_that_another_redis_has(headrace: Start, valkey: ValkeyServer) -> None:
    """It says what it found there and how to go on."""
    process = headrace("redis", REDIS_URL=valkey.url)

    assert process.wait() == 1
    assert f"port {valkey.port} is taken by Valkey 9." in process.output
    assert "hint:" in process.output


def test_redis_refuses_a_folder_that_is_in_use(headrace: Start) -> None:
    """Two servers would write over each other's data."""
    first = _own_redis(headrace, free_port())

    second = headrace("redis", REDIS_URL=f"redis://{HOST}:{free_port()}/0")

    assert second.wait() == 1
    assert f"in use by process {first.pid}" in second.output
    assert first.running


def test_redis_replaces_a_server_that_it_left_behind(headrace: Start, tmp_path: Path) -> None:
    """A server of ours without our process (where the kernel cannot tie the two) is shut down, its data kept."""
    port = free_port()
    _own_redis(headrace, port).sigterm()
    with ValkeyServer(tmp_path / "other") as orphan:
        orphan.argv[1] = str(tmp_path / ".headrace" / "redis" / "valkey.conf")
        orphan.port, orphan.url = port, f"redis://{HOST}:{port}/0"
        orphan.start()
        with orphan.client() as client:
            client.set("kept", "value")

        _own_redis(headrace, port)

        assert orphan.wait() == 0
    with redis.Redis(HOST, port) as client:
        assert client.get("kept") == b"value"


@pytest.mark.parametrize("url", ["redis://10.0.0.1:6379/0", f"rediss://{HOST}:1/0", f"redis://:secret@{HOST}:1/0"])
def test_redis_refuses_an_address_that_it_cannot_serve(headrace: Start, url: str) -> None:
    """Another host, TLS or a password mean that the user has a server of their own; the password is not shown."""
    process = headrace("redis", REDIS_URL=url)

    assert process.wait() == 2
    assert "leave this process out" in process.output
    assert "secret" not in process.output


@pytest.mark.parametrize("kind", ["mosquitto", "amqtt"])
def test_broker_passes_a_message(headrace: Start, kind: str) -> None:
    """What one client publishes another one gets; then SIGTERM ends the broker with status 0."""
    port = free_port()
    process = _own_broker(headrace, port, kind)
    got: list[bytes | bytearray] = []
    subscribed = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, "listener")
    client.on_message = lambda _client, _data, message: got.append(message.payload)
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect(HOST, port)
    client.loop_start()
    try:
        client.subscribe("tank/level", qos=1)
        assert subscribed.wait(10)
        client.publish("tank/level", b"17", qos=1).wait_for_publish(10)
        eventually(lambda: got == [b"17"])
    finally:
        client.disconnect()
        client.loop_stop()

    assert process.sigterm() == 0
    assert not accepts(port)


def test_the_broker_in_python_says_what_it_cannot_keep(headrace: Start) -> None:
    """Whoever gets amqtt is told that its sessions end with its life."""
    process = _own_broker(headrace, free_port(), "amqtt")

    assert "QoS 1 and 2 hold only while it lives" in process.output


def test_mosquitto_keeps_retained_messages_over_a_restart(headrace: Start) -> None:
    """Its state lies in the data folder."""
    port = free_port()
    first = _own_broker(headrace, port, "mosquitto")
    client = paho.Client(CallbackAPIVersion.VERSION2, "writer")
    client.connect(HOST, port)
    client.loop_start()
    client.publish("tank/level", b"17", qos=1, retain=True).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()

    assert first.sigterm() == 0
    _own_broker(headrace, port, "mosquitto")

    got: list[bytes | bytearray] = []
    reader = paho.Client(CallbackAPIVersion.VERSION2, "reader")
    reader.on_message = lambda _client, _data, message: got.append(message.payload)
    reader.connect(HOST, port)
    reader.loop_start()
    reader.subscribe("tank/level", qos=1)
    eventually(lambda: got == [b"17"])
    reader.disconnect()
    reader.loop_stop()


def test_a_killed_broker_leaves_no_orphan(headrace: Start) -> None:
    """After kill -9 of our process its Mosquitto ends too, and the next start gets the port."""
    port = free_port()
    first = _own_broker(headrace, port, "mosquitto")
    (server,) = psutil.Process(first.pid).children()

    first.kill9()

    second = _own_broker(headrace, port, "mosquitto")
    assert second.running
    assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE


def test_broker_refuses_a_port_that_is_taken(headrace: Start, valkey: ValkeyServer) -> None:
    """It does not start beside another server, and says so."""
    process = headrace("broker", HEADRACE_BROKER=f"mqtt://{HOST}:{valkey.port}")

    assert process.wait() == 1
    assert f"port {valkey.port} is taken" in process.output


def test_broker_refuses_a_mosquitto_that_is_not_there(headrace: Start) -> None:
    """A wrong path is an error, not a silent step down to the broker in Python."""
    process = headrace("broker", HEADRACE_MOSQUITTO="/nowhere/mosquitto")

    assert process.wait() == 2
    assert "/nowhere/mosquitto" in process.output


def test_complaints_are_reported_while_the_server_serves(tmp_path: Path) -> None:
    """What it says before it is ready stays in its log; what it complains of later is told, and so is its end."""
    asked, log = tmp_path / "asked", tmp_path / "log"
    script = f"""if true; then
        echo "warning: chatter at the start"
        while [ ! -e {asked} ]; do sleep 0.01; done
        echo "warning: disk full"; echo "all is well"; exit 3
    fi"""
    reported: list[tuple[str, object]] = []

    def note(_level: str, name: str, fields: dict[str, object]) -> None:
        reported.append((name, fields.get("text")))
        asked.touch()

    server = Server(
        process="redis",
        argv=["/bin/sh", "-c", script],
        log=log,
        is_ready=lambda: log.exists() and "chatter" in log.read_text(),
        ready_fields={},
        is_problem=lambda line: line.startswith("warning"),
        orphan_signal=signal.SIGKILL,
    )
    before = send_to(note)
    try:
        with pytest.raises(UserError, match=r"ended with status 3(?s:.*)disk full"):
            run_in_foreground(server)
    finally:
        send_to(*before)

    assert reported == [("process.ready", None), ("library.warning", "warning: disk full")]
    assert log.read_text().count("\n") == 3
