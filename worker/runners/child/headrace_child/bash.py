"""Scripts in bash: a process for each run, in a folder of its own (Windmill's rules for arguments and results)."""
# ruff: noqa: PTH102, PTH109, PTH113, PTH118, PTH123, PTH202 - pathlib would take longer to import than everything else together

from __future__ import annotations

import json
import os
import shutil
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import headrace  # type: ignore[import-not-found]  # beside this package, on the path that the process begins with

from . import binding, keeper, outcome, program
from .capture import RunArea

# Arguments come through a file in memory: the kernel takes none of more than 128 KiB from a command line.
_START = """
mapfile -d '' -t HEADRACE_ARGUMENTS <&{0}
exec {0}<&-
set -- "${{HEADRACE_ARGUMENTS[@]}}"
unset -v HEADRACE_ARGUMENTS
. "$0"
"""
_MESSAGES = "publish.jsonl"
_SAID_LINES = 20
_SAID_BYTES = 4096
_ABOUT = ("id", "idempotency_key", "attempt", "origin", "parent", "root", "trigger", "topic", "qos")


class SyntaxFault(outcome.ScriptFault):
    """Bash cannot read the script."""


class ArgumentFault(outcome.ScriptFault):
    """An argument that bash cannot hold."""


class ResultFault(outcome.ScriptFault):
    """What the script left as its result is none."""


class MessageFault(outcome.ScriptFault):
    """What the script wants published cannot be."""


class BashScript:
    """One script; `execute` runs it once."""

    def __init__(self, settings: Mapping[str, Any], area: RunArea) -> None:
        self.root: str = settings["root"]
        self._bash: str = settings["program"]
        self._entry: str = settings["entry"]
        self._names: list[str] = settings["parameters"]
        self._memory: int | None = settings["memory_bytes"]
        self._limit: int = settings["max_result_bytes"]
        self._area = area
        self._scratch = os.getcwd()
        self._count = 0
        self._unfilled = [name for name in self._names if name not in {"", "payload"}]
        program.adopt()
        self._check()

    def execute(self, call: dict[str, Any], body: bytes, _answer: dict[str, Any]) -> Any:
        """Run the script; its result. Raises Told for an exit status other than 0.

        A bash that a signal has ended takes this process along: nobody can tell how far the script had come.
        """
        arguments = self._arguments(call.get("form", "windmill"), body)
        self._count += 1
        folder = os.path.join(self._scratch, f"run-{self._count}")
        os.mkdir(folder)
        if os.path.lexists(shared := os.path.join(self._scratch, "shared")):
            os.symlink(shared, os.path.join(folder, "shared"))  # noqa: PTH211 - pathlib takes time to import
        try:
            said = _Said(self._area, self._limit)
            status = self._run(folder, arguments, call["context"], said)
            if status < 0:
                keeper.end_like(status)
            if status:
                raise outcome.Told(self._failure(status, said.stderr()))
            self._publish(folder)
            return self._result(folder, said)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def note(self, result: Any, answer: dict[str, Any]) -> bytes:
        """Note in the answer what a result declares, and encode it."""
        return outcome.noted(result, answer, self._limit)

    def streamed(self, _answer: dict[str, Any]) -> bytes:
        """The last line is the result: nothing is streamed."""
        return b""

    def _check(self) -> None:
        said = _Said(None, self._limit)
        command = (self._bash, "-n", self._entry)
        if program.run(program.Program(command, self._scratch, dict(os.environ)), said.add):
            raise SyntaxFault(f"bash cannot read the script: {self._shortened(said.stderr())}")

    def _run(self, folder: str, arguments: Sequence[str], context: Mapping[str, Any], said: _Said) -> int:
        fd = os.memfd_create("arguments")
        try:
            with open(fd, "wb", closefd=False) as file:
                file.writelines(text.encode("utf-8", "surrogateescape") + b"\0" for text in arguments)
            os.lseek(fd, 0, os.SEEK_SET)
            command = (self._bash, "-c", _START.format(fd), self._entry)
            environment = {**os.environ, **_about(context)}
            return program.run(program.Program(command, folder, environment, self._memory, (fd,)), said.add)
        finally:
            os.close(fd)

    def _arguments(self, form: str, body: bytes) -> list[str]:
        """The values of the parameters by name, as text; a script that names none gets the payload."""
        values = binding.read_arguments(body) if form == "arguments" else {"payload": _payload(body, form)}
        if form != "arguments" and self._unfilled:
            self._warn(self._unfilled)
            self._unfilled = []
        names = self._names or (["payload"] if "payload" in values else [])
        return [_text(name, values.get(name)) for name in names]

    def _warn(self, names: Sequence[str]) -> None:
        text = (
            f"[headrace] a message gives only payload: {', '.join(names)} empty. "
            'Write payload="$1", or start the script with arguments.\n'
        )
        self._area.write(text.encode(), 2)

    def _failure(self, status: int, stderr: str) -> dict[str, Any]:
        said = self._shortened(stderr)
        last = said.rpartition("\n")[2]
        message = f"exit status {status}: {last}" if last else f"exit status {status}"
        return {"name": "ExitStatus", "message": message, "stack": said, "extra": {"exit_status": status}}

    def _result(self, folder: str, said: _Said) -> Any:
        """`result.json`, `result.out`, or the last line of the standard output, whichever is there first."""
        if (text := self._read(folder, "result.json")) is not None:
            try:
                return json.loads(text)
            except (ValueError, RecursionError) as error:
                raise ResultFault(f"result.json is not JSON: {error}") from None
        if (text := self._read(folder, "result.out")) is not None:
            return _decoded(text.removesuffix(b"\n"))
        return said.last_line()

    def _publish(self, folder: str) -> None:
        """Each line of `publish.jsonl` is a message; one without a topic answers that of the run."""
        for number, line in enumerate((self._read(folder, _MESSAGES) or b"").splitlines(), start=1):
            if not line.strip():
                continue
            try:
                message = json.loads(line)
                (headrace.publish if "topic" in message else headrace.reply)(**message)
            except (ValueError, TypeError, RuntimeError, RecursionError) as error:
                raise MessageFault(f"{_MESSAGES}, line {number}: {error}") from None

    def _read(self, folder: str, name: str) -> bytes | None:
        path = os.path.join(folder, name)
        if not os.path.isfile(path):
            return None
        if (size := os.path.getsize(path)) > self._limit:
            raise outcome.ResultTooLarge(f"{name} is {size} bytes, at most {self._limit} are kept: store it elsewhere")
        try:
            with open(path, "rb") as file:
                return file.read(self._limit + 1)
        except OSError as error:
            raise ResultFault(f"{name} cannot be read: {error}") from None

    def _shortened(self, text: str) -> str:
        """With paths as they are in the workspace."""
        return text.replace(f"{self.root}/", "")


