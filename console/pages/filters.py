"""How values are shown in templates. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from console.pages.payloads import breaks, ending, one_line
from shared.envelope import Properties
from shared.retry_policy import Retry
from shared.run_page import made_by, milliseconds, property_text
from shared.status_page import identity_text
from shared.tables import duration, number, printable, printable_lines, size

TONES: Final[Mapping[str, str]] = {
    "succeeded": "ok", "connected": "ok", "enabled": "ok",  "idle": "ok", "full": "ok", "ok": "ok",
    "running": "busy turning", "busy": "busy turning", "connecting": "busy turning", "starting": "busy turning",
    "queued": "busy hollow", "draining": "busy hollow", "ending": "busy hollow", "scheduled": "hold hollow",
    "suspended": "hold", "reconnecting": "warn", "waiting": "warn", "reduced": "warn", "warn": "warn",
    "alive": "ok", "left": "warn", "silent": "bad", "unsent": "bad",
    "failed": "bad", "lost": "bad", "interrupted": "bad", "refused": "bad", "taken over": "bad", "dead": "bad",
    "fail": "bad", "poisoned": "bad", "oversized": "bad", "invalid": "bad", "unrouted": "bad", "unreadable": "bad",
}  # fmt: skip
"""Classes of a state's dot and word; what is not here is over and of no concern."""


def tone(state: str) -> str:
    """The classes of a state."""
    return TONES.get(state, "idle")


def utc(at: str) -> str:
    """A time for browsers without scripts; the others show it in their zone."""
    moment = datetime.fromisoformat(at).astimezone(UTC)
    today = datetime.now(UTC).date()
    return f"{moment:%H:%M:%S} UTC" if moment.date() == today else f"{moment:%Y-%m-%d %H:%M} UTC"


def printable_or_nothing(text: str | None) -> str:
    """A text of somebody else's, on one line: nothing in it changes what stands beside it."""
    return "" if text is None else printable(text)


def properties(given: Properties) -> list[tuple[str, str]]:
    """The properties of a message that it has, in words."""
    shown = [(name.replace("_", " "), property_text(value)) for name, value in msgspec.structs.asdict(given).items()]
    return [(name, text) for name, text in shown if text]


def retry_text(retry: Retry) -> str:
    """A retry policy in words."""
    constant, exponential = retry.constant, retry.exponential
    parts = []
    if constant.attempts:
        parts.append(f"{_times(constant.attempts)} after {constant.seconds} s{' each' * (constant.attempts > 1)}")
    if exponential.attempts:
        parts.append(
            f"{_times(exponential.attempts)} after {exponential.multiplier} × {exponential.seconds}ⁿ s"
            + (f" ± {exponential.random_factor} %" if exponential.random_factor else "")
        )
    text = ", then ".join(parts) or "none"
    return f"{text}, while {retry.retry_if}" if retry.retry_if else text


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def example_topic(topic: str) -> str:
    """A topic that a filter matches."""
    levels = topic.split("/")
    levels = levels[2:] if levels[0] == "$share" else levels
    return "/".join("a" if level in {"+", "#"} or level.startswith("{") else level for level in levels)


def many(count: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number(count)} {noun}" if count == 1 else f"{number(count)} {noun}s"


FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "tone": tone,
    "utc": utc,
    "number": number,
    "many": many,
    "size": size,
    "duration": duration,
    "identity": identity_text,
    "until": milliseconds,
    "properties": properties,
    "made_by": made_by,
    "retry_text": retry_text,
    "json_line": one_line,
    "example_topic": example_topic,
    "breaks": breaks,
    "plain": printable_or_nothing,
    "lines": printable_lines,
    "ending": ending,
}
