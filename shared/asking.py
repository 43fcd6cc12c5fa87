"""What needs a connection to a broker is asked of ingest, which alone speaks MQTT: trying one, watching messages.

Somebody asks with an entry of a stream; whichever ingest process reads it answers into another stream, which expires.
Nothing is kept for those who have gone: an ask is carried out only while its `wanted` key lives, which whoever asks has
to renew. An ingest process that dies takes what it was asked with it: who asked notices by the silence.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeVar

import msgspec

from shared import keys
from shared.definitions import Broker, Topic
from shared.errors import InternalError
from shared.scripts.call import Arg
from shared.secrets import SecretBox, is_sealed
from shared.values import VARIABLE

ASKS_KEPT: Final = 1000
ANSWERS_KEPT: Final = 200
ANSWER_BYTES: Final = 512 * 1024
"""A larger message is shown without its payload."""
ANSWERS_LIFE_S: Final = 60
WANTED_S: Final = 15
GROUP: Final = "ingest"
_SEALED_AT: Final = "the password of a broker that is tried"


class Draft(msgspec.Struct, frozen=True):
    """A trigger that is not deployed, as far as a connection needs it: the resource of its broker, its topics.

    `broker`: one that is not deployed either, in place of that resource; on the way its password is sealed.
    """

    resource: str
    topics: list[Topic] = []
    client_version: Literal["v3", "v5"] | None = None
    broker: Broker | None = None

    def sealed(self, box: SecretBox) -> Draft:
        """With no plain password in it: it goes through Redis. Raises SecretError where there is no key."""
        if self.broker is None or not self.broker.password or self.broker.password.startswith(VARIABLE):
            return self
        sealed = box.seal(_SEALED_AT, self.broker.password)
        return msgspec.structs.replace(self, broker=msgspec.structs.replace(self.broker, password=sealed))

    def opened(self, box: SecretBox) -> Broker | None:
        """The broker again, as it was before `sealed`. Raises SecretError."""
        if self.broker is None or not self.broker.password or not is_sealed(self.broker.password):
            return self.broker
        return msgspec.structs.replace(self.broker, password=box.open(_SEALED_AT, self.broker.password))


class Ask(msgspec.Struct, frozen=True):
    """What is wanted. `test`: connect, subscribe, tell in one report what was granted, leave. `capture`: messages as
    code would get them, for at most `seconds` and `count` of them.

    Of a deployed `trigger`, or of a `draft`. `client_id` None: one of ingest's own.
    """

    id: str
    kind: Literal["test", "capture"]
    trigger: str | None = None
    draft: Draft | None = None
    client_id: str | None = None
    seconds: float = 60.0
    count: int = 100


class TopicReport(msgspec.Struct, frozen=True):
    """What SUBACK says of a topic. `granted` None: `problem` says why."""

    topic: str
    qos: int
    granted: int | None
    problem: str | None = None


class Report(msgspec.Struct, frozen=True):
    """What a broker answers. `ok`: it accepts us, and every topic with the QoS that is asked for.

    `limits` are those of CONNACK (MQTT 5 §3.2.2.3), as they hold where it does not name them; None on 3.1.1. `says` is
    what the broker publishes of itself, where it does and lets us read it: its version, and how many messages it has
    dropped, for whomever.
    """

    trigger: str
    broker: str
    client_id: str
    ok: bool
    connected: bool
    problem: str | None
    protocol: str | None
    limits: dict[str, Any] | None
    topics: list[TopicReport]
    says: dict[str, str] = {}


class Answer(msgspec.Struct, frozen=True):
    """`taken` up by a process; a `report`, a captured `message`, an `error` (a text); the `end`, after which nothing
    comes. `value` is JSON.
    """

    kind: Literal["taken", "report", "message", "error", "end"]
    value: msgspec.Raw = msgspec.Raw(b"null")


_Record = TypeVar("_Record", Ask, Answer)


def new_ask(kind: Literal["test", "capture"], **fields: Any) -> Ask:
    """An ask with an id of its own."""
    return Ask(secrets.token_hex(8), kind, **fields)


def ask_commands(ask: Ask) -> list[tuple[Arg, ...]]:
    """Asks."""
    entry = ("XADD", keys.ASKS, "MAXLEN", "~", ASKS_KEPT, "*", "e", msgspec.json.encode(ask))
    return [wanted_command(ask.id), entry]


def wanted_command(ask_id: str) -> tuple[Arg, ...]:
    """Says that somebody still waits for the answers."""
    return ("SET", keys.wanted(ask_id), 1, "EX", WANTED_S)


def unwanted_command(ask_id: str) -> tuple[Arg, ...]:
    """Says that nobody does."""
    return ("DEL", keys.wanted(ask_id))


def answer_commands(ask_id: str, kind: str, value: Any = None) -> list[tuple[Arg, ...]]:
    """Answers."""
    answer = msgspec.json.encode({"kind": kind, "value": value})
    key = keys.answers(ask_id)
    return [("XADD", key, "MAXLEN", ANSWERS_KEPT, "*", "e", answer), ("EXPIRE", key, ANSWERS_LIFE_S)]


def read_ask(fields: Sequence[bytes] | dict[bytes, bytes]) -> Ask:
    """From an entry of the stream. Raises InternalError."""
    return _decode(fields, Ask)


def read_answer(fields: Sequence[bytes] | dict[bytes, bytes]) -> Answer:
    """From an entry of the stream of answers. Raises InternalError."""
    return _decode(fields, Answer)


def _decode(fields: Any, kind: type[_Record]) -> _Record:
    flat = fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))
    try:
        return msgspec.json.decode(flat.get(b"e", b""), type=kind)
    except msgspec.DecodeError as error:
        raise InternalError(f"what is asked of ingest, or its answer, cannot be read: {error}") from error
