"""What a script may ask about the run that it is executing.

    import headrace

    def main(payload: bytes):
        key = headrace.run.idempotency_key      # the same at every attempt: hand it to what must act only once
        site = headrace.run.captures["site"]    # of the topic filter plant/{site}/temp

`headrace.run` may be used from every thread of the script while its `main` or `preprocessor` executes.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

__all__ = ["Run", "run"]

_current: dict[str, Any] | None = None


class Run:
    """The run that is executing. Reading anything from it while none is raises RuntimeError, and so does reading what
    only a message has in a run that was started otherwise.
    """

    @property
    def id(self) -> str:
        """The run's id, as `headrace runs` shows it. The same at every attempt."""
        return str(_value("id"))

    @property
    def idempotency_key(self) -> str:
        """Identifies the message, or the run that none made: the same at every attempt, and never given to another."""
        return str(_value("idempotency_key"))

    @property
    def attempt(self) -> int:
        """1 at the first start, and one more at each later one."""
        return int(_value("attempt"))

    @property
    def origin(self) -> str:
        """What made the run: `message`, or for example `api`."""
        return str(_value("origin", "message"))

    @property
    def parent(self) -> str | None:
        """Id of the run that started this one, None where none did."""
        return None if (parent := _value("parent", None)) is None else str(parent)

    @property
    def root(self) -> str | None:
        """Id of the first run in the line of parents, None where there is none."""
        return None if (root := _value("root", None)) is None else str(root)

    @property
    def traceparent(self) -> str | None:
        """The trace that the run belongs to, as W3C Trace Context writes it: hand it on. None: it belongs to none."""
        return None if (trace := _value("traceparent", None)) is None else str(trace)

    @property
    def tracestate(self) -> str | None:
        """What tracing systems have added to that. None where there is nothing."""
        return None if (state := _value("tracestate", None)) is None else str(state)

    @property
    def trigger(self) -> str:
        """Path of the trigger that the message came through."""
        return str(_value("trigger"))

    @property
    def topic(self) -> str:
        """The topic that the message was published to."""
        return str(_value("topic"))

    @property
    def qos(self) -> int:
        """QoS of the delivery: 0, 1 or 2."""
        return int(_value("qos"))

    @property
    def captures(self) -> dict[str, str]:
        """The named levels of the topic filter that matched: `plant/{site}/temp` gives {"site": …}."""
        return dict(_value("captures", {}))

    @property
    def received_at(self) -> dt.datetime:
        """When the message was received from the broker, in UTC with milliseconds."""
        return dt.datetime.fromtimestamp(_value("received_at") / 1000, dt.UTC)

    def __repr__(self) -> str:
        return "<headrace.run outside of a run>" if _current is None else f"<headrace.run {_current['id']}>"


run = Run()


def _value(name: str, default: Any = ...) -> Any:
    if _current is None:
        raise RuntimeError(
            f"headrace.run.{name} is known only while main or preprocessor runs: "
            "read it there, not when the script is imported"
        )
    value = _current.get(name, default)
    if value is ...:
        raise RuntimeError(f"this run has no {name}: no message made it")
    return value


def _enter(context: dict[str, Any] | None) -> None:
    """Called by the runner: the context of the run that begins, None when it has ended."""
    global _current  # noqa: PLW0603 - threads that a script starts inherit no context variables
    _current = context
