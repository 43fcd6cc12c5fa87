"""What a push says of the expressions of a flow: their syntax, their names, and the steps that they look at."""

from __future__ import annotations

import pytest

from shared.errors import WorkspaceError
from shared.flow_names import Place, visible
from shared.workspace.flow_expressions import steps_in
from tests.support.flow_files import FILE, workspace_of

FLOW = """\
value:
  preprocessor_module: {value: {type: script, path: f/t/p, input_transforms: {}}}
  modules:
    - {id: a, value: {type: identity}}
    - id: l
      value:
        type: forloopflow
        iterator: {type: javascript, expr: "[1]"}
        modules:
          - {id: m, value: {type: script, path: f/t/s, input_transforms: {x: {type: javascript, expr: "IN_LOOP"}}}}
          - {id: n, value: {type: identity}}
    - id: o
      value:
        type: branchone
        branches:
          - expr: "BRANCH"
            modules:
              - id: p
                value: {type: script, path: f/t/s, input_transforms: {x: {type: javascript, expr: "IN_BRANCH"}}}
        default: [{id: q, value: {type: identity}}]
    - id: r
      value: {type: script, path: f/t/s, input_transforms: {x: {type: javascript, expr: "INPUT"}}}
      stop_after_if: {expr: "STOP"}
      retry: {constant: {attempts: 1}, retry_if: {expr: "RETRY"}}
      timeout: {type: javascript, expr: "TIMEOUT"}
    - {id: s, value: {type: identity}}
  failure_module: {value: {type: script, path: f/t/s, input_transforms: {x: {type: javascript, expr: "FAILURE"}}}}
  skip_expr: "SKIP"
"""
PLACES = ("IN_LOOP", "IN_BRANCH", "BRANCH", "INPUT", "STOP", "RETRY", "TIMEOUT", "FAILURE", "SKIP")
CODE = {"f/t/s.py": "def main(x): ...\n", "f/t/p.py": "def preprocessor(event): ...\n"}


def said(**expressions: str) -> list[tuple[str, str]]:
    """(error or warning, message) for a flow with these expressions in their places, `1` in the others."""
    text = FLOW
    for place in PLACES:
        text = text.replace(f'"{place}"', repr(expressions.get(place, "1")))
    try:
        found = workspace_of({FILE: text, **CODE})
    except WorkspaceError as error:
        problems: list[object] = error.fields["problems"]  # type: ignore[assignment]
        return [("error", str(each)) for each in problems]
    return [("warning", str(each)) for each in found.warnings]


@pytest.mark.parametrize(
    "place, text",
    [
        ("INPUT", "flow_input.t"),
        ("INPUT", "results.a"),
        ("INPUT", "results.p?.x ?? results.q"),
        ("INPUT", "results['o'][0]"),
        ("INPUT", "previous_result.error || error || flow_env.limit"),
        ("INPUT", "const t = results.a; return {t, previous_result: t}"),
        ("INPUT", "flow_input.items.map((item, index) => ({item, at: index, result: item.result}))"),
        ("INPUT", "`${results.a} and results.nothing, ${flow_input['results.b']}`"),
        ("INPUT", "'results.nothing' + /* results.nothing */ 1 // results.nothing"),
        ("INPUT", "flow_input.results.nothing"),
        ("INPUT", "Math.max(...results.l)"),
        ("STOP", "result.done || results.r.done || results.a"),
        ("STOP", "all_iters.length > 3"),
        ("RETRY", "error.name != 'Fatal' && result && flow_input.t"),
        ("TIMEOUT", "params.x"),
        ("IN_LOOP", "flow_input.iter.value + results.a"),
        ("IN_BRANCH", "results.a"),
        ("BRANCH", "results.l.length > 1"),
        ("FAILURE", "error.message + started_at + flow_job_id + results.a + results.s"),
        ("SKIP", "WM_SCHEDULED_FOR && flow_input.t"),
        ("INPUT", "NaN"),
        ("INPUT", "let s = 0; for (const x of results.l) { if (typeof x === 'number') s += x } return s"),
        ("INPUT", "try { return JSON.parse(flow_input.t) } catch (problem) { return problem.message }"),
        ("INPUT", "const {t, u: [v, w = 1]} = flow_input; return t ? {t, v, w} : new Date(t)"),
        ("INPUT", "function twice(x) { return 2 * x }; return twice(flow_input.t)"),
        ("INPUT", "/hot|cold/.test(flow_input.t) ? 1 : flow_input.t.replace(/x/g, '')"),
        ("INPUT", "flow_input.items.reduce((sum, {t, u}) => sum + t * u, 0)"),
        ("INPUT", "(async () => await variable('f/t/limit'))()"),
    ],
)
def test_what_an_expression_can_see_is_fine(place: str, text: str) -> None:
    """Also steps of a branch that may not have been taken."""
    assert said(**{place: text}) == []


