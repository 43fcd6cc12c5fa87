"""What is deployed: triggers, scripts, brokers, as immutable records under content hashes.

A deployment is a table `<kind>:<path>` → version; a version is the hash of the record's JSON, so that an envelope or
a run can name exactly what it was meant for, however often the workspace has changed since.
"""

from __future__ import annotations

import hashlib
from typing import Literal, TypeVar

import msgspec

from shared.envelope import QoS
from shared.errors import InternalError

Kind = Literal["trigger", "script", "broker"]
Retained = Literal["run", "skip"]


class Topic(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of `subscribe_topics`. `runnable` overrides the trigger's for messages of this filter."""

    topic: str
    qos: QoS = 0
    runnable: str | None = None
    retained: Retained = "run"


class Runnable(msgspec.Struct, frozen=True):
    """A script as a trigger was deployed with: its path, version and the seconds that a run may take."""

    path: str
    version: str
    timeout_s: int


class Trigger(msgspec.Struct, frozen=True, omit_defaults=True):
    """A trigger as deployed. `session` and `client_id` were chosen at its first deployment and stay.

    `client_version` None: MQTT 5, and 3.1.1 where the broker refuses it. `clean_start` None: the first connect
    starts clean, every later one resumes. `session_expiry_interval` in seconds; None: 7 days where any topic has
    QoS > 0. `runnables` holds every runnable that the trigger names, by path.
    """

    path: str
    session: str
    client_id: str
    broker: str
    runnable: str
    runnables: dict[str, Runnable]
    topics: list[Topic]
    enabled: bool = True
    client_version: Literal["v3", "v5"] | None = None
    clean_start: bool | None = None
    session_expiry_interval: int | None = None
    topic_alias_maximum: int = 0
    receive_maximum: int | None = None
    keep_alive_s: int | None = None
    max_payload: int | None = None


class Script(msgspec.Struct, frozen=True, omit_defaults=True):
    """A script and the workspace modules that it imports: relative path → source; `entry` is the script's own."""

    path: str
    language: Literal["python3"]
    entry: str
    modules: dict[str, str]
    has_preprocessor: bool = False
    timeout_s: int | None = None


class Broker(msgspec.Struct, frozen=True, omit_defaults=True):
    """A resource of type `mqtt`: where a broker is and how to prove who we are (PEM texts, PKCS#12 in base64)."""

    path: str
    host: str
    port: int
    username: str | None = None
    password: str | None = None
    tls: bool = False
    ca_certificate: str | None = None
    client_certificate: str | None = None
    pkcs12_client_certificate: str | None = None
    pkcs12_certificate_password: str | None = None
    websocket_path: str | None = None


Definition = Trigger | Script | Broker
Record = TypeVar("Record", Trigger, Script, Broker)

_encoder = msgspec.json.Encoder(order="deterministic")
VERSION_DIGITS = 16


def encode_definition(definition: Definition) -> tuple[str, bytes]:
    """(version, JSON): the version is a hash of kind and content."""
    blob = _encoder.encode(definition)
    digest = hashlib.sha256(type(definition).__name__.encode() + b"\0" + blob)
    return digest.hexdigest()[:VERSION_DIGITS], blob


def decode_definition(blob: bytes, kind: type[Record]) -> Record:
    """Read a record that `encode_definition` made; InternalError if it is not of this kind."""
    try:
        return msgspec.json.decode(blob, type=kind)
    except msgspec.DecodeError as error:
        raise InternalError(f"a deployed {kind.__name__.lower()} cannot be read: {error}") from error


def kind_of(definition: Definition) -> Kind:
    """The kind under which a record is deployed."""
    kinds: dict[type[Definition], Kind] = {Trigger: "trigger", Script: "script", Broker: "broker"}
    return kinds[type(definition)]