class _Line:
    """A line, as much of it as may be kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = bytearray()
        self.size = 0

    def extend(self, part: bytes) -> _Line:
        """Append to it."""
        self._kept += part[: self._limit - len(self._kept)]
        self.size += len(part)
        return self

    def text(self) -> str:
        """All of it. Raises ResultTooLarge when it could not be kept."""
        if self.size > self._limit:
            raise outcome.ResultTooLarge(
                f"the result is {self.size + 2} bytes of JSON, at most {self._limit} are kept: store it elsewhere"
            )
        return _decoded(bytes(self._kept))


class _Said:
    """What a run writes: all of it into the log, and the end of each output kept."""

    def __init__(self, area: RunArea | None, limit: int) -> None:
        self._area = area
        self._limit = limit
        self._last: _Line | None = None
        self._open = _Line(limit)
        self._errors: deque[bytes] = deque([b""], maxlen=_SAID_LINES + 1)

    def add(self, fd: int, data: bytes) -> None:
        """Take what was written to descriptor 1 or 2."""
        if self._area is not None:
            self._area.write(data, fd)
        first, *rest = data.split(b"\n")
        if fd == 2:  # noqa: PLR2004 - standard error
            self._errors[-1] = (self._errors[-1] + first)[-_SAID_BYTES:]
            self._errors.extend(rest)
            return
        self._open.extend(first)
        if rest:
            self._last = self._open if len(rest) == 1 else _Line(self._limit).extend(rest[-2])
            self._open = _Line(self._limit).extend(rest[-1])

    def last_line(self) -> str | None:
        """The last line of the standard output; None if nothing was written. Raises ResultTooLarge."""
        line = self._open if self._open.size else self._last
        return None if line is None else line.text()

    def stderr(self) -> str:
        """The last lines of the error output."""
        return _decoded(b"\n".join(self._errors)[-_SAID_BYTES:]).strip()


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "replace").replace("\0", "")


def _payload(body: bytes, form: str) -> str:
    """Of JSON the text as it came, once it is known to be JSON."""
    value = binding.payload_value(body, form)
    return body.decode() if form == "json" else str(value)


def _text(name: str, value: Any) -> str:
    """Text as it is, nothing for null, JSON for everything else."""
    text = "" if value is None else value if isinstance(value, str) else outcome.encode(value)
    if "\0" in text:
        raise ArgumentFault(f"{name} contains U+0000, which bash cannot hold: ask for the payload as base64")
    return text


def _about(context: Mapping[str, Any]) -> dict[str, str]:
    """What `headrace.run` tells a script in Python, as variables."""
    about = {f"RUN_{name.upper()}": str(context[name]) for name in _ABOUT if name in context}
    captures = {f"RUN_CAPTURE_{name}": text for name, text in context.get("captures", {}).items()}
    return {**about, **captures}
