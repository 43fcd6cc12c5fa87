"""The expressions of a flow: whether they are JavaScript, and whether what they name is there when they are reached.

No parser reads them here, so only what is certain is an error: a plain path whose first name is unknown, and a step
that does not exist or cannot have run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from shared.expression_paths import RESERVED
from shared.expressions import check
from shared.flow_names import EVERYWHERE, GLOBALS, IN_FAILURE, IN_PLACES, IN_STEPS, LEFT_OUT, visible
from shared.openflow import FAILURE, FlowValue
from shared.workspace.flow_fields import Found, Written
from shared.workspace.flow_scopes import Scope, scopes
from shared.workspace.problems import Problems, did_you_mean
from shared.workspace.references import Reference

_TEXT = r""""(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'"""
_NAME = r"[A-Za-z_$][\w$]*"
_TOKEN = re.compile(
    rf"""(?P<comment>//[^\n]*|/\*.*?\*/)
    | (?<![\w$.])results\s*(?:\?\.|\.)\s*(?P<step>{_NAME})
    | (?<![\w$.])results\s*(?:\?\.)?\[\s*(?P<quoted>{_TEXT})\s*\]
    | (?<![\w$.])(?P<lookup>variable|resource)\s*\(\s*(?P<path>{_TEXT})\s*\)
    | (?P<text>{_TEXT})
    | (?P<template>`(?:\\.|[^`\\])*`)
    | (?<![\w$.])(?P<name>{_NAME})(?![\w$])(?!\s*:(?!:))""",
    re.DOTALL | re.VERBOSE,
)
_HOLE = re.compile(r"\$\{((?:[^{}]|\{[^{}]*\})*)\}")
_PLAIN = re.compile(rf"\s*({_NAME})(?:\??\.{_NAME}|\[\d+\]|\[(?:{_TEXT})\])*\s*;?\s*")
_WORDS = GLOBALS | RESERVED | {"true", "false", "null", "of"}
_REGULAR = re.compile(r"(?:^|[(,=:?&|!\[{};])\s*/(?![/*])")
"""Where a regular expression may begin, whose words are no names."""
_ALL = {*EVERYWHERE, *IN_STEPS, *IN_FAILURE, *(name for names in IN_PLACES.values() for name in names)}


def check_expressions(value: FlowValue, found: Found, problems: Problems, *, complete: bool) -> None:
    """Problems for all expressions of a flow; `complete`: `value` holds every step of the file."""
    known = scopes(value) if complete else {}
    for each in found.expressions:
        if missing := _left_out(each.text):
            problems.error(each.file, each.line, each.key, f"{missing} is not there", LEFT_OUT[missing])
            continue
        if each.place != "retry_if" and (wrong := check(each.text)):  # that of a retry was read with it
            hint = "write JavaScript, for example flow_input.t > 30"
            problems.error(each.file, each.line, each.key, f"not an expression: {wrong}", hint)
            continue
        _check_names(each, problems)
        for step in dict.fromkeys(steps_in(each.text)):
            _check_step(each, step, found, known.get(each.step), problems)


def steps_in(text: str) -> Iterator[str]:
    """The ids that an expression looks up in `results`, as far as they stand there."""
    for token in _tokens(text):
        if token["step"]:
            yield token["step"]
        elif token["quoted"]:
            yield token["quoted"][1:-1]


def references_of(found: Found) -> Iterator[Reference]:
    """The variables and resources that expressions look up, as far as they stand there."""
    for each in found.expressions:
        for token in _tokens(each.text):
            kind = token["lookup"]
            if kind and not _is_declared(kind, each.text):
                looked_up: Literal["variable", "resource"] = "variable" if kind == "variable" else "resource"
                yield Reference(each.file, each.line, each.key, looked_up, token["path"][1:-1])


def _left_out(text: str) -> str:
    """A name of Windmill's that is not there, or ''."""
    return next((name for name in _names_in(text) if name in LEFT_OUT and not _is_declared(name, text)), "")


def _names_in(text: str) -> Iterator[str]:
    """The names that an expression uses, without those of properties."""
    for token in _tokens(text):
        if token["name"] or token["lookup"]:
            yield token["name"] or token["lookup"]
        elif token["step"] or token["quoted"]:
            yield "results"


def _tokens(text: str) -> Iterator[re.Match[str]]:
    for token in _TOKEN.finditer(text):
        if token["template"]:
            for hole in _HOLE.finditer(token["template"]):
                yield from _tokens(hole[1])
        else:
            yield token


def _check_names(each: Written, problems: Problems) -> None:
    names = visible(each.place, in_failure=each.step == FAILURE)
    plain = _PLAIN.fullmatch(each.text)
    for name in dict.fromkeys(_names_in(each.text)):
        if name in names or name in _WORDS or _is_declared(name, each.text):
            continue
        if plain or name in _ALL or not _REGULAR.search(each.text):
            tell = problems.error if plain else problems.warn
            elsewhere = f"{name} is not known here" if name in _ALL else f"{name} is no name that a flow knows"
            hint = did_you_mean(name, names) or f"known here are {', '.join(sorted(names))}"
            tell(each.file, each.line, each.key, elsewhere, hint)


def _is_declared(name: str, text: str) -> bool:
    """Whether the expression may have made the name itself."""
    word = re.escape(name)
    pattern = (
        rf"\b(?:const|let|var|function|catch\s*\()\s*[\[{{]?[^=;]*\b{word}\b|\b{word}\s*=>|\([^()]*\b{word}\b[^()]*\)\s*=>"
        rf"|function\s*\w*\s*\([^()]*\b{word}\b"
    )
    return re.search(pattern, text) is not None


def _check_step(each: Written, step: str, found: Found, scope: Scope | None, problems: Problems) -> None:
    place = each.file, each.line, each.key
    if step not in found.ids:
        hint = did_you_mean(step, found.ids) or f"steps are {', '.join(found.ids)}"
        problems.error(*place, f"there is no step {step}", hint)
    elif scope is None or (step in scope.before and step not in scope.hidden):
        return
    elif step in scope.hidden:
        hint = f"the result of a loop is the list of those of its iterations; in a parallel one {step} has none"
        problems.warn(*place, f"{step} is within a loop that has ended: this is its last result there", hint)
    elif each.place in {"stop_after_if", "stop_after_all_iters_if", "sleep"} and step in {each.step, *scope.within}:
        return
    elif step in scope.again:
        problems.warn(*place, f"{step} has run only from the second iteration on", "without a result it is undefined")
    else:
        problems.error(*place, f"{step} has not run when this is looked at", "name a step that comes before")
