"""Brokers as URLs: what `--broker` and the setting take, and how a broker is named in logs."""

from __future__ import annotations

import pytest

from ingest.transport import broker_url, parse_broker_url
from shared.definitions import Broker
from shared.errors import ConfigError


@pytest.mark.parametrize(
    "url,broker",
    [
        ("mqtt://127.0.0.1", Broker("", "127.0.0.1", 1883)),
        ("mqtt://u:p%40ss@broker.example:1999", Broker("", "broker.example", 1999, username="u", password="p@ss")),
        ("mqtts://broker.example", Broker("", "broker.example", 8883, tls=True)),
        ("ws://h:8080/mqtt?a=b", Broker("", "h", 8080, websocket_path="/mqtt?a=b")),
        ("wss://h", Broker("", "h", 443, tls=True, websocket_path="/")),
        ("mqtt://[::1]:1883", Broker("", "::1", 1883)),
    ],
)
def test_a_url_names_a_broker(url: str, broker: Broker) -> None:
    """Ports have the usual defaults."""
    assert parse_broker_url(url) == broker


@pytest.mark.parametrize("url", ["", "127.0.0.1:1883", "http://h", "mqtt://", "mqtt://h:port", "mqtt://h:99999"])
def test_what_is_no_broker_is_refused(url: str) -> None:
    """With an example in the hint."""
    with pytest.raises(ConfigError) as error:
        parse_broker_url(url)
    assert "mqtt://" in error.value.hint


@pytest.mark.parametrize(
    "broker,url",
    [
        (Broker("b", "h", 1883, username="u", password="secret"), "mqtt://h:1883"),
        (Broker("b", "::1", 8883, tls=True), "mqtts://[::1]:8883"),
        (Broker("b", "h", 80, websocket_path="/mqtt"), "ws://h:80/mqtt"),
        (Broker("b", "h", 443, tls=True, websocket_path="/"), "wss://h:443/"),
    ],
)
def test_a_broker_is_named_without_user_and_password(broker: Broker, url: str) -> None:
    """Logs are read by many."""
    assert broker_url(broker) == url
