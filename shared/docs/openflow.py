"""The page of OpenFlow, from the table that the tests execute (tests/conformance/openflow.yaml)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from shared.docs.page import page, table

SOURCE = Path(__file__).resolve().parents[2] / "tests" / "conformance" / "openflow.yaml"

_INTRODUCTION = """\
# OpenFlow

Flows are written in [OpenFlow](https://www.openflow.dev), as Windmill's are: the same files run here and there. This
page says of every field what it does here. *Yes*: it does what Windmill does. *Ignored*: it is accepted and means
nothing. *Refused*: `headrace push` says so, with the step and the field, because the flow would do something else than
its author meant. Each example is a test: it runs in every build, on one machine and in a worker.

[Write a flow](../howto/write-a-flow.md) begins at the beginning; [workspace files](workspace.md#flows) says in which
files a flow stands."""

_COMMON = "The examples use these scripts and this flow."
_HERE = {"yes": "yes", "ignored": "ignored", "refused": "refused"}


class Field(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A field, and what shows it: a flow with tests, or one that is refused, or warned of, at this key."""

    name: str
    about: str
    here: Literal["yes", "ignored", "refused"] = "yes"
    flow: str = ""
    tests: list[dict[str, Any]] = []
    files: dict[str, str] = {}
    refused: str = ""
    warned: str = ""


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fields that stand in the same place."""

    title: str
    text: str
    fields: list[Field]


class Conformance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole table; `files` are there for every flow."""

    files: dict[str, str]
    sections: list[Section]


def read_table() -> Conformance:
    """From its file."""
    return msgspec.yaml.decode(SOURCE.read_bytes(), type=Conformance)


def render() -> str:
    """The whole page."""
    found = read_table()
    parts = [_INTRODUCTION]
    for section in found.sections:
        parts += [f"## {section.title}", section.text]
        rows = [[f"`{field.name}`", _HERE[field.here], field.about] for field in section.fields]
        parts.append(table(["Field", "Here", "Meaning"], rows))
        for field in section.fields:
            parts += _example(field)
    parts += ["## The scripts of the examples", _COMMON]
    parts += [f"`{path}`\n\n{_code(text, path)}" for path, text in found.files.items()]
    return page(*parts)


def _example(field: Field) -> Iterator[str]:
    if not field.tests:
        return
    yield f"### `{field.name}` in an example"
    yield _code(field.flow, ".yaml")
    for path, text in field.files.items():
        yield f"with `{path}`:\n\n{_code(text, path)}"
    yield table(["Given", "Result", "Steps that ran"], [_row(test) for test in field.tests])


def _row(test: dict[str, Any]) -> list[str]:
    event, expected = test.get("event"), test.get("expect", {})
    given = f"a message on `{event['topic']}`: `{_json(event.get('payload'))}`" if event else f"`{_json(test['args'])}`"
    steps = expected.get("steps")
    ran = "" if steps is None else ", ".join(f"`{step}`" for step in steps) or "none"
    return [given, _outcome(expected), ran]


def _outcome(expected: dict[str, Any]) -> str:
    error = expected.get("error")
    if isinstance(error, dict):
        return f"fails with `{error['name']}`: … {error['message']} …"
    if error is not None:
        return f"fails with `{error}`"
    branches = expected.get("branches", {})
    took = "".join(f"; `{step}` takes *{branch}*" for step, branch in branches.items())
    skipped = ", counts as skipped" if expected.get("skipped") else ""
    return f"`{_json(expected.get('result'))}`{skipped}{took}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _code(text: str, path: str) -> str:
    language = "python" if path.endswith(".py") else "yaml"
    return f"```{language}\n{text.rstrip()}\n```"
