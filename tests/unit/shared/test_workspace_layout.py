"""Which files of a folder are meant: names, `wmill.yaml`, flows."""

from __future__ import annotations

import pytest

from shared.errors import WorkspaceError
from shared.workspace import Workspace, check_files, layout
from shared.workspace.files import Files
from shared.workspace.problems import Problems
from shared.workspace.selection import Selection, read_selection

MAIN = "def main(payload): ...\n"
FLOW = """\
summary: a flow
value:
  modules:
    - id: a
      value:
        type: rawscript
        content: '!inline check.inline_script.py'
        lock: !inline ./check.lock
        language: python3
        input_transforms:
          db: {type: static, value: '$res:f/a/db'}
    - id: b
      value: {type: script, path: f/a/there, input_transforms: {}}
timeout: 30
"""


def workspace(texts: dict[str, str], *skipped: str) -> Workspace:
    """Of these files."""
    return check_files(Files(texts, list(skipped)), "the folder", Problems())


@pytest.mark.parametrize(
    "file, owner",
    [
        ("f/a/t.mqtt_trigger.yaml", ("trigger", "f/a/t")),
        ("f/a/r.resource.yaml", ("resource", "f/a/r")),
        ("f/a/v.variable.yaml", ("variable", "f/a/v")),
        ("f/a/s.py", ("script", "f/a/s")),
        ("f/a/s.deno.ts", ("script", "f/a/s")),
        ("f/a/s.script.yaml", ("script", "f/a/s")),
        ("f/a/s.script.lock", ("script", "f/a/s")),
        ("f/a/x.flow/flow.yaml", ("flow", "f/a/x")),
        ("f/a/x__flow/check.py", ("flow", "f/a/x")),
        ("c.resource-type.yaml", None),
        ("f/a/folder.meta.yaml", None),
    ],
)
def test_a_file_that_means_something_belongs_to_a_definition(file: str, owner: tuple[str, str] | None) -> None:
    """Or stands for itself."""
    assert layout.means_something(file)
    assert layout.owner_of(file) == owner


@pytest.mark.parametrize(
    "file",
    [
        "f/a/s.schedule.yaml", "f/a/h.http_trigger.yaml", "f/a/s.go", "f/a/q.pg.sql", "settings.yaml", "README.md",
        "f/a/x.app/app.yaml", "f/a/x__app/button.py", "f/a/x.raw_app/index.ts", "f/a/v.staging.variable.yaml",
        "f/a/t.staging.mqtt_trigger.yaml", "f/a/folder.staging.meta.yaml", "f/a/types.d.ts", ".py",
    ],
)  # fmt: skip
def test_a_file_that_we_do_not_use_means_nothing(file: str) -> None:
    """It is listed as skipped, and never an error."""
    assert not layout.means_something(file)


def test_the_code_of_a_flow_is_scripts_of_the_flow() -> None:
    """They are no scripts of the workspace; their files are named from the flow's folder on."""
    check = "from f.lib.units import celsius\ndef main(db): ...\n"
    texts = {
        "f/a/x.flow/flow.yaml": FLOW, "f/a/x.flow/check.inline_script.py": check, "f/a/x.flow/check.lock": "a==1\n",
        "f/lib/units.py": "def celsius(): ...\n",
    }  # fmt: skip
    found = workspace(texts)
    flow = found.flows["f/a/x"]
    (script,) = flow.code.values()

    assert (script.path, script.entry, script.lock) == ("f/a/x/a", "f/a/x.flow/check.inline_script.py", "a==1")
    assert script.modules == {script.entry: check, "f/lib/units.py": texts["f/lib/units.py"]}
    assert (script.parameters, flow.flow.timeout_s, found.scripts) == (["db"], 30, {})
    assert [(each.name, each.line) for each in found.references] == [("resource:f/a/db", 11)]
    assert [(each.step, each.path, each.line) for each in flow.called] == [("b", "f/a/there", 13)]
    assert set(found.texts) == set(texts)


def test_a_flow_whose_inline_file_is_missing_is_refused() -> None:
    """With the place that names it."""
    with pytest.raises(WorkspaceError, match=r"x__flow/flow.yaml:7: .*content: there is no f/a/x__flow/check.inline"):
        workspace({"f/a/x__flow/flow.yaml": FLOW, "f/a/x__flow/check.lock": ""})


