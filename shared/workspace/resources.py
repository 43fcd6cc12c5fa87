"""Resources: `<path>.resource.yaml`. Those of type `mqtt` are brokers (Windmill's resource type, and a little more)."""

from __future__ import annotations

import base64
import binascii

import msgspec

from shared.definitions import Broker
from shared.workspace.problems import Problems
from shared.workspace.yaml_lines import Table, read_yaml

SUFFIX = ".resource.yaml"
BROKER_TYPE = "mqtt"
MAX_PORT = 65_535
_VARIABLE = "$var:"
_NO_VARIABLES = "variables are not read yet: write the value itself"


def read_broker(file: str, text: str, problems: Problems) -> Broker | None:
    """The broker that a resource file describes; None for a resource of another type, or one that says too little."""
    if (table := read_yaml(file, text, problems)) is None:
        return None
    kind = table.text("resource_type", required=True)
    if kind != BROKER_TYPE:
        return None
    table.allow("description", "labels")
    value = table.table("value", required=True)
    table.close()
    return None if value is None else _broker(file.removesuffix(SUFFIX), value)


def _broker(path: str, value: Table) -> Broker | None:
    host = _host(value)
    port = value.integer("port", 1, MAX_PORT, required=True)
    credentials = value.table("credentials")
    tls = value.table("tls")
    websocket_path = value.text("websocket_path")
    if websocket_path and not websocket_path.startswith("/"):
        value.error("websocket_path", f"is {websocket_path!r}, not a path", "write for example /mqtt")
    value.close()
    username = password = None
    if credentials is not None:
        username, password = _plain(credentials, "username"), _plain(credentials, "password", secret=True)
        credentials.close()
    if host is None or port is None:
        return None
    broker = Broker(path, host, port, username, password, websocket_path=websocket_path)
    return broker if tls is None else msgspec.structs.replace(broker, **_tls(tls))


def _host(value: Table) -> str | None:
    """`broker` as Windmill writes it, or `host`."""
    both = value.given("broker") and value.given("host")
    host = _plain(value, "host") if value.given("host") else value.text("broker", required=True)
    if both:
        value.error("host", "given beside broker, which means the same", "keep one of them")
    if host and ("/" in host or host != host.strip()):
        key = "host" if value.given("host") else "broker"
        value.error(key, f"is {host!r}, not a host name", "write the name or address alone")
        return None
    return host


def _tls(table: Table) -> dict[str, bool | str | None]:
    """The fields of a Broker that its `tls` table sets."""
    enabled = table.flag("enabled")
    found: dict[str, bool | str | None] = {
        "tls": enabled is True,
        "ca_certificate": _pem(table, "ca_certificate", "CERTIFICATE"),
        "client_certificate": _pem(table, "client_certificate", "CERTIFICATE", "PRIVATE KEY"),
        "pkcs12_client_certificate": _base64(table, "pkcs12_client_certificate"),
        "pkcs12_certificate_password": _plain(table, "pkcs12_certificate_password", secret=True),
    }
    table.close()
    if found["client_certificate"] and found["pkcs12_client_certificate"]:
        table.error("client_certificate", "given beside pkcs12_client_certificate", "keep one of them")
    if not enabled and any(found.values()):
        table.warn("enabled", "certificates are given, and TLS is off", "write enabled: true to use them")
    return found


def _plain(table: Table, key: str, *, secret: bool = False) -> str | None:
    text = table.text(key, secret=secret)
    if text is not None and text.startswith(_VARIABLE):
        table.error(key, f"refers to the variable {text.removeprefix(_VARIABLE)}", _NO_VARIABLES)
        return None
    return text


def _pem(table: Table, key: str, *needed: str) -> str | None:
    text = _plain(table, key, secret=True)
    for block in needed:
        if text is not None and not (f"{block}-----" in text and "-----BEGIN " in text):
            table.error(key, f"holds no {block}", f"give the PEM text, from -----BEGIN to {block}-----, as a '|' block")
            return None
    return text


def _base64(table: Table, key: str) -> str | None:
    text = _plain(table, key, secret=True)
    if text is None:
        return None
    try:
        base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error as error:
        table.error(key, f"not base64: {error}", "give the .p12 file as `base64 -w0 file.p12` prints it")
        return None
    return "".join(text.split())
