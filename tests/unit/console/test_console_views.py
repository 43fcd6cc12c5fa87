"""What pages show, without a page: payloads, the way of a message, drawings, addresses."""

from __future__ import annotations

import time

import msgspec
import pytest
from litestar.datastructures import MultiDict

from console.pages.flow_graph import HEIGHT, WIDTH, Drawing, StepState, draw, fit
from console.pages.flow_steps import states_of, step_rows
from console.pages.overview import AlertRow, first_sessions, process_rows, told_once
from console.pages.payloads import ending, hex_dump, json_view, one_line, payload_view
from console.pages.run_filters import Filters, query_of, read_filters
from console.pages.runs import cancelled_words
from console.pages.triggers import sparkline
from console.pages.way import way_of
from shared.definitions import Trigger
from shared.doctor import Check
from shared.errors import UserError
from shared.flow_nodes import StepNode
from shared.history import RunDetails
from shared.processes import Process
from shared.run_record import Attempt, Run
from shared.status import session_status

T0, T1, T2, T3, T4 = (f"2026-01-02T03:04:0{second}.000Z" for second in range(5))


def a_run(state: str, attempts: int, **times: str | None) -> Run:
    """A run of which only state and times matter."""
    at = {"received_at": T0, "queued_at": T1, "started_at": None, "ended_at": None} | times
    return Run(
        "q1-a-1-1", state, "f/t/x", "f/t/s", "t", 1, "key", attempts, at["received_at"], at["queued_at"],
        at["started_at"], at["ended_at"], None, None, 0, "v", [], "message",
    )  # fmt: skip


def test_json_is_shown_as_json_text_and_bytes() -> None:
    """With its parts marked."""
    view = payload_view(b'{"a": [1, true, "x"]}', 21)
    assert view.json is not None
    assert '<span class="k">&#34;a&#34;</span>: [' in view.json
    assert '<span class="l">true</span>' in view.json
    assert (view.text, view.more) == ('{"a": [1, true, "x"]}', "")
    assert view.hex.startswith("000000  7b 22 61 22 3a 20 5b 31  2c 20 74")


@pytest.mark.parametrize("payload", [b"\xff\xfe\x00", b"\xc3", bytes(range(128, 256))])
def test_what_is_no_text_is_shown_as_bytes_alone(payload: bytes) -> None:
    """Nothing is guessed."""
    view = payload_view(payload, len(payload))
    assert (view.json, view.text) == (None, None)
    assert view.hex


def test_what_is_long_is_cut_and_says_so() -> None:
    """Within a character too."""
    payload = ("ä" * 40_000).encode()
    view = payload_view(payload, len(payload))
    assert view.text is not None
    assert len(view.text) == 32 * 1024
    assert view.more == "The first 64.0 KiB of 78.1 KiB are shown."


def test_markup_and_control_characters_in_json_are_texts() -> None:
    """Also in names."""
    shown = json_view({"<b>\u202e": "</pre><script>"})
    assert "<script>" not in shown
    assert "<b>" not in shown
    assert "\\u202e" in shown
    assert one_line("x" * 300) == '"' + "x" * 198 + "…"


def test_a_document_that_is_nested_without_end_is_cut() -> None:
    """It stops nobody."""
    deep: list[object] = []
    for _ in range(500):
        deep = [deep]
    assert "…" in json_view(deep)


def test_bytes_stand_beside_what_they_are_in_ascii() -> None:
    """16 a line."""
    assert hex_dump(b"A\n" + b"x" * 15).splitlines()[1] == f"{'000010  78':<58}x"


def test_the_way_of_a_message_has_each_step_with_the_time_since_the_one_before() -> None:
    """In the order in which it was."""
    attempt = Attempt("succeeded", T2, T3, "w1-5")
    run = a_run("succeeded", 1, started_at=T2, ended_at=T3)
    steps = way_of(RunDetails(run, None, {}, [attempt]), T1)
    assert [(step.name, step.wait_ms) for step in steps] == [
        ("received", None), ("placed", 1000), ("started", 1000), ("ended", 1000),
    ]  # fmt: skip
    assert steps[2].said == "by worker w1"


def test_a_run_that_was_retried_was_placed_once() -> None:
    """Though it was queued later again."""
    failed = Attempt("failed", T2, T3, "w1-5", error={"name": "E", "message": "", "stack": ""})
    run = a_run("queued", 1, queued_at=T4)
    steps = way_of(RunDetails(run, None, {}, [failed]), T1)
    assert [step.name for step in steps] == ["received", "placed", "started", "ended", "queued again", "now"]
    assert steps[-1].at is None


