"""What a flow that is restarted in the middle takes over."""

from __future__ import annotations

import pytest

from shared.definitions import Runnable
from shared.errors import UserError
from shared.flow_records import Fanned, encode, read_records
from shared.flow_taken import Taken
from tests.support.flows import branch_all, branch_one, flow_of, loop, step

INNER = flow_of([step("g"), loop("m", "[1]", step("h"), step("i"))], path="f/t/in")
FLOW = flow_of(
    [
        step("a"),
        loop("l", "[1, 2]", step("b"), step("c")),
        branch_one("o", {"true": [step("d"), step("e")]}),
        loop("p", "[1, 2, 3]", step("f"), step("k"), value={"parallel": True}),
        {"id": "s", "value": {"type": "flow", "path": "f/t/in", "input_transforms": {}}},
        branch_all("q", [step("t")], [step("u")], skip_failure=True, value={"parallel": True}),
        step("ab"),
    ],
    {"s": Runnable("f/t/in", "inner", 0, is_flow=True)},
    preprocessor_module=step("preprocessor"),
)
_RECORDS = """
    preprocessor preprocessor> !input !started !failed a a> a~1 a?retry a!retry l?items l/0/b l/0/b> l/0/c l/1/b l/1/c
    l?retry l~1/0/b l~1/0/c l~1/1/b o?branch o/0/d o/0/e p!left p?parallelism s?inputs s/?skip s/g s/m?items s/m/0/h
    s/m/0/i ab ab> failure
"""
FIELDS = dict.fromkeys(_RECORDS.split(), b"1") | {
    "o?branch": b'{"at":1,"result":0}',
    "p!parts>": encode(Fanned(1, {}, {}, ["r0", "r1", "r2"], [0, 1, 2])),
    "p/0": b"succeeded ",
    "p/1": b'failed {"name":"E"}',
    "p/2": b'failed {"name":"E"}',
    "p#1!parts>": encode(Fanned(1, {}, {}, ["r1-again", "r2-again"], [1, 2])),
    "p#1/1": b"succeeded again",
    "p#1/2": b"cancelled ",
    "q!parts>": encode(Fanned(1, {}, {}, ["x0", "x1"], [0, 1])),
    "q/0": b'failed {"name":"E"}',
    "q/1": b"succeeded ",
}
PARTS = {"r1-again": {"p/1/f": b"1", "p/1/f>": b"1", "p/1/k": b"1", "!failed": b""}, "x1": {"q/1/u": b"1"}}
FIRST = ["preprocessor", "preprocessor>", "!input"]
A = [*FIRST, "a", "a>", "a~1", "a?retry", "a!retry"]
L0 = ["l?items", "l/0/b", "l/0/b>", "l/0/c"]
L = [*A, *L0, "l/1/b", "l/1/c", "l?retry", "l~1/0/b", "l~1/0/c", "l~1/1/b"]
BRANCH = [*L, "o?branch", "o/0/d", "o/0/e"]
P = [*BRANCH, "p!left", "p?parallelism", "p!parts>", "p/0", "p/1", "p/2", "p#1!parts>", "p#1/1", "p#1/2"]
S = [*P, "s?inputs", "s/?skip"]


def before(at: str) -> dict[str, bytes]:
    """What is taken over."""
    return Taken(PARTS.__getitem__, lambda _runnable: INNER).before(FIELDS, FLOW, at)


@pytest.mark.parametrize(
    "at, kept",
    [
        ("a", FIRST),
        ("a~1", [*FIRST, "a", "a>", "a?retry", "a!retry"]),
        ("l", A),
        ("l/1/c", [*A, *L0, "l/1/b"]),
        ("l/1", [*A, *L0]),
        ("l/0/b", [*A, "l?items"]),
        ("l~1/1", [*A, *L0, "l/1/b", "l/1/c", "l?retry", "l~1/0/b", "l~1/0/c"]),
        ("o", L),
        ("o/0/e", [*L, "o?branch", "o/0/d"]),
        ("o/0", [*L, "o?branch"]),
        ("p", BRANCH),
        ("p/2", [*BRANCH, "p?parallelism", "p/0", "p/1"]),
        ("p/0", [*BRANCH, "p?parallelism", "p/1"]),
        ("p/1/k", [*BRANCH, "p?parallelism", "p/0", "p!from/1"]),
        ("s", P),
        ("s/m", [*S, "s/g"]),
        ("s/m/0/i", [*S, "s/g", "s/m?items", "s/m/0/h"]),
        ("q/1/u", [*S, "s/g", "s/m?items", "s/m/0/h", "s/m/0/i", "q/0", "q!from/1"]),
        ("ab", [*S, "s/g", "s/m?items", "s/m/0/h", "s/m/0/i", "q!parts>", "q/0", "q/1"]),
    ],
)
def test_what_stands_before_the_step_is_kept_and_nothing_else(at: str, kept: list[str]) -> None:
    """Also what led into the loop or branch that the step is in, and what the other parallel parts have come to."""
    assert sorted(before(at)) == sorted(kept)


def test_of_a_parallel_part_what_the_last_turn_came_to_counts() -> None:
    """And the part begins with what its run had recorded before the step."""
    kept = before("p/1/k")
    assert read_records(kept["p!from/1"]) == {"p/1/f": b"1", "p/1/f>": b"1"}
    assert before("p/0")["p/1"] == b"succeeded again"


@pytest.mark.parametrize(
    "at, says",
    [
        ("x", "there is no step x"),
        ("l/0/x", "there is no step l/0/x"),
        ("l/x/b", "there is no step l/x/b"),
        ("l/2", "l/2 was not begun"),
        ("l~2/0/b", "there was no attempt 2 of l"),
        ("o/1/d", "o/1 was not taken"),
        ("a/0/b", "there is no step a/0/b"),
        ("p/3", "p has no 3"),
        ("s/x", "there is no step s/x"),
        ("s/", "there is no step s/"),
        ("", "there is no step"),
    ],
)
def test_a_step_that_is_not_there_is_an_error_that_says_what_is(at: str, says: str) -> None:
    """Each with a way to go on."""
    with pytest.raises(UserError, match=says) as raised:
        before(at)
    assert raised.value.hint


@pytest.mark.parametrize(
    "more, at, says",
    [
        ({"!failed": b"l~1/1/b"}, "o", "l~1/1/b has failed, and comes before"),
        ({"!failed": b"p#1"}, "ab", "p has failed, and comes before"),
        ({"a~2>": b"1"}, "l/0", "a~2 has not ended, and comes before"),
        ({"l~1/1/x>": b"1"}, "ab", "l~1/1/x has not ended"),
        ({"p#1!parts>": encode(Fanned(1, {}, {}, ["r", "s"], [1, 3]))}, "ab", "p#1 has not ended"),
    ],
)
def test_what_comes_before_must_have_ended_and_not_failed(more: dict[str, bytes], at: str, says: str) -> None:
    """It is taken over, and would fail, or be cut off, at once."""
    taken = Taken(PARTS.__getitem__, lambda _runnable: INNER)
    with pytest.raises(UserError, match=says):
        taken.before(FIELDS | more, FLOW, at)
