"""Connections to brokers: TCP, TLS and WebSocket, from the definition of a broker.

The only place that opens sockets to brokers. What goes wrong is told apart by who can mend it: `Unreachable` passes or
is mended elsewhere, `BrokerRejected` needs a person (a certificate, a path, a name).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ssl
import tempfile
from collections.abc import Callable
from urllib.parse import SplitResult, unquote, urlsplit

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from ingest.websocket import WebSocketLayer
from shared.definitions import Broker
from shared.errors import ConfigError, PeerError, UserError

WRITE_HIGH_WATER = 256 * 1024
_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}


class Unreachable(PeerError):
    """No connection to the broker came about. It is worth trying again soon."""


class BrokerRejected(PeerError):
    """No connection to the broker can come about until a person changes something on either side."""


class UnusableCertificate(UserError):
    """A certificate of the broker's definition cannot be used."""


def broker_url(broker: Broker) -> str:
    """How a broker is named in logs and status: without user and password."""
    scheme = ("wss" if broker.tls else "ws") if broker.websocket_path is not None else "mqtts" if broker.tls else "mqtt"
    host = f"[{broker.host}]" if ":" in broker.host else broker.host
    return f"{scheme}://{host}:{broker.port}{broker.websocket_path or ''}"


def parse_broker_url(url: str) -> Broker:
    """The broker at `mqtt://[user:password@]host[:port]`, or mqtts, or ws and wss with a path. Raises ConfigError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _not_a_broker(f"it cannot be read ({error})") from error
    if parts.scheme not in _PORTS:
        raise _not_a_broker(f"its scheme is {parts.scheme!r}")
    if not parts.hostname:
        raise _not_a_broker("it names no host")
    return Broker(
        path="",
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        username=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
        tls=parts.scheme in {"mqtts", "wss"},
        websocket_path=_websocket_path(parts),
    )


async def open_transport(broker: Broker, protocol: asyncio.Protocol, timeout_s: float) -> asyncio.Transport:
    """Connect `protocol` to the broker, TLS and WebSocket handshakes included; the transport is ready to write.

    Raises Unreachable, BrokerRejected, UnusableCertificate. Nothing is left open when it raises or is cancelled.
    """
    url = broker_url(broker)
    context = tls_context(broker) if broker.tls else None
    try:
        async with asyncio.timeout(timeout_s):
            return await _open(broker, protocol, context)
    except TimeoutError as error:
        hint = "check host, port and firewall"
        raise Unreachable(f"{url} did not answer within {timeout_s:g} s", hint=hint, broker=url) from error
    except ssl.SSLCertVerificationError as error:
        hint = "if the broker has a certificate of its own authority, give that as ca_certificate"
        raise BrokerRejected(f"the certificate of {url} is not trusted: {error.verify_message}", hint=hint) from error
    except ssl.SSLError as error:
        hint = "check that the port speaks TLS, and the client certificate if it wants one"
        raise Unreachable(f"no TLS with {url}: {error.reason or error}", hint=hint, broker=url) from error
    except OSError as error:
        raise Unreachable(f"{url} cannot be reached: {error}", hint="check that the broker runs", broker=url) from error


def tls_context(broker: Broker) -> ssl.SSLContext:
    """What we trust (system roots, or the broker's CA) and who we are. Raises UnusableCertificate."""
    try:
        context = ssl.create_default_context(cadata=broker.ca_certificate)
    except (ssl.SSLError, ValueError) as error:
        raise _unusable(broker, "CA certificate", error) from error
    if broker.client_certificate is not None:
        _load_chain(context, broker, "client certificate", broker.client_certificate.encode(), None)
    if broker.pkcs12_client_certificate is not None:
        password = broker.pkcs12_certificate_password
        _load_chain(context, broker, "PKCS#12 client certificate", _pkcs12_as_pem(broker), password)
    return context


async def _open(broker: Broker, protocol: asyncio.Protocol, context: ssl.SSLContext | None) -> asyncio.Transport:
    loop = asyncio.get_running_loop()
    layer = WebSocketLayer(broker, protocol) if broker.websocket_path is not None else None
    make: Callable[[], asyncio.Protocol] = lambda: layer or protocol  # noqa: E731
    transport, _ = await loop.create_connection(make, broker.host, broker.port, ssl=context)
    if layer is not None:
        below = transport
        try:
            transport = await layer.opened
        except BaseException:
            below.abort()
            raise
    transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
    return transport


def _load_chain(context: ssl.SSLContext, broker: Broker, what: str, pem: bytes, password: str | None) -> None:
    """OpenSSL reads certificates with their key from files only: this one is readable by us alone, and short-lived."""
    with tempfile.NamedTemporaryFile(prefix="headrace-", suffix=".pem") as file:
        file.write(pem)
        file.flush()
        try:
            context.load_cert_chain(file.name, password=password or _no_password)
        except (ssl.SSLError, ValueError) as error:
            raise _unusable(broker, what, error) from error


def _no_password() -> str:
    """Asked for by OpenSSL when a key is encrypted; without an answer it would ask at the terminal."""
    raise ValueError("its key is encrypted and there is no password for it")


def _pkcs12_as_pem(broker: Broker) -> bytes:
    password = (broker.pkcs12_certificate_password or "").encode() or None
    try:
        store = load_pkcs12(base64.b64decode(broker.pkcs12_client_certificate or ""), password)
    except (ValueError, binascii.Error) as error:
        raise _unusable(broker, "PKCS#12 client certificate", error) from error
    if store.key is None or store.cert is None:
        raise _unusable(broker, "PKCS#12 client certificate", "it does not hold a key and its certificate")
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    key = store.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    certificates = [store.cert, *store.additional_certs]
    return key + b"".join(each.certificate.public_bytes(Encoding.PEM) for each in certificates)


def _unusable(broker: Broker, what: str, why: object) -> UnusableCertificate:
    return UnusableCertificate(
        f"the {what} of broker {broker.path or broker_url(broker)} cannot be used: {why}",
        hint="certificates are PEM text (a client certificate with its key) or PKCS#12 in base64",
    )


def _websocket_path(parts: SplitResult) -> str | None:
    if parts.scheme not in {"ws", "wss"}:
        return None
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _not_a_broker(why: str) -> ConfigError:
    return ConfigError(
        f"the broker's URL cannot be used: {why}",
        hint="for example mqtt://127.0.0.1:1883 or mqtts://user:pw@mqtt.example",
    )