def test_a_run_that_waits_says_what_it_waits_for() -> None:
    """And when it goes on, where that is known."""
    scheduled = RunDetails(a_run("scheduled", 1), None, {}, [], due_at=T4)
    assert way_of(scheduled, T1)[-1].at == T4
    assert "resumes" in way_of(RunDetails(a_run("suspended", 0), None, {}, []), T1)[-1].said


def test_filters_go_into_the_address_and_come_back() -> None:
    """States that do not exist are passed over."""
    given = Filters(
        ("failed", "lost"), ("api",), "f/t/x", topic="a/+/b", error="no & such", args='{"t": 1}', steps="1", since="2h"
    )
    address = given.address(after="1_2")
    assert (
        address == "/runs?state=failed&state=lost&source=api&trigger=f%2Ft%2Fx&topic=a%2F%2B%2Fb&error=no+%26+such"
        "&args=%7B%22t%22%3A+1%7D&steps=1&since=2h&after=1_2"
    )
    states = [("state", each) for each in ("lost", "nonsense", "failed")]
    sent = MultiDict([*states, ("source", "all"), ("topic", " a/+/b ")])
    assert read_filters(sent) == Filters(("failed", "lost"), topic="a/+/b")
    assert Filters().address() == "/runs"


def test_a_filter_that_makes_no_sense_is_said() -> None:
    """By whoever reads it."""
    now_us = time.time_ns() // 1000
    for wrong in (Filters(topic="a/#/b"), Filters(since="yesterday"), Filters(until="soon"), Filters(args="{t: 1}")):
        with pytest.raises(UserError):
            query_of(wrong, now_us)


def test_a_sparkline_has_a_bar_for_what_is_not_zero() -> None:
    """The highest reaches the top."""
    assert sparkline([0, 1, 10, 0]) == [(4, 2.2), (8, 22)]
    assert sparkline([]) == []


CALL = {"id": "c", "value": {"type": "script", "path": "f/t/c"}}
FLOW = {
    "modules": [
        {"id": "a", "summary": "Begin", "value": {"type": "rawscript"}},
        {
            "id": "b",
            "value": {
                "type": "branchone",
                "branches": [
                    {"expr": "results.a > 1", "modules": [{"id": "c", "value": {"type": "script", "path": "f/t/c"}}]}
                ],
                "default": [],
            },
        },
        {"id": "l", "value": {"type": "forloopflow", "modules": [{"id": "x", "value": {"type": "identity"}}]}},
    ],
    "failure_module": {"id": "failure", "value": {"type": "rawscript"}},
}


def overlapping(drawing: Drawing) -> list[tuple[str, str]]:
    """Steps that are drawn over each other."""
    nodes = drawing.nodes
    return [
        (one.id, other.id)
        for index, one in enumerate(nodes)
        for other in nodes[index + 1 :]
        if abs(one.x - other.x) < WIDTH and abs(one.y - other.y) < HEIGHT
    ]


def test_a_flow_is_drawn_with_each_step_once_and_none_over_another() -> None:
    """Within the drawing; branches and loops as what they are."""
    drawing = draw(FLOW, {"a": StepState("ok", "succeeded")})
    assert [node.id for node in drawing.nodes] == ["a", "b", "c", "l", "x", "failure"]
    assert overlapping(drawing) == []
    assert all(
        0 <= node.x <= drawing.width - WIDTH and 0 <= node.y <= drawing.height - HEIGHT for node in drawing.nodes
    )
    assert [label.text for label in drawing.labels] == ["results.a > 1", "otherwise", "when it fails"]
    assert len(drawing.frames) == 1
    assert (drawing.nodes[0].label, drawing.nodes[0].state, drawing.nodes[2].label) == ("Begin", "succeeded", "f/t/c")


def test_what_is_written_in_a_box_has_room_in_it() -> None:
    """Whatever letters it is of: the rest is left out, and says so."""
    for text in ("results.readings.every(each => each.value > limit)", "WWWWMMMM" * 5, "設備温度異常検知" * 4):
        branch = {"summary": text, "modules": [{"id": "c", "summary": text, "value": {"type": "identity"}}]}
        drawing = draw(
            {"modules": [{"id": text, "value": {"type": "branchone", "branches": [branch], "default": []}}]},
            {"c": StepState("ok", text)},
        )
        for shown in (drawing.nodes[0].label, drawing.nodes[1].state, drawing.labels[0].text):
            assert shown.endswith("…")
            assert text.startswith(shown[:-1])
    assert fit("short", 100, 13) == "short"
    assert len(fit("W" * 99, 130, 13)) < len(fit("i" * 99, 130, 13)) < 99


