"""Tests of scripts and flows: how their files are read, and what counts as a difference."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import msgspec
import pytest

from shared.errors import WorkspaceError
from shared.workspace.problems import Problem, Problems
from worker.testing.cases import Expected, Suite, read_suite
from worker.testing.compare import Came, differences, problems

FILE = "f/a/hot.test.yaml"
SAVED = b"""{
    "event": {"topic": "a/b", "payload": "aGk=", "qos": 2}, "runs": [{"runnable": "f/a/hot", "captures": {"x": "b"}}]
}"""
FAILED = Came(ok=False, result=None, error={"name": "B", "message": "c"})


def suite(text: str) -> Suite:
    """The tests of a file with this text. Raises WorkspaceError."""
    found = Problems()
    read = read_suite(FILE, dedent(text), {"f/a/saved.json": SAVED}.get, found)
    found.check("the folder")
    assert read is not None
    return read


def test_a_test_says_what_goes_in_and_what_has_to_come_out() -> None:
    """All of its keys."""
    found = suite("""
        kind: flow
        variables: {f/a/key: secret}
        resources: {f/a/db: {host: localhost}}
        tests:
          - name: hot
            event: {topic: plant/7/temp, payload: {t: 31}, qos: qos1, retain: true, trigger: f/a/t, captures: {n: 7}}
            mock: {b: {sent: true}}
            fail: {c: {name: ConnectionError, message: away}, d: no}
            expect:
              result: null
              result_contains: {hot: true}
              error: {name: ValueError, message: too hot}
              steps: [a, b]
              branches: {b: 0}
              skipped: false
    """)
    (case,) = found.cases

    assert (found.path, case.is_flow, case.name, case.line) == ("f/a/hot", True, "hot", 6)
    assert (found.variables, found.resources) == ({"f/a/key": "secret"}, {"f/a/db": {"host": "localhost"}})
    assert case.event is not None
    assert (case.event.topic, case.event.payload, case.event.qos, case.event.retain) == (
        "plant/7/temp", "eyJ0IjozMX0=", 1, True,
    )  # fmt: skip
    assert (case.trigger, case.captures, case.args) == ("f/a/t", {"n": "7"}, None)
    assert case.stand.results == {"b": {"sent": True}}
    assert case.stand.errors == {
        "c": {"name": "ConnectionError", "message": "away"}, "d": {"name": "Error", "message": "no"},
    }  # fmt: skip
    assert case.expected == Expected(
        None, {"hot": True}, "ValueError", "too hot", ["a", "b"], {"b": "0"}, skipped=False
    )


def test_an_event_may_be_one_that_was_captured() -> None:
    """With the named levels that the capture tells."""
    (case,) = suite("tests: [{event: {file: saved.json}}]").cases

    assert case.event is not None
    assert (case.event.topic, case.event.payload, case.event.qos, case.captures) == ("a/b", "aGk=", 2, {"x": "b"})
    assert case.name == "test 1"


@pytest.mark.parametrize("payload, encoded", [("payload: hi", "aGk="), ("payload_base64: AAE=", "AAE="), ("", "")])
def test_a_payload_is_text_json_or_bytes(payload: str, encoded: str) -> None:
    """Or nothing."""
    (case,) = suite(f"tests:\n  - event:\n      topic: a\n      {payload}\n").cases
    assert case.event is not None
    assert case.event.payload == encoded


@pytest.mark.parametrize(
    "text, line, key, word",
    [
        ("test: []", 1, "test", "unknown key"),
        ("tests: []", 1, "tests", "no tests"),
        ("tests: [{}]", 1, "tests[0].event", "missing"),
        ("tests: [{event: {}}]", 1, "tests[0].event.topic", "missing"),
        ("tests: [{event: {file: gone.json}}]", 1, "tests[0].event.file", "there is no f/a/gone.json"),
        ("tests: [{event: {topic: a, payload_base64: '?'}}]", 1, "tests[0].event.payload_base64", "is no base64"),
        ("tests: [{args: 3}]", 1, "tests[0].args", "no mapping"),
        ("tests: [{args: {}, expect: {steps: a}}]", 1, "tests[0].expect.steps", "no list"),
        ("tests: [{args: {}, expect: {results: a}}]", 1, "tests[0].expect.results", "unknown key"),
    ],
)
def test_what_is_wrong_with_a_file_of_tests_is_told_with_its_place(text: str, line: int, key: str, word: str) -> None:
    """As for every file of a workspace."""
    with pytest.raises(WorkspaceError) as error:
        suite(text)
    found = msgspec.convert(error.value.fields["problems"], list[Problem], from_attributes=True)

    assert (line, key) in [(each.line, each.key) for each in found]
    assert word in " ".join(each.message for each in found)


@pytest.mark.parametrize(
    "expected, came, lines",
    [
        ({"a": 1, "b": [1, 2]}, {"a": 1, "b": [1, 2]}, []),
        (1, 1.0, []),
        (1, True, ["result: expected 1, is true"]),
        ({"a": 1}, {}, ["result.a: expected 1, is missing"]),
        ({}, {"a": 1}, ["result.a: not expected, is 1"]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, ["result.a.b[1]: expected 2, is 3"]),
        ([1], [1, 2], ["result: expected 1 items, are 2: [1,2]"]),
        (None, "x", ['result: expected null, is "x"']),
    ],
)
def test_a_difference_is_told_with_its_place(expected: Any, came: Any, lines: list[str]) -> None:
    """In JSON, as it came."""
    assert list(differences(expected, came, "result")) == lines


def test_a_part_of_a_result_may_be_expected() -> None:
    """At every depth."""
    came = {"a": {"b": 1, "c": 2}, "d": [{"e": 1, "f": 2}]}
    assert list(differences({"a": {"b": 1}, "d": [{"e": 1}]}, came, "result", at_least=True)) == []
    assert list(differences({"a": {"b": 2}}, came, "result", at_least=True)) == ["result.a.b: expected 2, is 1"]


@pytest.mark.parametrize(
    "expected, came, line",
    [
        (Expected(), FAILED, "failed: B: c"),
        (Expected(error="ValueError"), Came(ok=True, result=1), "error: expected ValueError, succeeded with 1"),
        (Expected(error=""), Came(ok=True, result=1), "error: expected one, succeeded with 1"),
        (Expected(error="A"), FAILED, "error: expected A, is B: c"),
        (Expected(error="", message="x"), FAILED,
         'error.message: expected "x" in it, is "c"'),
        (Expected(steps=["a"]), Came(ok=True, result=1, steps=["a", "b"]), "steps: expected [a], ran [a, b]"),
        (Expected(branches={"b": "hot"}), Came(ok=True, result=1), "branches.b: expected hot, took none"),
        (Expected(branches={"b": "hot"}), Came(ok=True, result=1, branches={"b": ["default"]}),
         "branches.b: expected hot, took [default]"),
        (Expected(skipped=True), Came(ok=True, result=1), "skipped: expected true, is false"),
    ],
)  # fmt: skip
def test_how_it_ended_and_where_it_went_may_be_expected(expected: Expected, came: Came, line: str) -> None:
    """A test without an expected error has to succeed."""
    assert problems(expected, came) == [line]
