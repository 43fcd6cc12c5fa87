"""Events and how the log shows them."""

from __future__ import annotations

import ast
import io
import json
import logging
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from shared import events, logs
from shared.config import LogSettings
from shared.docs import configuration
from shared.docs import events as events_page
from shared.errors import InternalError, StoreUnavailable

RESERVED = {"event", "level", "timestamp", "message", "hint", "traceback", "self"}
Format = Literal["console", "json"]


@pytest.fixture(autouse=True)
def restore_the_log() -> Iterator[None]:
    """Leave logging as it was found."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    before = events.send_to(lambda *_: None)
    yield
    events.send_to(*before)
    root.handlers, root.level = handlers, level
    logging.captureWarnings(capture=False)


def log(
    form: Format = "console", *, runs: bool = False, level: Literal["debug", "info", "warning"] = "info"
) -> io.StringIO:
    """A log that can be read."""
    stream = io.StringIO()
    logs.configure(LogSettings(format=form, runs=runs, level=level), "ingest", stream)
    return stream


def reports(tree: ast.AST) -> list[ast.Call]:
    """The calls of `emit` or `events.emit` that name their event."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    return [
        call
        for call in calls
        if ast.unparse(call.func) in {"emit", "events.emit"} and isinstance(call.args[0], ast.Constant)
    ]


def test_an_unknown_event_or_field_is_a_defect() -> None:
    """The table is the contract, and it is enforced even for events that are not shown."""
    with pytest.raises(InternalError, match="'no_such'"):
        events.emit("no_such")
    with pytest.raises(InternalError, match="colour"):
        events.emit("runs.pruned", runs=1, colour="red")


def test_every_report_in_the_code_is_in_the_table() -> None:
    """A slip in a path that is rarely taken would end the process there."""
    for package in ("shared", "ingest", "dispatch", "worker", "console"):
        for file in (Path(events.__file__).parent.parent / package).rglob("*.py"):
            for call in reports(ast.parse(file.read_text(encoding="utf-8"))):
                name = ast.literal_eval(call.args[0])
                fields = {keyword.arg for keyword in call.keywords if keyword.arg}
                assert fields <= events.EVENTS[name].fields.keys(), f"{file}:{call.lineno} {name}"


def test_every_event_reads_well_and_every_field_is_used() -> None:
    """Descriptions are sentences, sentences for people use the event's fields, the vocabulary has nothing idle."""
    used: set[str] = set()
    for spec in events.EVENTS.values():
        assert spec.description.endswith(".")
        assert {field for _, field, _, _ in string.Formatter().parse(spec.line) if field} <= spec.fields.keys()
        used |= spec.fields.keys()
    assert used == events.FIELDS.keys()
    assert not used & RESERVED


def test_a_sink_gets_level_name_and_fields() -> None:
    """What the log and the tests build on."""
    seen: list[tuple[str, str, dict[str, object]]] = []
    events.send_to(lambda *event: seen.append(event))

    events.emit("lease.lost", trigger="f/a", reason="late")

    assert seen == [("warning", "lease.lost", {"trigger": "f/a", "reason": "late"})]


def test_the_ready_line_is_a_sentence_followed_by_fields() -> None:
    """People and supervisors look for `headrace ingest ready`."""
    stream = log()

    events.emit("process.ready", process="ingest", redis="redis://127.0.0.1")

    assert stream.getvalue().endswith(" info    headrace ingest ready  redis=redis://127.0.0.1\n")


def test_a_json_line_holds_the_fields_as_they_are() -> None:
    """One object per line, with the sentence where there is one."""
    stream = log("json")

    events.emit("process.ready", process="ingest", redis="r")
    events.emit("session.subscribed", trigger="f/a", granted={"a/#": 1})

    ready, subscribed = map(json.loads, stream.getvalue().splitlines())
    assert ready["message"] == "headrace ingest ready"
    assert (ready["event"], ready["level"], ready["process"]) == ("process.ready", "info", "ingest")
    assert subscribed["granted"] == {"a/#": 1}
    assert "message" not in subscribed


@pytest.mark.parametrize("runs,level,lines", [(0, "info", 0), (1, "info", 1), (1, "warning", 1), (0, "debug", 1)])
def test_finished_runs_are_shown_only_where_they_are_wanted(
    runs: int, level: Literal["debug", "info", "warning"], lines: int
) -> None:
    """Healthy runs are silent unless log.runs or the level asks for them."""
    stream = log(runs=bool(runs), level=level)

    events.emit("run.finished", trigger="f/a", topic="a/b", qos=1, state="succeeded", duration_ms=1.25, result="{}")

    assert stream.getvalue().count("f/a: a/b (QoS 1) succeeded in 1.25 ms  result={}\n") == lines


@pytest.mark.parametrize("topic", ["a\nb", "a\x1b[2Jb", "a\x85b", "a\u2028b"])
@pytest.mark.parametrize("form", ["console", "json"])
def test_a_message_cannot_break_or_repaint_the_log(topic: str, form: Format) -> None:
    """Control characters of a topic are shown, not obeyed."""
    stream = log(form)

    events.emit("message.invalid", trigger="f/a", topic=topic, qos=0, reason=f"because of {topic}")

    lines = stream.getvalue().split("\n")
    assert len(lines) == 2
    assert "\x1b" not in lines[0]


@pytest.mark.parametrize("form", ["console", "json"])
def test_an_error_of_ours_is_logged_with_its_hint_and_no_traceback(form: Format) -> None:
    """What happened and what to do; a traceback is for defects."""
    stream = log(form)

    events.emit("store.unavailable", error=StoreUnavailable("Redis is away", hint="start it"))
    assert "Redis is away" in stream.getvalue()
    assert "start it" in stream.getvalue()
    assert "Traceback" not in stream.getvalue()

    events.emit("process.failed", process="ingest", error=ZeroDivisionError("division by zero"))
    assert "ZeroDivisionError: division by zero" in stream.getvalue()


def test_warnings_of_libraries_join_the_log_and_their_chatter_does_not() -> None:
    """asyncio, rq and the like are heard from WARNING on."""
    stream = log()

    logging.getLogger("rq.worker").info("chatter")
    logging.getLogger("rq.worker").warning("trouble with %s", "a job")

    assert stream.getvalue().endswith('warning library.warning           logger=rq.worker text="trouble with a job"\n')


def test_a_field_that_is_none_is_absent() -> None:
    """A line says what is known."""
    stream = log()

    events.emit("session.connected", trigger="f/a", protocol=None)

    assert stream.getvalue().endswith("trigger=f/a\n")


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    """A closed terminal is no reason to stop work."""
    log().close()

    events.emit("lease.acquired", trigger="f/a")


def test_the_reference_pages_name_every_event_and_are_tables() -> None:
    """What is rendered holds what the code holds."""
    page = events_page.render()

    assert all(f"## `{name}`" in page for name in events.EVENTS)
    assert "| `max_payload` | `16777216` | an integer from 1 to 67108864 |" in configuration.render()