def test_a_flow_without_steps_or_of_unknown_kinds_is_drawn_too() -> None:
    """As far as it can be told."""
    assert draw({}, {}).nodes == []
    assert draw({"modules": [{"id": "a", "value": {"type": "new"}}, "nonsense"]}, {}).nodes[0].kind == "new"


FAILED = StepNode(key="l/1/x", state="failed")
STEPS = [
    StepNode(key="a", state="succeeded", started_at=T0, ended_at=T1),
    StepNode(
        key="l",
        state="succeeded",
        steps=[
            StepNode(key="l/0", steps=[StepNode(key="l/0/x", state="succeeded")]),
            StepNode(
                key="l/1", steps=[StepNode(key="l/1/x", state="failed"), StepNode(key="l/1/x~1", state="succeeded")]
            ),
        ],
    ),
    StepNode(key="z", state="waiting"),
]


def test_steps_are_listed_each_before_what_stands_within_it() -> None:
    """Iterations and attempts by number."""
    rows = [(row.depth, row.name, row.took_ms) for row in step_rows(STEPS)]
    assert rows == [
        (0, "a", 1000), (0, "l", None), (1, "number 0", None), (2, "x", None), (1, "number 1", None), (2, "x", None),
        (2, "x, attempt 2", None), (0, "z", None),
    ]  # fmt: skip


def test_a_step_that_ran_more_than_once_is_drawn_with_how_often_and_with_the_worst() -> None:
    """One that ran once, with its state."""
    assert states_of(STEPS) == {
        "a": StepState("ok", "succeeded", "a"),
        "l": StepState("ok", "succeeded", "l"),
        "x": StepState("bad", "2 succeeded, 1 failed", "l/1/x"),
        "z": StepState("idle", "waiting", "z"),
    }


@pytest.mark.parametrize(
    "counts, said",
    [
        ((3, 0, 0), "3 runs cancelled."),
        ((0, 0, 0), "0 runs cancelled."),
        ((0, 0, 2), "2 had ended already."),
        ((1, 2, 4), "1 run cancelled; 2 told to stop: the worker ends what runs; 4 had ended already."),
    ],
)
def test_what_came_of_cancelling_many_is_said_of_each_part(counts: tuple[int, int, int], said: str) -> None:
    """Nothing that had ended is said to be cancelled."""
    assert cancelled_words(*counts) == said


def test_of_a_long_log_its_end_is_shown_and_what_is_left_out_is_said() -> None:
    """A page is no place for mebibytes."""
    assert ending("one\ntwo") == "one\ntwo"
    shown = ending("x" * 2_000_000 + "\nlast line")
    assert shown.startswith("… 1.8 MiB before this is left out …\n")
    assert shown.endswith("\nlast line")
    assert len(shown) < 70_000


def test_the_overview_lists_a_few_sessions_and_first_those_that_are_not_well() -> None:
    """The rest is on the page of triggers."""
    triggers = [Trigger(f"f/t/{number:03}", f"s{number}", "c", "f/t/b", "f/t/s", {}, []) for number in range(60)]
    sessions = [session_status(trigger, None) for trigger in triggers]
    well = [msgspec.structs.replace(each, state="connected") for each in sessions[:-2]]
    shown = first_sessions([*well, *sessions[-2:]])
    assert [each.trigger for each in shown] == ["f/t/058", "f/t/059", *[f"f/t/{number:03}" for number in range(18)]]


def test_a_trouble_and_the_alert_about_it_are_told_once() -> None:
    """An alert of which no check speaks stays by itself."""
    wrong = [Check("warn", "session f/t/a", "reconnecting", "mend it"), Check("warn", "backlog", "old", "more workers")]
    alerts = [AlertRow(kind, subject, "", "", "", None) for kind, subject in
              (("session", "f/t/a"), ("session", "f/t/b"), ("backlog", ""), ("dead letters", "f/t/a"))]  # fmt: skip
    troubles, others = told_once(wrong, alerts)
    assert [each.alert for each in troubles] == [alerts[0], alerts[2]]
    assert others == [alerts[1], alerts[3]]


def test_processes_that_are_gone_are_shown_as_long_as_they_have_left_something_lying() -> None:
    """One that holds nothing and lives stands by, under its name."""
    rows = process_rows(
        [],
        [
            Process("ingest", "idle-one", "alive", 10, 0),
            Process("dispatch", "dead-one", "silent", 90_000, 0),
            Process("dispatch", "stuck-one", "silent", 90_000, 3),
        ],
    )
    assert [(row.name, row.does, row.state) for row in rows] == [
        ("idle-one", "stands by", "alive"),
        ("stuck-one", "3 messages in hand", "silent"),
    ]
