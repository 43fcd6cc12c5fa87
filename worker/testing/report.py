"""The verdicts of tests: as people read them, and as JUnit's XML, which CI systems read. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from xml.etree import ElementTree as ET

from shared.definitions import Flow
from shared.tables import duration, printable, printable_lines
from worker.catalog import Catalog
from worker.flow_page import step_lines
from worker.testing.run import Verdict

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def lines(verdict: Verdict, catalog: Catalog) -> Iterator[str]:
    """A line for the test; of one that has failed what differs, the steps, and the log."""
    sign = "✓" if verdict.passed else "✗"
    yield f"  {sign} {printable(verdict.name)}  {duration(verdict.duration_ms)}"
    if verdict.passed:
        return
    yield from (f"      {line}" for problem in verdict.problems for line in printable_lines(problem).splitlines())
    yield f"      {verdict.file}:{verdict.line}"
    flow = catalog.flows.get(verdict.path)
    if flow is not None:
        yield from (f"      {line}" for line in _steps(flow, verdict))
    yield from (f"      | {line}" for line in printable_lines(verdict.log).splitlines())


def summary(verdicts: Iterable[Verdict], took_ms: float) -> str:
    """`3 passed, 1 failed in 2.1 s`."""
    verdicts = list(verdicts)
    failed = sum(not each.passed for each in verdicts)
    counts = [f"{len(verdicts) - failed} passed"] + ([f"{failed} failed"] if failed else [])
    return f"{', '.join(counts)} in {duration(took_ms)}"


def junit(verdicts: Iterable[Verdict], catalog: Catalog) -> bytes:
    """A suite for each file, a case for each test."""
    root = ET.Element("testsuites")
    for file, group in groupby(verdicts, lambda each: each.file):
        own = list(group)
        suite = ET.SubElement(root, "testsuite", {
            "name": file, "tests": str(len(own)), "failures": str(sum(not each.passed for each in own)),
            "errors": "0", "time": _seconds(sum(each.duration_ms for each in own)),
        })  # fmt: skip
        for each in own:
            _case(suite, each, catalog)
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _case(suite: ET.Element, verdict: Verdict, catalog: Catalog) -> None:
    attributes = {
        "classname": verdict.path.replace("/", "."), "name": _plain(verdict.name), "file": verdict.file,
        "line": str(verdict.line), "time": _seconds(verdict.duration_ms),
    }  # fmt: skip
    case = ET.SubElement(suite, "testcase", attributes)
    if not verdict.passed:
        failure = ET.SubElement(case, "failure", {"message": _plain(verdict.problems[0])})
        failure.text = _plain("\n".join(verdict.problems))
    flow = catalog.flows.get(verdict.path)
    output = "\n".join(_steps(flow, verdict)) if flow is not None and verdict.steps else verdict.log
    if output:
        ET.SubElement(case, "system-out").text = _plain(output)


def _steps(flow: Flow, verdict: Verdict) -> Iterator[str]:
    for step in verdict.steps:
        yield from step_lines(flow, step, None)


def _seconds(ms: float) -> str:
    return f"{ms / 1000:.3f}"


def _plain(text: str) -> str:
    """XML 1.0 holds no control characters."""
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)
