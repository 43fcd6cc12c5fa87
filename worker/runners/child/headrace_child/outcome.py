"""What a run came to, as JSON: results by Windmill's rules, errors with the user's own lines."""

from __future__ import annotations

import base64
import inspect
import json
import traceback
from types import TracebackType
from typing import Any

_MAX_TEXT = 65536
_NOT_JSON = ("NaN", "Infinity", "\\u0000")
STREAM = "WM_STREAM: "

encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode


class ScriptFault(Exception):
    """What the runner has to say about a script: there are no lines of the user's to show."""


class ResultTooLarge(ScriptFault):
    """The JSON of what the script returned is longer than a run's result may be."""


class Told(ScriptFault):
    """An error that another process has described: its {name, message, stack, extra?}."""

    def __init__(self, described: dict[str, Any]) -> None:
        super().__init__(described["message"])
        self.described = described


def settle(value: Any) -> Any:
    """The value itself; what a coroutine comes to; the parts of a generator, joined as text."""
    if inspect.isgenerator(value):
        return "".join(map(str, value))
    if not (inspect.isawaitable(value) or inspect.isasyncgen(value)):
        return value
    import asyncio  # noqa: PLC0415 - as long to import as everything else together

    return settle(asyncio.run(_join(value) if inspect.isasyncgen(value) else _wait(value)))


async def _wait(value: Any) -> Any:
    return await value


async def _join(parts: Any) -> str:
    return "".join([str(part) async for part in parts])


def streamed(log: str) -> tuple[str | None, str]:
    """What a script has streamed as its result (`wmill.stream_result` prints a line for each part), and the rest of
    its log. None: it has streamed nothing.
    """
    if STREAM not in log:
        return None, log
    lines = log.split("\n")
    parts = [line.removeprefix(STREAM).replace("\\n", "\n") for line in lines if line.startswith(STREAM)]
    if not parts:
        return None, log
    return "".join(parts), "\n".join(line for line in lines if not line.startswith(STREAM))


def stream_json(result: str, limit: int, dropped: int) -> str:
    """The JSON of a streamed result. Raises ResultTooLarge, also where `dropped` bytes of it did not fit the log."""
    if dropped:
        raise ResultTooLarge(f"{dropped} bytes of what was streamed did not fit the log that carries it: return it")
    return to_json(result, limit)


def to_json(value: Any, limit: int) -> str:
    """Compact JSON. Bytes at the top or the first level become base64, data frames rows, NaN and Infinity null,
    U+0000 vanishes, and what JSON does not know becomes its str().

    Raises ResultTooLarge, and TypeError or ValueError for what has no JSON at all (a cycle, a key that is a tuple).
    """
    value = _plain(value)
    if isinstance(value, dict):
        value = {key: _plain(item) for key, item in value.items()}
    text = encode(value)
    if any(word in text for word in _NOT_JSON):  # perhaps inside of a string, then nothing changes
        text = encode(_without_nul(json.loads(text, parse_constant=lambda _: None)))
    size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    if size > limit:
        raise ResultTooLarge(f"the result is {size} bytes of JSON, at most {limit} are kept: store it elsewhere")
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    if type(value).__name__ == "DataFrame":
        return value.rows() if hasattr(value, "rows") else value.values.tolist()
    return value


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    return value


def noted(result: Any, answer: dict[str, Any], limit: int) -> bytes:
    """The JSON of a result, b"" for None; what it declares is noted in the answer. Raises as `to_json` does."""
    if result is None:
        return b""
    if error := declared_failure(result):
        answer["ok"], answer["error"] = False, error
        result = {"error": error, **result}
    if found := labels(result):
        answer["labels"] = found
    return to_json(result, limit).encode("utf-8", "replace")


def declared_failure(result: Any) -> dict[str, str] | None:
    """The error of a script that returned `wm_failure: "<text>"`; None for every other result."""
    if isinstance(result, dict) and isinstance(text := result.get("wm_failure"), str):
        return {"name": "ManualFailure", "message": text}
    return None


def labels(result: Any) -> list[str]:
    """The labels in a result with `wm_labels`."""
    found = result.get("wm_labels") if isinstance(result, dict) else None
    return [label for label in found if isinstance(label, str)] if isinstance(found, list) else []


def describe(error: BaseException, root: str) -> dict[str, Any]:
    """An exception as {name, message, stack, extra?}: frames from the first one inside `root` on, paths relative to it.

    Never raises, whatever the exception's own methods do.
    """
    if isinstance(error, Told):
        return error.described
    folder = f"{root}/"
    try:
        message = str(error)
    except Exception as inner:  # noqa: BLE001 - the user's __str__
        message = f"<str() of this exception raised {type(inner).__name__}>"
    try:
        lines = traceback.format_exception(type(error), error, _user_frames(error.__traceback__, folder))
        stack = "" if isinstance(error, ScriptFault) else "".join(lines).replace(folder, "")
    except Exception as inner:  # noqa: BLE001 - as above
        stack = f"<formatting this exception raised {type(inner).__name__}>"
    described: dict[str, Any] = {
        "name": type(error).__name__,
        "message": message[:_MAX_TEXT],
        "stack": stack[-_MAX_TEXT:],
    }
    if extra := _attributes(error):
        described["extra"] = extra
    return described


def _user_frames(frames: TracebackType | None, folder: str) -> TracebackType | None:
    while frames is not None and not frames.tb_frame.f_code.co_filename.startswith(folder):
        frames = frames.tb_next
    return frames


def _attributes(error: BaseException) -> dict[str, Any]:
    """The public attributes that were set on the exception, as far as they are JSON."""
    kept: dict[str, Any] = {}
    for name, value in getattr(error, "__dict__", {}).items():
        if name.startswith("_"):
            continue
        try:
            text = json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            continue
        if len(text) <= _MAX_TEXT:
            kept[str(name)] = value
    return kept
