"""The log: events on stderr, as lines for people or as JSON.

What libraries say through `logging` joins from WARNING on. An error of ours is shown as message and hint, any other
exception with its traceback. Writing never raises: a process whose terminal is gone goes on.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from shared import events
from shared.config import LogSettings
from shared.errors import HeadraceError

_RANK = {"debug": 0, "info": 1, "warning": 2, "error": 3}
_COLOURS = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}
_PLAIN = "\x1b[0m"
_EVENT_WIDTH = 24


def configure(settings: LogSettings, process: str, stream: TextIO | None = None) -> None:
    """Send this process's events and its libraries' warnings to stderr (or to the stream) from now on."""
    target = stream or sys.stderr
    logger = structlog.wrap_logger(
        _Lines(target), _processors(settings, target), wrapper_class=structlog.BoundLogger, context_class=dict
    )
    if settings.format == "json":
        logger = logger.bind(process=process, pid=os.getpid())

    def write(level: events.Level, name: str, fields: dict[str, object]) -> None:
        getattr(logger, level)(name, **{key: value for key, value in fields.items() if value is not None})

    events.send_to(write, _muted(settings))
    root = logging.getLogger()
    root.handlers = [_LibraryHandler()]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def _processors(settings: LogSettings, target: TextIO) -> list[Processor]:
    if settings.format == "json":
        return [
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.add_log_level,
            _explain_errors,
            _add_message,
            structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
        ]
    colour = target.isatty() and "NO_COLOR" not in os.environ
    stamper = structlog.processors.TimeStamper(fmt="%H:%M:%S.%f", utc=False)
    return [stamper, _explain_errors, ConsoleRenderer(colour=colour)]


class ConsoleRenderer:
    """One event as one line: time, level, name, fields. Nothing that a message brought along can break the line."""

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour

    def __call__(self, _logger: WrappedLogger, level: str, event: EventDict) -> str:
        """Render for structlog; the last processor."""
        time = str(event.pop("timestamp"))[:-3]
        name = str(event.pop("event"))
        trace = str(event.pop("traceback", "")).splitlines()
        fields = {key: _printable(value) for key, value in event.items()}
        said = _sentence(name, fields)
        if said is not None:
            fields = {key: value for key, value in fields.items() if f"{{{key}}}" not in events.EVENTS[name].line}
        rest = " ".join(f"{self._paint('debug', key + '=')}{_quoted(value)}" for key, value in fields.items())
        what = said or f"{name:<{_EVENT_WIDTH}}"
        line = f"{self._paint('debug', time)} {self._paint(level, f'{level:<7}')} {what}  {rest}".rstrip()
        return "\n".join([line, *map(_printable, trace)])

    def _paint(self, level: str, text: str) -> str:
        return f"{_COLOURS[level]}{text}{_PLAIN}" if self._colour else text


def _sentence(name: str, fields: Mapping[str, str]) -> str | None:
    """The words for an event, None if there are none or a part of them is missing."""
    try:
        return events.EVENTS[name].line.format_map(fields) or None
    except KeyError:
        return None


def _add_message(_logger: WrappedLogger, _level: str, event: EventDict) -> EventDict:
    if message := _sentence(event["event"], event):
        event["message"] = message
    return event


def _printable(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"  # noqa: PLR2004 - from here on .4g has exponents
    if isinstance(value, (list, tuple)):
        return ", ".join(_printable(each) for each in value)
    if isinstance(value, dict):
        return ", ".join(f"{_printable(key)}: {_printable(each)}" for key, each in value.items())
    text = str(value)
    return text if text.isprintable() else repr(text)[1:-1]


def _quoted(text: str) -> str:
    if text and not any(sign in text for sign in " \"'"):
        return text
    quote = "'" if '"' in text else '"'
    return f"{quote}{text}{quote}"


def _explain_errors(_logger: WrappedLogger, _level: str, event: EventDict) -> EventDict:
    for key, error in list(event.items()):
        if isinstance(error, HeadraceError):
            event[key] = error.message
            if error.hint:
                event["hint"] = error.hint
        elif isinstance(error, BaseException):
            event[key] = f"{type(error).__name__}: {error}".removesuffix(": ")
            event["traceback"] = "".join(traceback.format_exception(error)).rstrip()
    return event


def _muted(settings: LogSettings) -> set[str]:
    """Events below the level, but not the finished runs where they are wanted."""
    least = _RANK[settings.level]
    muted = {name for name, spec in events.EVENTS.items() if _RANK[spec.level] < least}
    return muted - {"run.finished"} if settings.runs else muted


class _Lines:
    """What structlog writes to: one write per line, so that lines of several processes do not mix."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return

    debug = info = warning = error = msg


class _LibraryHandler(logging.Handler):
    """Turns records of `logging` into events."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields: dict[str, Any] = {"logger": record.name, "text": record.getMessage()}
        except (TypeError, ValueError):
            fields = {"logger": record.name, "text": str(record.msg)}
        if record.exc_info and record.exc_info[1]:
            fields["error"] = record.exc_info[1]
        events.emit("library.error" if record.levelno >= logging.ERROR else "library.warning", **fields)