@pytest.mark.parametrize(
    "place, text, word",
    [
        ("INPUT", "flow_input.", "not an expression"),
        ("INPUT", "flow_imput.t", "flow_imput is no name that a flow knows"),
        ("INPUT", "result.t", "result is not known here"),
        ("INPUT", "results.z", "there is no step z"),
        ("INPUT", "results['z']", "there is no step z"),
        ("INPUT", "`${results.z}`", "there is no step z"),
        ("INPUT", "results.s", "s has not run when this is looked at"),
        ("INPUT", "results.r", "r has not run when this is looked at"),
        ("RETRY", "results.s", "s has not run when this is looked at"),
        ("IN_BRANCH", "results.q", "q has not run when this is looked at"),
        ("BRANCH", "results.p", "p has not run when this is looked at"),
        ("INPUT", "await flow_user_state('x')", "flow_user_state is not there"),
        ("SKIP", "results.a", "results is not known here"),
        ("INPUT", "flow_job_id", "flow_job_id is not known here"),
    ],
)
def test_what_cannot_be_is_an_error(place: str, text: str, word: str) -> None:
    """With the line and the place within the step."""
    (kind, message), *_ = said(**{place: text})

    assert kind == "error"
    assert message.startswith(f"{FILE}:")
    assert word in message


@pytest.mark.parametrize(
    "place, text, word",
    [
        ("INPUT", "results.m", "m is within a loop that has ended"),
        ("IN_LOOP", "results.n", "n has run only from the second iteration on"),
        ("INPUT", "result.t > 3", "result is not known here"),
        ("INPUT", "fetch('http://x')", "fetch is no name that a flow knows"),
        ("SKIP", "flow_inputt.t > 30", "did you mean flow_input?"),
    ],
)
def test_what_is_likely_a_mistake_is_a_warning(place: str, text: str, word: str) -> None:
    """It may still be meant."""
    ((kind, message),) = said(**{place: text})

    assert kind == "warning"
    assert word in message


def test_a_near_name_is_suggested() -> None:
    """Of the names that can be seen, of the steps that are there."""
    assert "did you mean flow_input?" in said(INPUT="flow_imput.t")[0][1]
    assert "did you mean results?" in said(INPUT="result.t")[0][1]
    assert "steps are" in said(INPUT="results.z")[0][1]


def test_the_steps_of_an_expression_are_found_in_code_alone() -> None:
    """Not in texts, comments, or properties of something else."""
    text = """results.a + results?.b + results["c"] + results?.['d'] + x.results.e + `${results.f}` + "results.g" """
    assert list(steps_in(text)) == ["a", "b", "c", "d", "f"]


@pytest.mark.parametrize(
    "place, names", [("skip_expr", {"flow_input", "flow_env", "variable", "resource", "WM_SCHEDULED_FOR"})]
)
def test_the_names_of_a_place_are_a_table(place: Place, names: set[str]) -> None:
    """Before the first step there is nothing else."""
    assert visible(place) == names
