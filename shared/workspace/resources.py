"""Resources: `<path>.resource.yaml`. Those of type `mqtt` (Windmill's, and a little more) are brokers."""

from __future__ import annotations

import base64
import binascii
import re

import msgspec

from shared.definitions import Broker, Resource
from shared.workspace.layout import RESOURCE as SUFFIX
from shared.workspace.problems import Problems
from shared.workspace.references import REFERENCES, VARIABLE, Reference, references_in
from shared.workspace.yaml_lines import Table, read_yaml
from shared.workspace.yaml_values import Text

BROKER_TYPE = "mqtt"
MAX_PORT = 65_535
MAX_QUEUED = 10**12
_PASSWORD = re.compile(r"(^|_)(password|passwd|secret|token|api_?key|private_?key)$", re.IGNORECASE)
_NOTHING_TO_DO = ("labels", "is_oauth", "account", "extra_perms", "ws_specific")


class ResourceFile(msgspec.Struct, frozen=True):
    """A resource as its file describes it; `broker` too if it is one."""

    file: str
    resource: Resource
    broker: Broker | None
    references: list[Reference]


def read_resource(file: str, text: str, problems: Problems) -> ResourceFile | None:
    """The resource that a file describes; None, and problems, where it says too little."""
    if (table := read_yaml(file, text, problems)) is None:
        return None
    path, kind = file.removesuffix(SUFFIX), table.text("resource_type", required=True)
    description, value = table.data("description"), table.data("value")
    broker = None
    if kind == BROKER_TYPE:
        fields = table.table("value", required=True)
        broker = _broker(path, fields) if fields else None
    table.allow(*_NOTHING_TO_DO)
    table.close()
    for found in table.texts("value"):
        _warn_of_password(file, found, problems)
    if kind is None or (kind == BROKER_TYPE and broker is None):
        return None
    references = list(references_in(file, table.texts("value")))
    return ResourceFile(file, Resource(path, kind, value, str(description or "")), broker, references)


def _warn_of_password(file: str, found: Text, problems: Problems) -> None:
    if found.text and _PASSWORD.search(found.name) and not found.text.startswith(REFERENCES):
        message = "is written out: whoever reads this file, or Redis, reads it"
        hint = f"write {VARIABLE}<path> here, and the value into <path>.variable.yaml with is_secret: true"
        problems.warn(file, found.line, found.key, message, hint)


def _broker(path: str, value: Table) -> Broker | None:
    host = _host(value)
    port = value.integer("port", 1, MAX_PORT, required=True)
    credentials = value.table("credentials")
    tls = value.table("tls")
    websocket_path = _plain(value, "websocket_path")
    if websocket_path and not websocket_path.startswith(("/", VARIABLE)):
        value.error("websocket_path", f"is {websocket_path!r}, not a path", "write for example /mqtt")
    limit = value.integer("max_queued_messages", 0, MAX_QUEUED)
    value.close()
    username = password = None
    if credentials is not None:
        username, password = _plain(credentials, "username"), _plain(credentials, "password", secret=True)
        credentials.close()
    if host is None or port is None:
        return None
    broker = Broker(path, host, port, username, password, websocket_path=websocket_path, max_queued_messages=limit)
    return broker if tls is None else msgspec.structs.replace(broker, **_tls(tls))


def _host(value: Table) -> str | None:
    """`broker` as Windmill writes it, or `host`."""
    both = value.given("broker") and value.given("host")
    host = _plain(value, "host" if value.given("host") else "broker", required=True)
    if both:
        value.error("host", "given beside broker, which means the same", "keep one of them")
    if host and not host.startswith(VARIABLE) and ("/" in host or host != host.strip()):
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


def _plain(table: Table, key: str, *, required: bool = False, secret: bool = False) -> str | None:
    """A text, which may be a `$var:`."""
    text = table.text(key, required=required, secret=secret)
    if text is not None and text.startswith(REFERENCES) and not text.startswith(VARIABLE):
        table.error(key, "refers to a resource", f"a broker takes texts: write {VARIABLE}<path>")
        return None
    return text


def _pem(table: Table, key: str, *needed: str) -> str | None:
    text = _plain(table, key, secret=True)
    for block in needed:
        if (
            text is not None
            and not text.startswith(VARIABLE)
            and not (f"{block}-----" in text and "-----BEGIN " in text)
        ):
            table.error(key, f"holds no {block}", f"give the PEM text, from -----BEGIN to {block}-----, as a '|' block")
            return None
    return text


def _base64(table: Table, key: str) -> str | None:
    text = _plain(table, key, secret=True)
    if text is None or text.startswith(VARIABLE):
        return text
    try:
        base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error as error:
        table.error(key, f"not base64: {error}", "give the .p12 file as `base64 -w0 file.p12` prints it")
        return None
    return "".join(text.split())
