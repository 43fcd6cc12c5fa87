"""Flows as files: what is read of `flow.yaml`, and what is refused, with the step and the field."""

from __future__ import annotations

import msgspec
import pytest

from shared.errors import WorkspaceError
from shared.openflow import (
    BranchAll,
    BranchOne,
    FlowStep,
    ForLoop,
    Identity,
    JavaScript,
    Mock,
    RawScript,
    ScriptStep,
    SkipIf,
    Static,
    StopAfterIf,
    WhileLoop,
    walk,
)
from shared.retry_policy import ConstantRetry, ExponentialRetry, Retry
from shared.workspace.problems import Problem
from tests.support.flow_files import FILE, flow_file, flow_value, workspace_of

EXAMPLE = """\
{"modules": [
  {"id":"a","summary":"check","value":{"type":"rawscript","language":"python3",
     "content":"def main(t: float, site: str):\\n    return {'t': t, 'hot': t > 30}\\n",
     "input_transforms":{"t":{"type":"javascript","expr":"flow_input.t"},"site":{"type":"static","value":"north"}}},
   "stop_after_if":{"expr":"!result.hot","skip_if_stopped":true},
   "retry":{"constant":{"attempts":2,"seconds":1}},"timeout":{"type":"static","value":30}},
  {"id":"b","value":{"type":"branchone","default":[{"id":"c","value":{"type":"script","path":"f/iot/log",
        "input_transforms":{"row":{"type":"javascript","expr":"results.a"}}}}],
     "branches":[{"summary":"very hot","expr":"results.a.t > 50","modules":[
        {"id":"d","value":{"type":"flow","path":"f/iot/shutdown",
          "input_transforms":{"site":{"type":"javascript","expr":"flow_input.site"}}}}]}]}}],
 "preprocessor_module":{"id":"preprocessor","value":{"type":"rawscript","language":"python3",
     "content":"def preprocessor(event: dict):\\n    return {'t': 1}\\n","input_transforms":{}}},
 "failure_module":{"id":"failure","value":{"type":"script","path":"f/iot/on_error",
     "input_transforms":{"error":{"type":"javascript","expr":"error"}}}}}
"""
STEPS = """\
value:
  modules:
    - id: a
      value:
        type: identity
    - id: b
      value:
        type: identity
"""


def problems(text: str) -> list[Problem]:
    """What a push says of this flow.yaml."""
    with pytest.raises(WorkspaceError) as caught:
        workspace_of({FILE: text})
    found: object = caught.value.fields["problems"]
    return msgspec.convert(found, list[Problem], from_attributes=True)


def with_step(module: str) -> str:
    """A flow.yaml with this after its first two steps."""
    lines = module.rstrip("\n").split("\n")
    return STEPS + "    - " + "\n      ".join(lines) + "\n"


def test_openflow_in_json_is_read_as_it_is_written() -> None:
    """JSON is YAML; the steps, the preprocessor and the failure module."""
    value = flow_value(EXAMPLE)

    assert [module.id for module in walk(value)] == ["preprocessor", "a", "b", "d", "c", "failure"]
    first, second = value.modules
    assert first.value == RawScript({"t": JavaScript("flow_input.t"), "site": Static("north")})
    assert first.stop_after_if == StopAfterIf("!result.hot", skip_if_stopped=True)
    assert (first.retry, first.timeout) == (Retry(ConstantRetry(2, 1)), Static(30))
    assert isinstance(second.value, BranchOne)
    assert second.value.branches[0].modules[0].value == FlowStep(
        "f/iot/shutdown", {"site": JavaScript("flow_input.site")}
    )
    assert second.value.default[0].value == ScriptStep("f/iot/log", {"row": JavaScript("results.a")})


def test_every_field_of_a_step_is_read() -> None:
    """A number stands for a static transform."""
    (module,) = flow_value("""
        modules:
          - id: a
            summary: all of it
            value: {type: identity}
            stop_after_if: {expr: result.done, error_message: enough, error_include_result: true}
            skip_if: {expr: flow_input.skip}
            sleep: 1.5
            retry:
              exponential: {attempts: 3, multiplier: 2, seconds: 2, random_factor: 10}
              retry_if: {expr: "error.name != 'Fatal'"}
            continue_on_error: true
            mock: {enabled: true, return_value: [1]}
    """).modules

    assert (module.summary, module.value, module.sleep) == ("all of it", Identity(), Static(1.5))
    assert module.stop_after_if == StopAfterIf("result.done", error_message="enough", error_include_result=True)
    assert (module.skip_if, module.continue_on_error) == (SkipIf("flow_input.skip"), True)
    assert module.retry == Retry(exponential=ExponentialRetry(3, 2, 2, 10), retry_if="error.name != 'Fatal'")
    assert module.mock == Mock(enabled=True, return_value=[1])


