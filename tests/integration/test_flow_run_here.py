"""`headrace flow run` and `headrace test`: flows on this machine, in runners as a worker has them, without Redis."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from textwrap import dedent
from xml.etree import ElementTree as ET

import pytest

from tests.support.command_line import CommandLine
from tests.support.workspaces import trigger_yaml, write_workspace

NOWHERE = "redis://127.0.0.1:1/0"
FLOW = """\
value:
  preprocessor_module:
    value:
      type: rawscript
      language: python3
      content: |
        import base64, json
        def preprocessor(event):
            return {**json.loads(base64.b64decode(event["payload"])), "site": event["topic"].split("/")[1]}
  modules:
    - id: a
      value:
        type: rawscript
        language: python3
        content: '!inline check.py'
        input_transforms:
          t: {type: javascript, expr: flow_input.t}
          limit: {type: static, value: '$var:f/t/limit'}
      stop_after_if: {expr: "!result.hot", skip_if_stopped: true}
    - id: b
      value:
        type: branchone
        branches:
          - summary: very hot
            expr: results.a.t > 50
            modules:
              - id: c
                value:
                  type: flow
                  path: f/t/inner
                  input_transforms: {site: {type: javascript, expr: flow_input.site}}
        default:
          - id: l
            value:
              type: forloopflow
              iterator: {type: javascript, expr: "[1, 2, 3]"}
              parallel: true
              skip_failures: true
              modules:
                - id: x
                  value:
                    type: script
                    path: f/t/odd
                    input_transforms: {n: {type: javascript, expr: flow_input.iter.value}}
                  retry: {constant: {attempts: 1, seconds: 3600}}
  failure_module:
    value: {type: script, path: f/t/odd, input_transforms: {n: {type: javascript, expr: error.message}}}
"""
INNER = """\
value:
  modules:
    - id: a
      value:
        type: rawscript
        language: bash
        content: |
          site="$1"
          echo "stop $site"
        input_transforms: {site: {type: javascript, expr: flow_input.site}}
"""
SCRIPTS = {"odd": "def main(n):\n    if n == 2:\n        raise ValueError('even')\n    return n\n"}
CHECK = """\
import os


def main(t, limit):
    print("in", os.environ["WM_FLOW_STEP_ID"])
    return {"t": t, "hot": t > float(limit)}
