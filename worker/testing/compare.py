"""What differs between what was expected and what came: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from worker.testing.cases import Expected

_SHOWN = 300


class Came(msgspec.Struct, frozen=True):
    """What came of a test. `steps` are the ids of the steps that ran code, in order, `branches` those taken by step.

    `published` are the messages that would be published: topic, payload, qos, retain.
    """

    ok: bool
    result: Any
    error: Mapping[str, Any] | None = None
    skipped: bool = False
    steps: Sequence[str] = ()
    branches: Mapping[str, Sequence[str]] = {}
    published: Sequence[dict[str, Any]] = ()


def problems(expected: Expected, came: Came) -> list[str]:
    """A line for each difference; empty: the test has passed."""
    found = list(_ending(expected, came))
    if expected.result is not msgspec.UNSET:
        found += differences(expected.result, came.result, "result")
    if expected.contains is not msgspec.UNSET:
        found += differences(expected.contains, came.result, "result", at_least=True)
    if expected.steps is not None and list(came.steps) != expected.steps:
        found.append(f"steps: expected {_list(expected.steps)}, ran {_list(came.steps)}")
    for step, branch in expected.branches.items():
        taken = list(came.branches.get(step, []))
        if branch not in taken:
            found.append(f"branches.{step}: expected {branch}, took {_list(taken) if taken else 'none'}")
    if expected.skipped is not None and expected.skipped != came.skipped:
        found.append(f"skipped: expected {_shown(expected.skipped)}, is {_shown(came.skipped)}")
    if expected.published is not None:
        found += differences(expected.published, list(came.published), "published", at_least=True)
    return found


def differences(expected: Any, came: Any, path: str, *, at_least: bool = False) -> Iterator[str]:
    """A line for each place. `at_least`: objects may have more than is expected."""
    if isinstance(expected, dict) and isinstance(came, dict):
        for key in expected:
            if key in came:
                yield from differences(expected[key], came[key], f"{path}.{key}", at_least=at_least)
            else:
                yield f"{path}.{key}: expected {_shown(expected[key])}, is missing"
        for key in came.keys() - expected.keys() if not at_least else ():
            yield f"{path}.{key}: not expected, is {_shown(came[key])}"
    elif isinstance(expected, list) and isinstance(came, list):
        if len(expected) != len(came):
            yield f"{path}: expected {len(expected)} items, are {len(came)}: {_shown(came)}"
        for index, (wanted, found) in enumerate(zip(expected, came, strict=False)):
            yield from differences(wanted, found, f"{path}[{index}]", at_least=at_least)
    elif expected != came or isinstance(expected, bool) != isinstance(came, bool):
        yield f"{path}: expected {_shown(expected)}, is {_shown(came)}"


def _ending(expected: Expected, came: Came) -> Iterator[str]:
    error = came.error or {}
    name, message = str(error.get("name", "")), str(error.get("message", ""))
    if expected.error is None:
        if not came.ok:
            yield f"failed: {name}: {message}"
    elif came.ok:
        yield f"error: expected {expected.error or 'one'}, succeeded with {_shown(came.result)}"
    elif expected.error and expected.error != name:
        yield f"error: expected {expected.error}, is {name}: {message}"
    elif expected.message is not None and expected.message not in message:
        yield f"error.message: expected {_shown(expected.message)} in it, is {_shown(message)}"


def _list(names: Sequence[str]) -> str:
    return f"[{', '.join(names)}]"


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
