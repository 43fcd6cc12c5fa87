"""What is deployed: triggers, scripts, brokers, as immutable records under content hashes.

A deployment is a table `<kind>:<path>` → version; a version is the hash of the record's JSON, so that an envelope or
a run can name exactly what it was meant for, however often the workspace has changed since.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal, TypeVar

import msgspec

from shared.envelope import QoS
from shared.errors import InternalError
from shared.openflow import PREPROCESSOR, FlowValue
from shared.retry_policy import Retry

Kind = Literal["trigger", "script", "flow", "broker", "resource", "variable", "file"]
Retained = Literal["run", "skip"]
Expired = Literal["run", "skip"]
PayloadFormat = Literal["windmill", "json", "text", "base64"]
Language = Literal["python3", "bash", "deno"]
Isolation = Literal["warm", "fresh"]
Mode = Literal["enabled", "disabled", "suspended"]

FLOW_TIMEOUT_S = 7 * 24 * 3600
"""What a flow may take that says nothing of it: its steps have limits of their own, and it may wait between them."""


class Topic(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of `subscribe_topics`. `runnable` overrides the trigger's for messages of this filter."""

    topic: str
    qos: QoS = 0
    runnable: str | None = None
    retained: Retained = "run"


class Filter(msgspec.Struct, frozen=True):
    """One entry of `filters`: the JSON payload has, at this top-level key, a value that contains this one."""

    key: str
    value: Any


class Runnable(msgspec.Struct, frozen=True, omit_defaults=True):
    """A script or flow as a trigger was deployed with: its path, version and the seconds that a run may take.

    `muted`: the workspace's own error handler is not called for its runs.
    """

    path: str
    version: str
    timeout_s: int
    is_flow: bool = False
    muted: bool = False


class Retention(msgspec.Struct, frozen=True, omit_defaults=True):
    """How many runs of a trigger are kept, and for how many seconds after their end; None: no bound of its own."""

    runs_max: int | None = None
    runs_max_age_s: int | None = None