@pytest.mark.parametrize(
    "text", ["summary: x\n", "value: {}\n", "value: {modules: 3}\n", "value: {modules: []}\nvalu: 1\n"]
)
def test_a_flow_that_is_none_is_refused(text: str) -> None:
    """A value with a list of modules, and no unknown key."""
    with pytest.raises(WorkspaceError, match="1 problem"):
        workspace({"f/a/x.flow/flow.yaml": text})


def test_files_of_a_flow_that_is_not_there_are_skipped() -> None:
    """Nothing says what they are for."""
    assert workspace({"f/a/s.py": MAIN, "f/a/x.flow/check.py": "x"}).skipped == ["f/a/x.flow/check.py"]


def test_a_language_that_is_not_supported_is_an_error_only_where_a_trigger_names_it() -> None:
    """Nothing else is affected."""
    texts = {"f/a/s.py": MAIN, "f/a/old.script.yaml": "kind: script\n"}
    trigger = "script_path: f/a/old\nmqtt_resource_path: f/a/b\nsubscribe_topics: [{topic: x, qos: 1}]\n"
    broker = "resource_type: mqtt\nvalue: {broker: h, port: 1883}\n"

    assert workspace(texts, "f/a/old.go").skipped == ["f/a/old.go", "f/a/old.script.yaml"]
    with pytest.raises(WorkspaceError, match=r"f/a/old.go cannot be run: its language is not supported"):
        workspace(texts | {"f/a/t.mqtt_trigger.yaml": trigger, "f/a/b.resource.yaml": broker}, "f/a/old.go")


@pytest.mark.parametrize(
    "settings, covered, left",
    [
        ("{}", ["f/a/s.py", "x.py"], []),
        ("includes: ['f/**']", ["f/a/s.py", "f/s.py", "c.resource-type.yaml"], ["u/a/s.py", "fx/s.py"]),
        ("includes: ['f/*/s.py']", ["f/a/s.py"], ["f/a/b/s.py", "f/a/s.pyx"]),
        ("includes: ['**/s.py']", ["s.py", "f/a/s.py"], ["f/a/ss.py"]),
        ("includes: ['{f,u}/**']", ["f/s.py", "u/s.py"], ["g/s.py"]),
        ("includes: ['f/**']\nextraIncludes: ['u/alice/**']", ["u/alice/s.py"], ["u/bob/s.py"]),
        ("extraIncludes: ['u/alice/**']", ["f/s.py"], []),
        ("excludes: ['**/secret*', 'f/x/**']", ["f/a/s.py"], ["f/a/secrets.py", "f/x/s.py"]),
        ("skipScripts: true", ["f/a/t.mqtt_trigger.yaml"], ["f/a/s.py", "f/a/s.script.yaml"]),
        ("skipFlows: true", ["f/a/s.py"], ["f/a/x.flow/flow.yaml"]),
        ("skipVariables: true\nskipResources: true", ["f/a/s.py"], ["f/a/v.variable.yaml", "f/a/r.resource.yaml"]),
        ("skipResourceTypes: true\nskipFolders: true", ["f/a/s.py"], ["c.resource-type.yaml", "f/a/folder.meta.yaml"]),
    ],
)
def test_wmill_yaml_says_which_files_are_meant(settings: str, covered: list[str], left: list[str]) -> None:
    """By globs as Windmill's tools read them, and by kind."""
    problems = Problems()
    selection = read_selection(settings, problems)

    assert (problems.errors, problems.warnings) == ([], [])
    assert [file for file in covered if not selection.covers(file)] == []
    assert [file for file in left if selection.covers(file)] == []


def test_triggers_are_deployed_whatever_wmill_yaml_says_of_them() -> None:
    """Windmill's tools leave them out by default; a note tells that we don't."""
    problems = Problems()
    selection = read_selection("includeTriggers: false\nunknown: 1\n", problems)

    assert selection == Selection(encrypted=True)
    assert [(each.line, each.key) for each in problems.notes] == [(1, "includeTriggers")]
    read_selection("includes: f/**\n", problems)
    assert [each.key for each in problems.errors] == ["includes"]
