"""Secret values in what runs leave behind: replaced before anything leaves the worker. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from shared.values import written_forms
from worker.runners.base import RunDone, RunErrorInfo, RunEvent, RunnerBroken, RunnerDied

MASK = "***"
LEAST = 4
"""A shorter piece of a secret, at the end of a text that was cut, tells nothing."""
_LONG = 1000  # characters; no shorter text is cut but a log, which says so
_CUT = re.compile(r"\n\[log truncated: \d+ bytes dropped\]\n\Z")

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Mask:
    """Replaces secret values, as they are and as JSON and Python write them inside of quotes. Without secrets it gives
    everything back as it is, at no cost.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.secrets = frozenset(secrets)
        self._forms = sorted({form for secret in self.secrets for form in written_forms(secret)}, key=len, reverse=True)
        self._needles = [form.encode("utf-8", "surrogatepass") for form in self._forms]

    def events(self, events: list[RunEvent]) -> list[RunEvent]:
        """The same events, without secrets."""
        return [self._event(event) for event in events] if self._forms else events

    def text(self, text: str) -> str:
        """Text without secrets, nor the piece of one that is left where a long text was cut."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        if cut := _CUT.search(text):
            return self._without_edges(text[: cut.start()]) + cut.group()
        return self._without_edges(text) if len(text) >= _LONG else text

    def growing(self, text: str) -> str:
        """The beginning of a text that goes on, without secrets: the end is held back where it may be of one."""
        if not self._forms:
            return text
        while size := max((_begun(form, text) for form in self._forms), default=0):
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
                )
            case RunnerBroken():
                return RunnerBroken(self.error(event.error) or event.error, self.text(event.log))
            case RunnerDied():
                log, tail = self.text(event.log), self.text(event.stderr_tail)
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


def _begun(form: str, text: str) -> int:
    """How many characters at the end of a text are the beginning of a form, but not all of it."""
    return next((size for size in range(len(form) - 1, 0, -1) if text.endswith(form[:size])), 0)
