"""What a flow that is restarted in the middle takes over."""

from __future__ import annotations

import pytest

from shared.errors import UserError
from shared.flow_restart import before
from tests.support.flows import branch_one, flow_of, loop, step

FLOW = flow_of(
    [
        step("a"),
        loop("l", "[1, 2]", step("b"), step("c")),
        branch_one("o", {"true": [step("d"), step("e")]}),
        loop("p", "[1, 2]", step("f"), value={"parallel": True}),
        step("ab"),
    ],
    preprocessor_module=step("preprocessor"),
)
_RECORDS = """
    preprocessor preprocessor> !input !started !failed a a> a~1 a?retry a!retry l?items l/0/b l/0/b> l/0/c l/1/b l/1/c
    o?branch o/0/d o/0/e p!parts> p/0 p/1 p!left ab ab> failure
"""
KEYS = _RECORDS.split()
FIELDS = dict.fromkeys(KEYS, b"1") | {"o?branch": b'{"at":1,"result":0}'}
FIRST = ["preprocessor", "preprocessor>", "!input"]
A = [*FIRST, "a", "a>", "a~1", "a?retry", "a!retry"]
L = [*A, "l?items", "l/0/b", "l/0/b>", "l/0/c", "l/1/b", "l/1/c"]


@pytest.mark.parametrize(
    "at, kept",
    [
        ("a", FIRST),
        ("l", A),
        ("l/1/c", L[:-1]),
        ("l/0/b", [*A, "l?items"]),
        ("l/0", [*A, "l?items"]),
        ("l/1", L[:-2]),
        ("o", L),
        ("o/0/e", [*L, "o?branch", "o/0/d"]),
        ("ab", [*L, "o?branch", "o/0/d", "o/0/e", "p!parts>", "p/0", "p/1", "p!left"]),
    ],
)
def test_what_stands_before_the_step_is_kept_and_nothing_else(at: str, kept: list[str]) -> None:
    """Also what led into the loop or branch that the step is in."""
    assert sorted(before(FIELDS, FLOW.value.modules, at)) == sorted(kept)


@pytest.mark.parametrize("at", ["x", "l/0/x", "l/x/b", "o/1/d", "p/0/f", "a/0/b", "a/0", "p/0", "o/7"])
def test_a_step_that_is_not_there_is_an_error_that_says_what_is(at: str) -> None:
    """A parallel part is a run of its own."""
    with pytest.raises(UserError) as raised:
        before(FIELDS, FLOW.value.modules, at)
    assert raised.value.hint
