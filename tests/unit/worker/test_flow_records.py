"""What a flow has recorded: read again, and what comes of a part, in the words of Redis."""

from __future__ import annotations

import pytest

from shared.definitions import Runnable
from shared.errors import InternalError
from shared.flow_records import AGAIN, FAILED, Begun, Ended, encode, read_ended
from tests.support.flows import branch_all, flow_of, loop, step
from worker.flows.effects import Done, Failed
from worker.flows.parts import find_part
from worker.flows.records import Records
from worker.outcomes import packed_result

NOW = 7


def test_what_was_noted_is_the_answer_when_the_flow_goes_on() -> None:
    """Well or badly; and how a step was begun."""
    before = Records({}, lambda: NOW)
    before.note("a", Done([1]))
    before.note("b?stop", Failed({"name": "E"}, final=True))
    before.note_begin("c", Begun(1, {"x": 2}, starts=2))
    assert before.begun("c") == Begun(1, {"x": 2}, starts=2)
    after = Records(before.news.fields, lambda: NOW)

    assert (after.answer("a"), after.answer("c")) == (Done([1]), None)
    assert after.answer("b?stop") == Failed({"name": "E"}, final=True)
    assert after.begun("c") == Begun(1, {"x": 2}, starts=2)
    before.kept()
    assert not before.news.fields


@pytest.mark.parametrize(
    "blob, ended",
    [
        (b"succeeded " + packed_result(b'{"x":1}').encode(), Ended(0, result={"x": 1})),
        (b"succeeded ", Ended(0)),
        (b'failed {"name":"E","message":"no"}', Ended(0, ok=False, error={"name": "E", "message": "no"})),
    ],
)
def test_the_end_of_a_part_is_read_as_that_of_a_step(blob: bytes, ended: Ended) -> None:
    """Its run has left result or error."""
    assert read_ended(blob) == ended


@pytest.mark.parametrize("state, name", [("interrupted", "Interrupted"), ("lost", "Lost"), ("cancelled", "Cancelled")])
def test_a_part_that_did_not_end_by_itself_has_an_error_that_says_so(state: str, name: str) -> None:
    """Nobody has left one."""
    assert (read_ended(f"{state} ".encode()).error or {})["name"] == name


def test_what_has_failed_is_done_again_once_somebody_has_run_the_flow_again() -> None:
    """It is said once: the wish is taken off with the next record."""
    asked = Records({AGAIN: b"1", FAILED: b"l/3/x"}, lambda: NOW)
    assert (asked.is_again("l/3/x"), asked.is_again("a"), asked.is_redriven) == (True, False, True)
    news = asked.news.fields
    assert (news[AGAIN], news[FAILED]) == (b"", b"")
    later = Records({**news}, lambda: NOW)
    assert (later.is_again("l/3/x"), later.is_redriven) == (True, False)
    assert not Records({FAILED: b"l/3/x"}, lambda: NOW).is_again("l/3/x"), "nobody has asked"


def test_a_part_is_found_by_its_key() -> None:
    """In loops, branches, attempts, and flows within the flow."""
    inner = flow_of([loop("m", "[1]", step("x"))], path="f/t/inner")
    modules = [
        branch_all("b", [step("p")], [loop("l", "[1]", step("q"))]),
        {"id": "s", "value": {"type": "flow", "path": "f/t/inner", "input_transforms": {}}},
    ]
    flow = flow_of(modules, {"s": Runnable("f/t/inner", "v", 1, is_flow=True)})

    def ids(path: str) -> list[str]:
        return [module.id for module in find_part(flow, {"v": inner}, path).modules]

    assert (ids("b/0"), ids("b~1/1"), ids("b/1/l/7"), ids("s/m/0")) == (["p"], ["l"], ["q"], ["x"])
    assert find_part(flow, {"v": inner}, "s/m/0").prefix == "s/"
    with pytest.raises(InternalError):
        find_part(flow, {"v": inner}, "s/x/0")


def test_a_record_is_json_of_what_is_said() -> None:
    """What is not said takes no room."""
    assert encode(Ended(NOW, result=[1])) == b'{"at":7,"result":[1]}'
