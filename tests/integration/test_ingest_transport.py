"""Ways to a broker: TLS with an authority and client certificates, user and password, WebSocket."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.definitions import Topic
from shared.store import Store
from tests.support.certificates import Identity, make_authority, make_identity
from tests.support.eventually import eventually
from tests.support.ingest import (
    FAST,
    deploy_trigger,
    inbox,
    is_subscribed,
    send,
    session_field,
    session_state,
)
from tests.support.mosquitto import Mosquitto, only_with_password
from tests.support.ports import HOST, free_port
from tests.support.processes import HeadraceProcess

Start = Callable[..., HeadraceProcess]
AUTHORITY = make_authority()
CLIENT = make_identity(AUTHORITY, "client")


def tls_mosquitto(folder: Path, **options: str) -> Mosquitto:
    """A Mosquitto with a certificate of the authority that wants one from its clients."""
    certificate, key = make_identity(AUTHORITY, "broker").write(folder, "broker")
    authority, _ = AUTHORITY.write(folder, "authority")
    files = {"cafile": str(authority), "certfile": str(certificate), "keyfile": str(key)}
    return Mosquitto(folder / "mosquitto", files | {"require_certificate": "true"} | options)


@pytest.mark.parametrize(
    "client",
    [
        {"client_certificate": CLIENT.certificate_pem + CLIENT.key_pem},
        {
            "pkcs12_client_certificate": base64.b64encode(CLIENT.as_pkcs12("secret")).decode(),
            "pkcs12_certificate_password": "secret",
        },
    ],
    ids=["pem", "pkcs12"],
)
def test_tls_with_own_authority_and_client_certificate(
    client: dict[str, Any], store: Store, redis_url: str, headrace: Start, tmp_path: Path
) -> None:
    """The broker's certificate is checked against the authority, ours is shown."""
    with tls_mosquitto(tmp_path) as mosquitto:
        mosquitto.start()
        way = {"tls": True, "ca_certificate": AUTHORITY.certificate_pem, **client}
        deploy_trigger(store, mosquitto.port, Topic("a", 1), broker=way)
        headrace("ingest", REDIS_URL=redis_url, **FAST)

        eventually(lambda: is_subscribed(store))


@pytest.mark.parametrize(
    "authority,said",
    [(make_authority("somebody else"), "is not trusted"), (None, "is not trusted"), ("no PEM", "CA certificate")],
    ids=["another authority", "system roots", "unusable"],
)
def test_a_broker_that_cannot_be_trusted_is_refused(
    authority: Identity | str | None, said: str, store: Store, redis_url: str, headrace: Start, tmp_path: Path
) -> None:
    """With the reason in the status, and no CONNECT sent."""
    pem = authority.certificate_pem if isinstance(authority, Identity) else authority
    with tls_mosquitto(tmp_path, require_certificate="false") as mosquitto:
        mosquitto.start()
        deploy_trigger(store, mosquitto.port, Topic("a", 1), broker={"tls": True, "ca_certificate": pem})
        headrace("ingest", REDIS_URL=redis_url, **FAST)
        eventually(lambda: session_state(store) == "refused")

        assert said in session_field(store, "reason")
        assert "as headrace-test" not in mosquitto.output


def test_user_and_password(store: Store, redis_url: str, headrace: Start, tmp_path: Path) -> None:
    """Wrong ones are refused with the reason shown; right ones are tried as soon as they are deployed."""
    options = only_with_password(tmp_path, "me", "secret")
    with Mosquitto(tmp_path / "mosquitto", options) as mosquitto:
        mosquitto.start()
        deploy_trigger(store, mosquitto.port, Topic("a", 1), broker={"username": "me", "password": "wrong"})
        headrace("ingest", REDIS_URL=redis_url, **FAST)
        eventually(lambda: session_state(store) == "refused")
        assert session_field(store, "reason") == "not authorized"
        deploy_trigger(store, mosquitto.port, Topic("a", 1), broker={"username": "me", "password": "secret"})
        eventually(lambda: is_subscribed(store))
        send(mosquitto.port, ("a", "x", 1), username="me", password="secret")

        assert eventually(lambda: inbox(store))[0].payload == b"x"


def test_websocket(store: Store, redis_url: str, headrace: Start, tmp_path: Path) -> None:
    """With messages larger than one read, both ways."""
    with Mosquitto(tmp_path / "mosquitto", websocket_options()) as mosquitto:
        mosquitto.start()
        deploy_trigger(store, mosquitto.port, Topic("a", 2), broker={"websocket_path": "/mqtt"})
        ingest = headrace("ingest", REDIS_URL=redis_url, **FAST)
        eventually(lambda: is_subscribed(store))
        (tmp_path / "body").write_bytes(b"x" * 50_000)
        url = f"ws://127.0.0.1:{mosquitto.port}/mqtt"
        assert headrace("publish", "a", "-f", "body", "--qos", "2", "--broker", url).wait() == 0

        assert eventually(lambda: inbox(store))[0].payload == b"x" * 50_000
        assert f"broker={url}" in ingest.output
        assert ingest.sigterm() == 0


def test_websocket_over_tls(store: Store, redis_url: str, headrace: Start, tmp_path: Path) -> None:
    """The same behind a certificate, and a client certificate."""
    with tls_mosquitto(tmp_path, **websocket_options()) as mosquitto:
        mosquitto.start()
        way = {
            "websocket_path": "/mqtt",
            "tls": True,
            "ca_certificate": AUTHORITY.certificate_pem,
            "client_certificate": CLIENT.certificate_pem + CLIENT.key_pem,
        }
        deploy_trigger(store, mosquitto.port, Topic("a", 2), broker=way)
        ingest = headrace("ingest", REDIS_URL=redis_url, **FAST)
        eventually(lambda: is_subscribed(store))

        assert f"broker=wss://127.0.0.1:{mosquitto.port}/mqtt" in ingest.output
        assert ingest.sigterm() == 0


def websocket_options() -> dict[str, str]:
    """WebSocket on the port of the test; Mosquitto does not start without a listener of the plain kind beside it."""
    return {"protocol": "websockets", "listener": f"{free_port()} {HOST}"}