def test_loops_and_branches_are_read() -> None:
    """With what says how they run."""
    value = flow_value("""
        same_worker: true
        skip_expr: flow_input.t == null
        flow_env: {limit: 30}
        modules:
          - id: a
            value:
              type: forloopflow
              iterator: {type: javascript, expr: flow_input.items}
              parallel: true
              parallelism: 3
              skip_failures: true
              squash: true
              modules: [{id: b, value: {type: identity}}]
            stop_after_all_iters_if: {expr: result.length > 1}
          - id: c
            value:
              type: whileloopflow
              skip_failures: false
              modules: [{id: d, value: {type: identity}, stop_after_if: {expr: "flow_input.iter.index > 3"}}]
          - id: e
            value:
              type: branchall
              parallel: true
              branches: [{summary: one, skip_failure: true, parallel: true, modules: []}]
    """)
    loop, repeat, fork = (module.value for module in value.modules)

    assert (value.same_worker, value.skip_expr, value.flow_env) == (True, "flow_input.t == null", {"limit": 30})
    assert isinstance(loop, ForLoop)
    assert (loop.iterator, loop.parallel, loop.parallelism, loop.skip_failures) == (
        JavaScript("flow_input.items"), True, Static(3), True,
    )  # fmt: skip
    assert isinstance(repeat, WhileLoop)
    assert isinstance(fork, BranchAll)
    assert (fork.parallel, fork.branches[0].skip_failure) == (True, True)


