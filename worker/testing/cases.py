"""The tests in a file `<path>.test.yaml`, read key by key."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from shared.envelope import QoS
from shared.workspace.layout import TESTS
from shared.workspace.problems import Problems
from shared.workspace.yaml_lines import Table, read_yaml
from worker.flow_stand import Stand
from worker.trial import Event, read_event

_QOS: dict[str | int, QoS] = {"qos0": 0, "qos1": 1, "qos2": 2, 0: 0, 1: 1, 2: 2}
_KINDS: dict[str | int, bool] = {"flow": True, "script": False}


class Expected(msgspec.Struct, frozen=True):
    """What has to come of a test. UNSET, or None: whatever it is. `contains`: the result has at least this."""

    result: Any = msgspec.UNSET
    contains: Any = msgspec.UNSET
    error: str | None = None
    message: str | None = None
    steps: list[str] | None = None
    branches: dict[str, str] = {}
    skipped: bool | None = None
    published: list[dict[str, Any]] | None = None


class Case(msgspec.Struct, frozen=True):
    """One test. `trigger` is the one whose message the event is, where the test names it."""

    file: str
    line: int
    name: str
    path: str
    is_flow: bool | None
    event: Event | None
    captures: dict[str, str]
    trigger: str | None
    args: dict[str, Any] | None
    stand: Stand
    expected: Expected


class Suite(msgspec.Struct, frozen=True):
    """The tests of one file, and what stands there for variables and resources of the workspace."""

    file: str
    path: str
    cases: list[Case]
    variables: dict[str, str] = {}
    resources: dict[str, Any] = {}


def read_suite(file: str, text: str, read_file: Callable[[str], bytes | None], problems: Problems) -> Suite | None:
    """The tests of a file. `read_file` gives the bytes of a file that stands beside it, None if there is none."""
    if (table := read_yaml(file, text, problems)) is None:
        return None
    path = file.removesuffix(TESTS)
    is_flow = table.choice("kind", _KINDS)
    reader = _Cases(file, path, read_file, is_flow=is_flow)
    cases = [reader.read(each, number) for number, each in enumerate(table.tables("tests"), 1)]
    if not cases:
        table.error("tests", "no tests", "write a list, each with name, event or args, and expect")
    variables, resources = _mapping(table, "variables"), _mapping(table, "resources")
    table.close()
    texts = {name: value if isinstance(value, str) else str(value) for name, value in variables.items()}
    return Suite(file, path, cases, texts, resources)


class _Cases:
    def __init__(self, file: str, path: str, read_file: Callable[[str], bytes | None], *, is_flow: bool | None) -> None:
        self._file = file
        self._path = path
        self._is_flow = is_flow
        self._read_file = read_file

    def read(self, table: Table, number: int) -> Case:
        name = table.text("name") or f"test {number}"
        event, captures, trigger = self._event(table)
        args = _mapping(table, "args") if table.given("args") else None
        if event is None and args is None and not table.given("event"):
            table.error("event", "missing", "write event: with topic and payload, or args:")
        stand = Stand(_mapping(table, "mock"), _errors(table))
        expected = _expected(table)
        table.close()
        return Case(
            self._file, table.first_line, name, self._path, self._is_flow, event, captures, trigger, args, stand,
            expected,
        )  # fmt: skip

    def _event(self, table: Table) -> tuple[Event | None, dict[str, str], str | None]:
        if (inner := table.table("event")) is None:
            return None, {}, None
        captures = {name: str(value) for name, value in _mapping(inner, "captures").items()}
        trigger, saved = inner.text("trigger"), inner.text("file")
        if saved is not None:
            event = self._saved(inner, saved, captures)
        else:
            topic = inner.text("topic", required=True)
            event = Event(
                base64.b64encode(_payload(inner)).decode(), topic or "", trigger_path=trigger or "",
                retain=inner.flag("retain") is True, qos=inner.choice("qos", _QOS) or 0,
            )  # fmt: skip
        inner.close()
        return event, captures, trigger or (event.trigger_path or None if event else None)

    def _saved(self, table: Table, name: str, captures: dict[str, str]) -> Event | None:
        """What `headrace capture --save` has written, named from the folder of the test on."""
        file = (PurePosixPath(self._file).parent / name).as_posix()
        blob = self._read_file(file)
        if blob is None:
            table.error("file", f"there is no {file}", "headrace capture PATH --save FILE writes one")
            return None
        given = read_event(blob, self._path, file)
        captures.update(given.captures)
        return given.event


def _payload(table: Table) -> bytes:
    if (encoded := table.text("payload_base64")) is not None:
        try:
            return base64.b64decode(encoded, validate=True)
        except binascii.Error:
            table.error("payload_base64", "is no base64")
    value = table.data("payload")
    if value is None:
        return b""
    return value.encode() if isinstance(value, str) else msgspec.json.encode(value)


def _errors(table: Table) -> dict[str, dict[str, Any]]:
    """`fail`: by the id of a step its error, or only what it says."""
    found: dict[str, dict[str, Any]] = {}
    for step, value in _mapping(table, "fail").items():
        if isinstance(value, dict):
            found[step] = {"name": "Error", "message": "", **value}
        else:
            found[step] = {"name": "Error", "message": str(value)}
    return found


def _expected(table: Table) -> Expected:
    if (inner := table.table("expect")) is None:
        return Expected()
    steps, branches = inner.data("steps"), _mapping(inner, "branches")
    if steps is not None and not (isinstance(steps, list) and all(isinstance(each, str) for each in steps)):
        inner.error("steps", "no list of ids")
        steps = None
    name, message = _expected_error(inner)
    found = Expected(
        _known(inner, "result"), _known(inner, "result_contains"), name, message, steps,
        {step: str(branch) for step, branch in branches.items()}, inner.flag("skipped"), _published(inner),
    )  # fmt: skip
    inner.close()
    return found


def _published(table: Table) -> list[dict[str, Any]] | None:
    value = table.data("published")
    if value is None or (isinstance(value, list) and all(isinstance(each, dict) for each in value)):
        return value
    table.error("published", "no list of messages", "write - {topic: …, payload: …} lines")
    return None


def _expected_error(table: Table) -> tuple[str | None, str | None]:
    """`error`: the name, or name and a part of the message."""
    value = table.data("error")
    if isinstance(value, dict):
        error = table.table("error")
        assert error is not None  # noqa: S101 - it is a mapping
        name, message = error.text("name"), error.text("message")
        error.close()
        return name or "", message
    return (None if value is None else str(value)), None


def _known(table: Table, key: str) -> Any:
    """The value, null too; UNSET where the key is not there."""
    value = table.data(key)
    return value if table.known(key) else msgspec.UNSET


def _mapping(table: Table, key: str) -> dict[str, Any]:
    value = table.data(key)
    if value is not None and not isinstance(value, dict):
        table.error(key, "no mapping", "write name: value lines under it")
        return {}
    return value or {}


def beside(root: Path) -> Callable[[str], bytes | None]:
    """Reads files of a folder, and none outside of it."""

    def read(file: str) -> bytes | None:
        place = (root / file).resolve()
        inside = place.is_relative_to(root.resolve()) and place.is_file()
        return place.read_bytes() if inside else None

    return read