class ErrorHandler(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is called for a run that has ended badly; `args` are added to its arguments, and win."""

    path: str
    is_flow: bool = False
    args: dict[str, Any] = {}


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of a run answers its message: at the message's response topic (MQTT 5), or else at `topic`, in which
    `{level}` stands for a named level of the topic filter. `errors`: the error of a run that has failed for good, too.
    """

    topic: str | None = None
    qos: Literal[0, 1] = 1
    retain: bool = False
    errors: bool = False


class DeadTopic(msgspec.Struct, frozen=True, omit_defaults=True):
    """Dead letters are published to this broker, at `<prefix>/dead/<path of the trigger>`."""

    broker: str
    prefix: str = "headrace"
    qos: Literal[0, 1] = 1


class Trigger(msgspec.Struct, frozen=True, omit_defaults=True):
    """A trigger as deployed. `session` and `client_id` were chosen at its first deployment and stay.

    `client_version` None: MQTT 5, and 3.1.1 where the broker refuses it. `clean_start` None: the first connect
    starts clean, every later one resumes. `session_expiry_interval` in seconds; None: 7 days where any topic has
    QoS > 0. `runnables` holds every runnable that the trigger names, by path. `suspended` (only of one that is
    enabled): messages become runs that wait until somebody resumes them.

    `filters` are joined by `filter_logic`; a message that they refuse makes no run. `idempotency_key` is a JavaScript
    expression: messages for which it gives the same text make one run. `payload` says in which form `main` gets it.

    `max_age_s`: a message that was stored longer ago starts nothing any more; `expired` says whether the same holds for
    one whose MQTT 5 expiry interval has passed. `retention` None: as the workspace says.

    `retry` None: as the script says. `error_handler` is the trigger's own, `default_error_handler` the workspace's at
    the time; `handler_of` says which is called. `reply` None: results are not published. `dead_topic` is the
    workspace's at the time.
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
    filters: list[Filter] = []
    filter_logic: Literal["and", "or"] = "and"
    idempotency_key: str | None = None
    payload: PayloadFormat = "windmill"
    retry: Retry | None = None
    error_handler: ErrorHandler | None = None
    default_error_handler: ErrorHandler | None = None
    suspended: bool = False
    max_age_s: int | None = None
    expired: Expired = "skip"
    retention: Retention | None = None
    reply: Reply | None = None
    dead_topic: DeadTopic | None = None

    @property
    def mode(self) -> Mode:
        """Windmill's name for what becomes of messages."""
        if not self.enabled:
            return "disabled"
        return "suspended" if self.suspended else "enabled"

    def handler_of(self, runnable: str) -> ErrorHandler | None:
        """The error handler of runs of a runnable that it names."""
        if self.error_handler is not None:
            return self.error_handler
        known = self.runnables.get(runnable)
        return None if known is None or known.muted else self.default_error_handler


class Script(msgspec.Struct, frozen=True, omit_defaults=True):
    """A script and the workspace modules that it imports: relative path → source; `entry` is the script's own.

    `lock` is a resolved list of requirements, one `name==version` a line (Python); '' needs none. A push has resolved
    it from `requirements`, for this version of `python` (`3.11`); without them it was given. `memory_mib` and
    `output_bytes` None: the worker's own limits. `parameters` are main's, in order (bash gets them by position).
    `retry` holds where a trigger has none, and `ws_error_handler_muted` for the workspace's error handler. `function`
    is what is called with the arguments; of a flow's preprocessor it is `preprocessor`, with the argument `event`.
    """

    path: str
    language: Language
    entry: str
    modules: dict[str, str]
    has_preprocessor: bool = False
    timeout_s: int | None = None
    lock: str = ""
    isolation: Isolation = "warm"
    memory_mib: int | None = None
    output_bytes: int | None = None
    parameters: list[str] = []
    requirements: list[str] = []
    python: str = ""
    retry: Retry | None = None
    ws_error_handler_muted: bool = False
    function: str = "main"


class Flow(msgspec.Struct, frozen=True, omit_defaults=True):
    """A flow: its steps, and by their ids the versions of what they run, so that a version of a flow names all of it.

    The code of a step `rawscript` is a script of its own, `<path of the flow>/<id>`, deployed with the flow and under
    no name. `timeout_s` None: FLOW_TIMEOUT_S. `parameters` are the properties of its schema.
    """

    path: str
    value: FlowValue
    timeout_s: int | None = None
    runnables: dict[str, Runnable] = {}
    parameters: list[str] = []
    ws_error_handler_muted: bool = False

    @property
    def has_preprocessor(self) -> bool:
        """A message's event becomes arguments first."""
        return self.value.preprocessor_module is not None

    def own_code(self) -> dict[str, Runnable]:
        """By their steps the scripts that are the flow's own, or only in this form: nothing else names them."""
        return {
            step: runnable
            for step, runnable in self.runnables.items()
            if step == PREPROCESSOR or runnable.path == f"{self.path}/{step}"
        }


class Resource(msgspec.Struct, frozen=True, omit_defaults=True):
    """A resource as scripts read it; texts in `value` may refer to others with `$res:` and `$var:`."""

    path: str
    resource_type: str
    value: Any
    description: str = ""


class Variable(msgspec.Struct, frozen=True, omit_defaults=True):
    """A variable; the value of a secret one is sealed (`shared.secrets`)."""

    path: str
    value: str
    is_secret: bool = False
    description: str = ""


class File(msgspec.Struct, frozen=True):
    """A file of the workspace folder as it was pushed, but for the value of a secret, so that a pull gives it back."""

    path: str
    text: str


class Broker(msgspec.Struct, frozen=True, omit_defaults=True):
    """A resource of type `mqtt`: where a broker is and how to prove who we are (PEM texts, PKCS#12 in base64).

    Texts may be `$var:<path>`, which is resolved when a connection is made. `max_queued_messages`: what it keeps for a
    session that is away; 0: all, None: it is not known.
    """

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
    max_queued_messages: int | None = None


Definition = Trigger | Script | Flow | Broker | Resource | Variable | File
Record = TypeVar("Record", Trigger, Script, Flow, Broker, Resource, Variable, File)

KINDS: dict[type[Definition], Kind] = {
    Trigger: "trigger",
    Script: "script",
    Flow: "flow",
    Broker: "broker",
    Resource: "resource",
    Variable: "variable",
    File: "file",
}

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
    return KINDS[type(definition)]
