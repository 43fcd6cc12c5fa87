"""Secret values in what runs leave behind: replaced before anything leaves the worker. Pure.

The tokens of runs are secrets as well: as long as a run executes, whoever has its token may do what the run may.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from shared.run_tokens import PREFIX
from shared.values import written_forms
from worker.runners.base import Message, RunDone, RunErrorInfo, RunEvent, RunnerBroken, RunnerDied

MASK = "***"
LEAST = 4
"""A shorter piece of a secret, at the end of a text that was cut, tells nothing."""
_LONG = 1000  # characters; no shorter text is cut but a log, which says so
_CUT = re.compile(r"\n\[log truncated: \d+ bytes dropped\]\n\Z")
_TOKEN = re.compile(PREFIX + r"[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]{0,43})?")
"""A token: a claim and a signature of 43 characters; or the beginning of one."""
_TOKEN_BEGUN = re.compile(PREFIX + r"[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]{0,42})?\Z")
_TOKEN_END = re.compile(r"\A(?:[A-Za-z0-9_-]*\.)?[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])")
"""What a tail may begin with: a claim can be guessed, and with the whole signature it is a token again."""
_TOKEN_BYTES = re.compile(_TOKEN.pattern.encode())
_PREFIX_BYTES = PREFIX.encode()

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Mask:
    """Replaces secret values, as they are and as JSON and Python write them inside of quotes, and tokens of runs. What
    has none of them is given back as it is.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.secrets = frozenset(secrets)
        self._forms = sorted({form for secret in self.secrets for form in written_forms(secret)}, key=len, reverse=True)
        self._needles = [_PREFIX_BYTES, *(form.encode("utf-8", "surrogatepass") for form in self._forms)]

    def events(self, events: list[RunEvent]) -> list[RunEvent]:
        """The same events, without secrets."""
        return [self._event(event) for event in events] if self._forms or any(map(_may_hold, events)) else events

    def text(self, text: str) -> str:
        """Text without secrets, nor the piece of one that is left where a long text was cut."""
        if PREFIX in text:
            text = _TOKEN.sub(MASK, text)
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        if cut := _CUT.search(text):
            return self._without_edges(text[: cut.start()]) + cut.group()
        return self._without_edges(text) if len(text) >= _LONG else text

    def growing(self, text: str) -> str:
        """The beginning of a text that goes on, without secrets: the end is held back where it may be of one."""
        while size := max(_begun_token(text), max((_begun(form, text) for form in self._forms), default=0)):
            text = text[:-size]
        return self.text(text)

    def json(self, document: bytes | None) -> bytes | None:
        """The same for a JSON document, which stays one: also its keys, and numbers that contain a secret."""
        if document is None or not any(needle in document for needle in self._needles):
            return document
        try:
            return _encode(self._value(_decode(document)))
        except msgspec.DecodeError:  # then it cannot be stored either
            return _encode(MASK)

    def error(self, error: RunErrorInfo | None) -> RunErrorInfo | None:
        """The same for an error: its name, message, stack and attributes."""
        if error is None:
            return None
        return RunErrorInfo(
            self.text(error.name), self.text(error.message), self.text(error.stack), self._value(error.extra)
        )

    def _event(self, event: RunEvent) -> RunEvent:
        match event:
            case RunDone():
                return msgspec.structs.replace(
                    event,
                    result_json=self.json(event.result_json),
                    error=self.error(event.error),
                    log=self.text(event.log),
                    arguments_json=self.json(event.arguments_json),
                    labels=tuple(map(self.text, event.labels)),
                    messages=tuple(map(without_tokens, event.messages)),
                )
            case RunnerBroken():
                return RunnerBroken(self.error(event.error) or event.error, self.text(event.log))
            case RunnerDied():
                log, tail = self.text(event.log), self.text(_TOKEN_END.sub(MASK, event.stderr_tail))
                return msgspec.structs.replace(event, log=log, stderr_tail=tail)
            case _:
                return event

    def _value(self, value: Any) -> Any:
        match value:
            case str():
                return self.text(value)
            case dict():
                return {self.text(key): self._value(each) for key, each in value.items()}
            case list():
                return [self._value(each) for each in value]
            case bool() | None:
                return value
            case _:
                shown = str(value)
                return MASK if any(form in shown for form in self._forms) else value

    def _without_edges(self, text: str) -> str:
        for form in self._forms:
            for size in range(len(form) - 1, LEAST - 1, -1):
                if text.endswith(form[:size]):
                    text = text[:-size] + MASK
                if text.startswith(form[-size:]):
                    text = MASK + text[size:]
        return text


def without_tokens(message: Message) -> Message:
    """What a run publishes, without tokens of runs: secrets it may want to send, but these are nobody else's."""
    if not _holds_token(message):
        return message
    return msgspec.structs.replace(
        message,
        topic=_TOKEN.sub(MASK, message.topic),
        payload=_TOKEN_BYTES.sub(MASK.encode(), message.payload),
        user_properties=tuple(
            (_TOKEN.sub(MASK, key), _TOKEN.sub(MASK, value)) for key, value in message.user_properties
        ),
    )


def _holds_token(message: Message) -> bool:
    texts = (message.topic, *(text for pair in message.user_properties for text in pair))
    return _PREFIX_BYTES in message.payload or any(PREFIX in text for text in texts)


def _may_hold(event: RunEvent) -> bool:
    """Whether there may be a token in it: a look that costs little, for the many that have none."""
    match event:
        case RunDone():
            documents = (event.result_json or b"", event.arguments_json or b"")
            return (
                event.error is not None
                or PREFIX in event.log
                or any(_PREFIX_BYTES in document for document in documents)
                or any(PREFIX in label for label in event.labels)
                or any(map(_holds_token, event.messages))
            )
        case RunnerBroken() | RunnerDied():
            return True
        case _:
            return False


def _begun_token(text: str) -> int:
    """How many characters at the end of a text may be the beginning of a token."""
    found = _TOKEN_BEGUN.search(text)
    return len(found.group()) if found else _begun(PREFIX, text)


def _begun(form: str, text: str) -> int:
    """How many characters at the end of a text are the beginning of a form, but not all of it."""
    return next((size for size in range(len(form) - 1, 0, -1) if text.endswith(form[:size])), 0)
