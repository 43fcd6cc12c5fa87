"""What a run that takes long prints, told while it runs; and whether somebody wants it to end."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Protocol

from shared import keys
from shared.scripts.call import Arg
from worker.executor import Executing, Verdict
from worker.uplink import Uplink

TELL_EVERY_S = 0.5
LIFE_S = 3600


class Execution(Protocol):
    """What executes."""

    @property
    def executing(self) -> Executing | None:
        """The run that executes now."""

    def interrupt(self, run_id: str, verdict: Verdict | None) -> None:
        """End it, if it still executes."""


class LiveLog:
    """Tells Redis of the run that executes, if it has done so for half a second: a short one costs nothing.

    What was printed through the language's streams and past them stands in the order in which it was seen. A wish to
    cancel the run is granted also if RQ's command for it was lost. `masked` takes secrets out of a text that goes on.
    """

    def __init__(self, uplink: Uplink, execution: Execution, masked: Callable[[str], str]) -> None:
        self._uplink = uplink
        self._execution = execution
        self._masked = masked
        self._told = ""
        self._text = ""
        self._streams = (_Stream(), _Stream())

    def tell(self) -> None:
        """To be called every TELL_EVERY_S."""
        now = self._execution.executing
        if now is None or now.age_s < TELL_EVERY_S:
            return
        if now.execution != self._told:
            self._told, self._text, self._streams = now.execution, "", (_Stream(), _Stream())
        news = "".join(
            stream.more(data, self._masked) for stream, data in zip(self._streams, (now.printed, now.raw), strict=True)
        )
        self._text += news
        commands: list[tuple[Arg, ...]] = [("HEXISTS", keys.job(now.run_id), "cancelled_by")]
        if news:
            key = keys.live_log(now.run_id)
            commands += [("HSET", key, "execution", now.execution, "text", self._text), ("EXPIRE", key, LIFE_S)]
        replies = self._uplink.attempt(lambda store: store.commands(commands))
        if replies is not None and replies[0]:
            self._execution.interrupt(now.run_id, "stopped")


class _Stream:
    """One of the two ways in which a run prints: bytes that grow."""

    def __init__(self) -> None:
        self._seen = 0
        self._given = 0

    def more(self, data: bytes, masked: Callable[[str], str]) -> str:
        """What has come since, as text without secrets."""
        if len(data) == self._seen:
            return ""
        self._seen = len(data)
        text = masked(codecs.getincrementaldecoder("utf-8")("replace").decode(data))
        news, self._given = text[self._given :], max(self._given, len(text))
        return news