@pytest.mark.parametrize(
    "module, line, key, word, hint",
    [
        ("value: {type: identity}", 9, "value.modules[2].id", "missing", ""),
        ("id: a\nvalue: {type: identity}", 9, "value.modules[2].id", "'a' is the step on line 3 too", "unique"),
        ("id: 2x\nvalue: {type: identity}", 9, "value.modules[2].id", "no identifier", "first no digit"),
        ("id: a-b\nvalue: {type: identity}", 9, "value.modules[2].id", "no identifier", ""),
        ("id: failure\nvalue: {type: identity}", 9, "value.modules[2].id", "the failure module has this id", ""),
        ("id: c", 9, "step c.value", "missing", ""),
        ("id: c\nvalue: {}", 10, "step c.value.type", "missing", ""),
        ("id: c\nvalue: {type: forlopflow}", 10, "step c.value.type", "no kind of step", "did you mean forloopflow?"),
        ("id: c\nvalue: {type: aiagent}", 10, "step c.value.type", "aiagent is not supported", ""),
        ("id: c\nvalue: {type: identity}\nretries: {}", 11, "step c.retries", "unknown key", "did you mean retry?"),
        ("id: c\nvalue: {type: identity, paralel: 1}", 10, "step c.value.paralel", "unknown key", ""),
        ("id: c\nvalue: {type: identity}\nsuspend: {required_events: 1}", 11, "step c.suspend", "is not supported", ""),
        ("id: c\nvalue: {type: identity}\ncache_ttl: 60", 11, "step c.cache_ttl", "is not supported", ""),
        ("id: c\nvalue: {type: identity}\npriority: 10", 11, "step c.priority", "is not supported", ""),
        ("id: c\nvalue: {type: identity}\nsleep: soon", 11, "step c.sleep", "expected a number", ""),
        ("id: c\nvalue: {type: script, path: f/t/s}\ntimeout: 0", 11, "step c.timeout", "a number above 0", ""),
        ("id: c\nvalue: {type: forloopflow, modules: [], iterator: {type: static, value: []}, parallelism: 2.5}", 10,
         "step c.value.parallelism", "a whole number from 1 to 10000", ""),
        ("id: c\nvalue: {type: identity}\nretry: {exponential: {attempts: 2}}", 11, "step c.retry.exponential.seconds",
         "missing, or 0", ""),
        ("id: c\nvalue: {type: identity}\nretry: {constant: {attempts: 1001}}", 11, "step c.retry.constant.attempts",
         "from 0 to 1000", ""),
        ("id: c\nvalue: {type: script, path: hub/1/x}", 10, "step c.value.path", "Windmill's hub", "copy it"),
        ("id: c\nvalue: {type: script}", 10, "step c.value.path", "missing", ""),
        ("id: c\nvalue: {type: script, path: f/x, input_transforms: {n: {type: ai}}}", 10,
         "step c.value.input_transforms.n.type", "ai is not supported", ""),
        ("id: c\nvalue: {type: script, path: f/x, input_transforms: {n: 3}}", 10,
         "step c.value.input_transforms.n", "is 3", ""),
        ("id: c\nvalue: {type: whileloopflow, parallel: true, modules: []}", 10, "step c.value.parallel",
         "each iteration needs the one before", ""),
        ("id: c\nvalue: {type: forloopflow, modules: []}", 10, "step c.value.iterator", "missing", ""),
        ("id: c\nvalue: {type: forloopflow, modules: [], iterator: {type: static, value: 3}}", 10,
         "step c.value.iterator", "is no list", ""),
        ("id: c\nvalue: {type: branchone, branches: [{modules: []}]}", 10, "step c.value.branches[0].expr",
         "missing", ""),
        ("id: c\nvalue: {type: rawscript, language: go, content: x}", 10, "step c.value.language",
         "go is not supported", "supported are python3"),
        ("id: c\nvalue: {type: rawscript, language: pyhton3, content: x}", 10, "step c.value.language",
         "no language", "did you mean python3?"),
        ("id: c\nvalue: {type: rawscript, language: python3, content: 'def man(): ...'}", 10, "step c.value.content",
         "no function main", "def main"),
        ("id: c\nvalue: {type: rawscript, language: bun, content: 'let x'}", 10, "step c.value.content",
         "no function main", "export async function main"),
        ('id: c\nvalue: {type: rawscript, language: python3, content: "a = 1\\ndef main(:"}', 10,
         "step c.value.content", "on line 2 of the code", ""),
        ("id: c\nvalue: {type: rawscript, language: python3, content: '!inline gone.py'}", 10, "step c.value.content",
         "there is no f/t/flow.flow/gone.py", ""),
        ("id: c\nvalue: {type: rawscript, language: bash, content: ls, concurrent_limit: 2}", 10,
         "step c.value.concurrent_limit", "is not supported", ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_step_and_field(module: str, line: int, key: str, word: str, hint: str) -> None:
    """In the file's line, by the path of keys within the step."""
    found = problems(with_step(module))

    assert [(each.file, each.line, each.key) for each in found] == [(FILE, line, key)]
    assert word in found[0].message
    assert hint in found[0].hint


@pytest.mark.parametrize(
    "text, line, key, word",
    [
        (STEPS + "  concurrent_limit: 1\n", 9, "value.concurrent_limit", "is not supported"),
        (STEPS + "  concurrency_key: $args[site]\n", 9, "value.concurrency_key", "is not supported"),
        (STEPS + "  debounce_delay_s: 5\n", 9, "value.debounce_delay_s", "is not supported"),
        (STEPS + "  cache_ttl: 5\n", 9, "value.cache_ttl", "is not supported"),
        (STEPS + "  chat_input_enabled: true\n", 9, "value.chat_input_enabled", "is not supported"),
        (STEPS + "  failure_modul: {}\n", 9, "value.failure_modul", "unknown key"),
        (STEPS + "  failure_module: {value: {type: identity}}\n", 9, "step failure.value.type", "expected one of"),
        (STEPS + "  failure_module: {id: oops, value: {type: script, path: f/x}}\n", 9, "value.failure_module.id",
         "has to be failure"),
        (STEPS + "  preprocessor_module: {value: {type: flow, path: f/x}}\n", 9, "step preprocessor.value.type",
         "expected one of rawscript, script"),
        (STEPS + "  preprocessor_module: {value: {type: rawscript, language: bash, content: ls}}\n", 9,
         "step preprocessor.value.language", "bash makes no arguments"),
        (STEPS + "  preprocessor_module: {value: {type: rawscript, language: python3, content: 'def main(): 1'}}\n", 9,
         "step preprocessor.value.content", "no function preprocessor"),
        (STEPS + "  flow_env: 3\n", 9, "value.flow_env", "not a table"),
        (STEPS + "priority: 3\n", 9, "priority", "is not supported"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_flow_is_told_with_its_field(text: str, line: int, key: str, word: str) -> None:
    """Of the flow itself, its preprocessor and its failure module."""
    found = problems(text)

    assert [(each.line, each.key) for each in found] == [(line, key)]
    assert word in found[0].message


def test_fields_that_mean_nothing_here_are_accepted() -> None:
    """Notes, tags and what Windmill writes where nothing is asked for."""
    found = workspace_of({
        FILE: """\
            summary: all
            description: ''
            tag: flow
            labels: [iot]
            visible_to_runner_only: false
            ws_error_handler_muted: true
            on_behalf_of_email: ''
            schema: {type: object, properties: {t: {type: number}}}
            value:
              notes: [{text: hi}]
              groups: []
              preserve_step_tags: true
              concurrent_limit: null
              cache_ttl: 0
              modules:
                - id: a
                  priority: null
                  value: {type: rawscript, language: bash, content: ls, input_transforms: {}, tag: bash, assets: [],
                          is_trigger: false, lock: '', path: f/t/flow/a, concurrent_limit: 0}
        """,
    })  # fmt: skip
    flow = found.flows["f/t/flow"].flow

    assert found.warnings == []
    assert (flow.parameters, flow.ws_error_handler_muted) == (["t"], True)


def test_a_loop_that_nothing_ends_is_warned_about() -> None:
    """It may be meant: an error ends it too."""
    found = workspace_of({FILE: with_step("id: c\nvalue: {type: whileloopflow, modules: []}")})

    assert [(each.line, each.key) for each in found.warnings] == [(10, "step c.value")]


@pytest.mark.parametrize(
    "fields, key",
    [
        ("sleep: 1", "step c.sleep"),
        ("retry: {constant: {attempts: 1, seconds: 1}}", "step c.retry"),
        ("value: {type: branchall, parallel: true, branches: []}", "step c.value"),
    ],
)
def test_what_empties_the_folder_that_steps_share_is_warned_about(fields: str, key: str) -> None:
    """Only where they share one; a retry at once keeps it."""
    step = f"id: c\n{fields}" + ("" if "value" in fields else "\nvalue: {type: identity}")
    text = with_step(step)
    shared = text.replace("value:\n", "value:\n  same_worker: true\n", 1)
    assert workspace_of({FILE: text}).warnings == []
    assert [each.key for each in workspace_of({FILE: shared}).warnings] == [key]


def test_a_stop_on_a_branchall_is_warned_about() -> None:
    """It has no iterations."""
    step = "id: c\nvalue: {type: branchall, branches: []}\nstop_after_if: {expr: 'true'}"
    assert [each.key for each in workspace_of({FILE: with_step(step)}).warnings] == ["step c.stop_after_if"]


def test_a_constant_is_no_reference() -> None:
    """Only inputs of steps are replaced."""
    texts = {FILE: STEPS + "  flow_env: {key: '$var:f/t/key'}\n", "f/t/key.variable.yaml": "value: x\n"}

    assert [(each.line, each.key) for each in workspace_of(texts).warnings] == [(9, "value.flow_env")]


def test_code_that_stands_in_the_flow_is_named_after_its_step() -> None:
    """So that errors of the code have a place; a file of another language is not taken for one of this."""
    flow = flow_file(
        with_step("id: c\nvalue: {type: rawscript, language: python3, content: 'def main(): ...'}"), helper_py="x = 1"
    )

    assert flow.code["c"].entry == "f/t/flow.flow/c.py"


def test_the_preprocessor_of_a_flow_may_be_a_script_that_is_nothing_else() -> None:
    """One with a main too is called for its preprocessor alone."""
    text = STEPS + "  preprocessor_module: {value: {type: script, path: f/t/pre}}\n"
    alone = workspace_of({FILE: text, "f/t/pre.py": "def preprocessor(event): ...\n"})
    both = workspace_of({FILE: text, "f/t/pre.ts": "export function main() {}\nexport function preprocessor(e) {}\n"})
    none = {FILE: text, "f/t/pre.py": "def main(): ...\n"}

    for found in (alone, both):
        script = found.flows["f/t/flow"].code["preprocessor"]
        assert (script.function, script.has_preprocessor) == ("preprocessor", False)
    with pytest.raises(WorkspaceError, match="f/t/pre has no function preprocessor"):
        workspace_of(none)


def test_a_script_named_as_a_flow_and_the_other_way_round_is_told() -> None:
    """The folder has the one and not the other."""
    script = {"f/t/x.py": "def main(): ...\n", "f/t/y__flow/flow.yaml": "value: {modules: []}\n"}
    for module, hint in [("{type: flow, path: f/t/x}", "type: script"), ("{type: script, path: f/t/y}", "type: flow")]:
        with pytest.raises(WorkspaceError, match=hint):
            workspace_of({FILE: with_step(f"id: c\nvalue: {module}"), **script})
