"""Whether the steps that a test names are there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from shared.definitions import Flow, Script
from shared.openflow import BranchOne, FlowModule, walk
from shared.workspace.problems import did_you_mean
from worker.testing.cases import Case


def unknown_names(case: Case, found: Flow | Script, flows: Mapping[str, Flow]) -> list[str]:
    """A problem for each name of a test that is that of no step; `flows` are those within the flow, by version."""
    stand, expected = case.stand, case.expected
    if isinstance(found, Script):
        given = {
            "mock": stand.results, "fail": stand.errors, "steps": expected.steps, "branches": expected.branches
        }  # fmt: skip
        return [f"{key}: {found.path} is a script, and has no steps" for key, names in given.items() if names]
    own = [module.id for module in walk(found.value)]
    every = list(_everywhere(found, flows))
    ids = [module.id for module in every]
    chosen = [module.id for module in every if isinstance(module.value, BranchOne)]
    return [
        *_missing("mock", stand.results, own, "step"),
        *_missing("fail", stand.errors, own, "step"),
        *_missing("steps", expected.steps or [], ids, "step"),
        *_missing("branches", expected.branches, chosen, "branchone"),
    ]


def _everywhere(flow: Flow, flows: Mapping[str, Flow]) -> Iterator[FlowModule]:
    """The steps of a flow, and of those within it."""
    yield from walk(flow.value)
    for runnable in flow.runnables.values():
        if runnable.is_flow:
            yield from _everywhere(flows[runnable.version], flows)


def _missing(key: str, names: Iterable[str], known: list[str], kind: str) -> Iterator[str]:
    for name in dict.fromkeys(names):
        if name not in known:
            hint = did_you_mean(name, known) or f"there are {', '.join(dict.fromkeys(known)) or 'none'}"
            yield f"{key}: there is no {kind} {name}: {hint}"
