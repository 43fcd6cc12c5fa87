"""Every field of OpenFlow does what its page says: on this machine, and in a worker."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from textwrap import indent

import msgspec
import pytest

from shared import history
from shared.cli_common import settings
from shared.definitions import Runnable
from shared.deployment import read_deployed
from shared.docs.openflow import Field, read_table, render
from shared.errors import WorkspaceError
from shared.flow_nodes import StepNode, id_of
from shared.history import RunDetails
from shared.openflow import FlowModule, FlowValue
from shared.store import Store
from shared.workspace import flow_steps, read_workspace
from shared.workspace.problems import Problems
from tests.support.command_line import CommandLine
from tests.support.eventually import eventually
from tests.support.flows import queue_flows, run_flow
from tests.support.processes import HeadraceProcess
from worker.catalog import of_folder
from worker.here import Here
from worker.testing.cases import Case, read_suite
from worker.testing.compare import Came, problems
from worker.testing.run import Examiner

TABLE = read_table()
FIELDS = [field for section in TABLE.sections for field in section.fields]
EXECUTED = [field for field in FIELDS if field.tests]
PATH = "f/c/flow"


def written(folder: Path, field: Field, path: str = PATH) -> Path:
    """A workspace folder with the flow of this field."""
    flow = f"value:\n{indent(field.flow, '  ')}"
    for name, text in {**TABLE.files, **field.files, f"{path}.flow/flow.yaml": flow}.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def cases(field: Field, path: str = PATH) -> list[Case]:
    """The tests of a field, read as those in a file are."""
    text = msgspec.json.encode({"tests": field.tests}).decode()
    found = Problems()
    suite = read_suite(f"{path}.test.yaml", text, lambda _file: None, found)
    found.check("the table")
    assert suite is not None
    return suite.cases


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    """Runners that are shared by all tests."""
    with Here(settings(), tmp_path_factory.mktemp("here")) as here:
        yield here


@pytest.mark.parametrize("field", EXECUTED, ids=lambda field: field.name)
def test_a_field_does_what_its_page_says(field: Field, here: Here, tmp_path: Path) -> None:
    """Executed here, step by step."""
    catalog = of_folder(written(tmp_path, field), settings(), lambda _text: None, {PATH})
    tester = Examiner(catalog, here, settings())
    suite = read_suite(f"{PATH}.test.yaml", "tests: [{args: {}}]", lambda _file: None, Problems())
    assert suite is not None
    for case in cases(field):
        verdict = tester.verdict(suite, case)
        assert verdict.problems == [], verdict


@pytest.mark.parametrize("field", [field for field in FIELDS if field.refused], ids=lambda field: field.name)
def test_what_is_refused_is_an_error_that_names_step_and_field(field: Field, tmp_path: Path) -> None:
    """And nothing else is wrong with the flow."""
    with pytest.raises(WorkspaceError) as error:
        read_workspace(written(tmp_path, field))

    assert [problem.key for problem in error.value.fields["problems"]] == [field.refused]  # type: ignore[attr-defined]


@pytest.mark.parametrize("field", [field for field in FIELDS if field.warned], ids=lambda field: field.name)
def test_what_does_nothing_is_warned_of(field: Field, tmp_path: Path) -> None:
    """Where somebody may count on it."""
    assert [problem.key for problem in read_workspace(written(tmp_path, field)).warnings] == [field.warned]


def test_a_worker_comes_to_the_same(
    redis_url: str,
    headrace: Callable[..., HeadraceProcess],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All flows of the table in one workspace: pushed, run, shown."""
    monkeypatch.setenv("HEADRACE_DATA", str(tmp_path / "data"))
    command = CommandLine(redis_url, monkeypatch, capsys)
    store = Store.connect(redis_url)
    paths = {f"f/c/flow{number}": field for number, field in enumerate(EXECUTED)}
    for path, field in paths.items():
        written(tmp_path / "ws", field, path)
    command.text("push", tmp_path / "ws")
    versions = read_deployed(
        *store.commands([("HGET", "headrace:deployment", "number"), ("HGETALL", "headrace:deployed")])
    )
    wanted: dict[str, tuple[Field, Case]] = {}
    for path, field in paths.items():
        flow = Runnable(path, versions.versions[f"flow:{path}"], 60, is_flow=True)
        for case in cases(field, path):
            run_id = f"q1-case-1-{len(wanted)}"
            wanted[run_id] = field, case
            if case.args is not None:
                run_flow(store, flow, run_id, case.args)
            else:
                assert case.event is not None
                payload = msgspec.json.encode(field.tests[0]["event"]["payload"])
                queue_flows(store, flow, run_id, payload=payload, topic=case.event.topic)
    headrace("worker", REDIS_URL=redis_url)

    for run_id, (field, case) in wanted.items():
        eventually(lambda run_id=run_id: history.show(store, run_id).run.ended_at is not None, timeout_s=30)  # type: ignore[misc]
        assert (field.name, problems(case.expected, what_came(history.show(store, run_id)))) == (field.name, [])
        assert case.path in command.text("runs", "show", run_id)


def what_came(details: RunDetails) -> Came:
    """What is on record of a run, as a test of it here would tell it: of steps that ran code, and branches taken."""
    run, ran = details.run, []
    taken: dict[str, list[str]] = {}
    for node in in_order(details.steps):
        if node.runnable and node.state != "mocked" and node.kind != "flow":
            ran.append(id_of(node.key))
        if node.kind in {"branch", "default"} and node.has_begun:
            taken.setdefault(id_of(node.key.rpartition("/")[0]), []).append(node.summary or node.kind)
    return Came(run.state == "succeeded", run.result, run.error, details.attempts[-1].skipped, ran, taken)


def in_order(nodes: Iterable[StepNode]) -> Iterator[StepNode]:
    """Each with what stands within it."""
    for node in nodes:
        yield node
        yield from in_order(node.steps)


def test_every_field_that_a_push_knows_is_on_the_page() -> None:
    """Those that are read, those that mean nothing, those that are refused, and every kind of step."""
    steps = flow_steps.Steps()
    known = {*FlowValue.__struct_fields__, *FlowModule.__struct_fields__, *steps.kinds}
    known |= {*flow_steps.LEFT_OUT_OF_FLOW, *flow_steps.LEFT_OUT_OF_MODULE, *flow_steps.LEFT_OUT_KINDS}
    known |= {*flow_steps.NO_MEANING_IN_CODE}
    text = render()

    assert {name for name in known if not re.search(rf"`[^`\n]*\b{name}\b", text)} == set()
