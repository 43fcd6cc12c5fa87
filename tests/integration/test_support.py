"""The tools of the tests themselves: a proxy that cuts too early, or a server that forgets, would prove nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.eventually import eventually
from tests.support.iotcore_broker import IotcoreBroker
from tests.support.mosquitto import Mosquitto
from tests.support.ports import HOST, accepts
from tests.support.proxy import CuttingProxy
from tests.support.valkey import ValkeyServer


@pytest.fixture
def proxy(valkey: ValkeyServer, redis_url: str) -> Iterator[CuttingProxy]:
    """A proxy before the shared Redis, which is empty."""
    del redis_url
    with CuttingProxy(valkey.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: CuttingProxy) -> Iterator[redis.Redis]:
    """A client that goes through the proxy and repeats nothing by itself."""
    with redis.Redis(HOST, proxy.port, retry=Retry(NoBackoff(), 0), socket_timeout=0.5) as client:
        yield client


def test_a_cut_reply_belongs_to_a_request_that_was_carried_out(
    proxy: CuttingProxy, client: redis.Redis, valkey: ValkeyServer
) -> None:
    """Exactly the next request is lost on its way back; the one after it is answered."""
    client.ping()
    proxy.cut_replies(1)

    with pytest.raises(redis.ConnectionError):
        client.incr("counter")

    assert proxy.cuts == 1
    with valkey.client() as direct:
        assert direct.get("counter") == b"1"
    assert client.incr("counter") == 2


def test_a_cut_can_wait_for_a_certain_request(proxy: CuttingProxy, client: redis.Redis) -> None:
    """Other requests pass while it waits."""
    proxy.cut_replies(1, after=b"APPEND")

    assert client.incr("counter") == 1
    with pytest.raises(redis.ConnectionError):
        client.append("text", "a")
    assert client.get("text") == b"a"


def test_a_refusing_proxy_ends_connections_until_it_resumes(proxy: CuttingProxy, client: redis.Redis) -> None:
    """Redis seems to be down, and comes back."""
    client.ping()

    proxy.refuse()

    with pytest.raises(redis.ConnectionError):
        client.ping()
    proxy.resume()
    assert client.ping()


def test_a_stalled_proxy_delivers_late(proxy: CuttingProxy, client: redis.Redis, valkey: ValkeyServer) -> None:
    """The client gives up waiting; what it had sent still arrives."""
    client.ping()
    proxy.stall()

    with pytest.raises(redis.TimeoutError):
        client.set("late", "yes")

    with valkey.client() as direct:
        assert direct.get("late") is None
        proxy.resume()
        assert client.ping()
        eventually(lambda: direct.get("late") == b"yes")


def test_dropped_connections_are_replaced(proxy: CuttingProxy, client: redis.Redis) -> None:
    """Only what is open at that moment ends."""
    client.ping()
    assert proxy.connections == 1

    proxy.drop()

    eventually(lambda: proxy.connections == 0)
    assert client.ping()


def test_valkey_keeps_its_data_over_a_kill(own_valkey: ValkeyServer) -> None:
    """What a test stored before a kill -9 is there after it, at the same address."""
    with own_valkey.client() as client:
        client.set("kept", "value")

    own_valkey.kill9()
    assert not accepts(own_valkey.port)
    own_valkey.start()

    with own_valkey.client() as client:
        assert client.get("kept") == b"value"


def test_a_frozen_valkey_does_not_answer_until_it_goes_on(own_valkey: ValkeyServer) -> None:
    """It holds its connections open all the while."""
    with redis.Redis(HOST, own_valkey.port, retry=Retry(NoBackoff(), 0), socket_timeout=0.2) as client:
        client.ping()
        own_valkey.sigstop()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        own_valkey.sigcont()
        assert eventually(client.ping)


def test_mosquitto_starts_again_at_the_same_address(mosquitto: Mosquitto) -> None:
    """Killed or stopped, and its log goes on."""
    mosquitto.kill9()
    mosquitto.start()
    assert mosquitto.sigterm() == 0
    mosquitto.start()

    assert accepts(mosquitto.port)
    assert mosquitto.output.count("Opening ipv4 listen socket") == 3


def test_the_broker_from_pip_listens_for_both_protocols(tmp_path: Path) -> None:
    """MQTT 5 and 3.1.1 each have their port."""
    with IotcoreBroker(tmp_path) as broker:
        broker.start()

        assert accepts(broker.port)
        assert accepts(broker.port_v311)