"""
TESTS = """\
variables: {f/t/limit: '30'}
tests:
  - name: cold
    event: {topic: plant/7/temp, payload: {t: 10}, qos: qos1}
    expect: {result: {t: 10, hot: false}, skipped: true, steps: [preprocessor, a]}
  - name: hot
    event: {topic: plant/7/temp, payload: {t: 31}}
    expect: {branches: {b: default}, steps: [preprocessor, a, x, x, x, x]}
  - name: very hot
    args: {t: 51, site: north}
    fail: {c: away}
    expect: {branches: {b: very hot}, error: {name: Error, message: away}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace with two flows, one within the other, and a test."""
    trigger = trigger_yaml("json", ("plant/{site}/x", 1), extra="payload: json\n")
    root = write_workspace(tmp_path / "ws", 1883, {"j": trigger}, SCRIPTS | {"json": JSON})
    for name, text in {"hot": FLOW, "inner": INNER}.items():
        (root / f"f/t/{name}__flow").mkdir()
        (root / f"f/t/{name}__flow/flow.yaml").write_text(text)
    (root / "f/t/hot__flow/check.py").write_text(CHECK)
    (root / "f/t/limit.variable.yaml").write_text("value: '30'\nis_secret: false\n")
    return root


ASKS = """\
import json
import os


def main():
    with open(os.environ["WM_MOCKED_API_FILE"]) as file:
        return json.load(file)
"""
PUBLISHES = """\
import headrace


def main(t):
    headrace.publish("alarm/tank", {"t": t}, retain=True, broker="f/t/broker")
    headrace.publish("log", "hot", broker="f/t/broker")
"""
JSON = "import headrace\ndef main(payload):\n    return [payload['a'], headrace.run.captures]\n"


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> CommandLine:
    """The command line where there is no Redis."""
    monkeypatch.setenv("HEADRACE_DATA", str(tmp_path / "data"))
    return CommandLine(NOWHERE, monkeypatch, capsys)


def event(tmp_path: Path, payload: bytes) -> Path:
    """A captured event."""
    file = tmp_path / "event.json"
    file.write_text(
        json.dumps({"kind": "mqtt", "payload": base64.b64encode(payload).decode(), "topic": "plant/7/temp"})
    )
    return file


def test_a_flow_runs_on_an_event_step_by_step(local: CommandLine, folder: Path, tmp_path: Path) -> None:
    """Its preprocessor first; a step of a flow within it is shown below it."""
    said = local("flow", "run", "f/t/hot", "--dir", folder, "--event", event(tmp_path, b'{"t": 51}'))
    steps = [line.strip().split("  ")[0] for line in said.err.splitlines() if line.strip()[:1] in "✓→✗"]

    assert (said.status, json.loads(said.out)) == (0, "stop 7")
    assert steps == ["✓ preprocessor", "✓ a", "→ b", "✓ b/0/c/a"]
    assert "| in a" in said.err
    assert "f/t/hot succeeded in" in said.err


def test_what_steps_came_to_is_told_as_json(local: CommandLine, folder: Path) -> None:
    """A retry is not waited for if nobody wants to; parts of a parallel loop are steps of their own."""
    done = local.json("run", "f/t/hot", "--dir", folder, "--args", '{"t": 31}', "--no-wait")
    keys = [step["key"] for step in done["steps"]]

    assert [each if isinstance(each, int) else each["error"]["message"] for each in done["result"]] == [1, "even", 3]
    assert keys == ["a", "b", "b/1/l/0/x", "b/1/l/1/x", "b/1/l/1/x!retry", "b/1/l/1/x~1", "b/1/l/2/x"]
    assert done["steps"][4]["waited_s"] == 3600
    assert done["arguments"] == {"t": 31}


def test_a_flow_that_fails_is_exit_status_1(local: CommandLine, folder: Path) -> None:
    """With the step that failed, and what its failure module said."""
    said = local("run", "f/t/hot", "--dir", folder, "--args", '{"t": "warm"}')

    assert said.status == 1
    assert "✗ a" in said.err
    assert "✓ failure" in said.err
    assert "TypeError: '>' not supported" in said.err


def test_a_step_that_is_not_there_is_told_as_a_push_tells_it(local: CommandLine, folder: Path) -> None:
    """A folder alone has to hold all that a flow runs."""
    (folder / "f/t/odd.py").unlink()
    said = local("flow", "run", "f/t/hot", "--dir", folder, "--args", "{}")

    assert said.status == 1
    assert "step x.value.path: there is no script f/t/odd" in said.err


def test_only_flows_are_run_as_flows(local: CommandLine, folder: Path) -> None:
    """A near name is suggested."""
    assert "is a script and no flow" in local("flow", "run", "f/t/odd", "--dir", folder, "--args", "{}").err
    assert "did you mean f/t/inner?" in local("flow", "run", "f/t/iner", "--dir", folder, "--args", "{}").err


def test_the_tests_of_a_folder_are_run(local: CommandLine, folder: Path) -> None:
    """Of flows and scripts; by path, by folder, by file, from anywhere."""
    (folder / "f/t/hot.test.yaml").write_text(TESTS)
    (folder / "f/t/odd.test.yaml").write_text("tests: [{args: {n: 2}, expect: {error: ValueError}}]\n")
    (folder / "f/t/json.test.yaml").write_text(
        "tests: [{event: {topic: plant/9/x, payload: {a: 1}}, expect: {result: [1, {site: '9'}]}}]\n"
    )
    done = local.json("test", "--dir", folder)
    counts = [
        local.json("test", *paths, "--dir", folder)["passed"]
        for paths in (["f/t/hot"], ["f/t"], ["f/t/odd", "f/t/json"], [folder / "f/t/odd.test.yaml"])
    ]

    assert (done["passed"], done["failed"]) == (5, 0), done
    assert counts == [3, 5, 2, 1]


def test_a_test_that_fails_says_what_differs_and_where(local: CommandLine, folder: Path, tmp_path: Path) -> None:
    """With the steps, exit status 1, and XML for a CI system."""
    (folder / "f/t/hot.test.yaml").write_text(
        dedent("""\
            tests:
              - {name: good, args: {t: 1}, expect: {result: {t: 1, hot: false}}}
              - {name: bad, args: {t: 2}, expect: {result: {t: 3, hot: false}, steps: [b]}}
        """)
    )
    said = local("test", "--dir", folder, "--junit", tmp_path / "junit.xml")
    suite = ET.parse(tmp_path / "junit.xml").getroot()[0]  # noqa: S314 - our own file

    assert said.status == 1
    assert [line for line in said.out.splitlines() if "expected" in line] == [
        "      result.t: expected 3, is 2", "      steps: expected [b], ran [a]",
    ]  # fmt: skip
    assert "f/t/hot.test.yaml:3" in said.out
    assert "1 passed, 1 failed in" in said.out
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("f/t/hot.test.yaml", "2", "1")
    assert [case.get("name") for case in suite] == ["good", "bad"]
    assert suite[1][0].get("message") == "result.t: expected 3, is 2"


def test_code_that_asks_for_a_variable_is_given_that_of_the_folder_or_of_the_test(
    local: CommandLine, folder: Path
) -> None:
    """As Windmill's client does it where there is no server."""
    (folder / "f/t/asks.py").write_text(ASKS)
    (folder / "f/t/db.resource.yaml").write_text("resource_type: db\nvalue: {limit: '$var:f/t/limit'}\n")
    (folder / "f/t/key.variable.yaml").write_text("value:\nis_secret: true\n")
    tests = "[{args: {}, expect: {result_contains: {variables: {f/t/key: k, f/t/limit: '30'}}}}]"
    (folder / "f/t/asks.test.yaml").write_text(f"variables: {{f/t/key: k}}\ntests: {tests}\n")
    done = local.json("run", "f/t/asks", "--dir", folder, "--args", "{}")["result"]

    assert (done["variables"], done["resources"]["f/t/db"]) == ({"f/t/limit": "30"}, {"limit": "30"})
    assert local.json("test", "--dir", folder)["passed"] == 1


def test_what_would_be_published_is_told_and_may_be_expected(local: CommandLine, folder: Path) -> None:
    """Of a script, and of the steps of a flow."""
    (folder / "f/t/tells.py").write_text(PUBLISHES)
    (folder / "f/t/telling.flow").mkdir()
    (folder / "f/t/telling.flow/flow.yaml").write_text(
        "value: {modules: [{id: a, value: {type: script, path: f/t/tells, "
        "input_transforms: {t: {type: static, value: 3}}}}]}"
    )
    expected = "[{topic: alarm/tank, payload: {t: 3}, retain: true}, {topic: log, payload: hot}]"
    test = f"tests: [{{args: {{t: 3}}, expect: {{published: {expected}}}}}]\n"
    for name in ("tells", "telling"):
        (folder / f"f/t/{name}.test.yaml").write_text(test)
    said = local("flow", "run", "f/t/telling", "--dir", folder, "--args", "{}")

    assert "would publish alarm/tank (f/t/broker) at QoS 1" in said.err
    assert local.json("test", "--dir", folder)["passed"] == 2
    (folder / "f/t/tells.test.yaml").write_text(test.replace("payload: hot", "payload: cold"))
    assert 'published[1].payload: expected "cold", is "hot"' in local("test", "f/t/tells", "--dir", folder).out


def test_without_a_test_there_is_nothing_to_pass(local: CommandLine, folder: Path) -> None:
    """A CI job that tests nothing by mistake is not green."""
    said = local("test", "f/t/other", "--dir", folder)

    assert said.status == 1
    assert "there are no tests for f/t/other" in said.err


def test_tests_are_not_deployed(
    redis_url: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A push neither reads nor lists them, and a pull leaves them where they are."""
    (folder / "f/t/hot.test.yaml").write_text(TESTS)
    monkeypatch.setenv("HEADRACE_DATA", str(tmp_path / "data"))
    command = CommandLine(redis_url, monkeypatch, capsys)
    pushed = command.json("push", folder)
    command.text("pull", folder, "--prune", "--yes")

    assert pushed["skipped"] == []
    assert (folder / "f/t/hot.test.yaml").read_text() == TESTS


def test_a_deployed_flow_runs_here_too(
    redis_url: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With all that it runs, in the versions that it names."""
    monkeypatch.setenv("HEADRACE_DATA", str(tmp_path / "data"))
    command = CommandLine(redis_url, monkeypatch, capsys)
    command.text("push", folder)

    assert command.json("flow", "run", "f/t/hot", "--args", '{"t": 51, "site": "x"}')["result"] == "stop x"
