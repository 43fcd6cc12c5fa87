"""Which steps have a result when a step is reached: pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from shared.openflow import FlowModule, FlowValue, ForLoop, WhileLoop, lists_within, walk_modules


class Scope(msgspec.Struct, frozen=True):
    """What one step may look at.

    `before` are the steps that may have run, `within` those that it consists of. `again` are steps of the loops around
    it that come later, and may have run in an iteration before. `hidden` are steps in the bodies of loops that have
    ended: each may have had many results.
    """

    before: frozenset[str]
    within: frozenset[str]
    again: frozenset[str]
    hidden: frozenset[str]


def scopes(value: FlowValue) -> dict[str, Scope]:
    """The scope of each step by its id, of the preprocessor and of the failure module."""
    none: frozenset[str] = frozenset()
    found = dict(_scopes(value.modules, none, none, none))
    if value.preprocessor_module is not None:
        found[value.preprocessor_module.id] = Scope(none, none, none, none)
    if value.failure_module is not None:
        everything = frozenset(_ids(value.modules))
        found[value.failure_module.id] = Scope(everything, none, none, none)
    return found


def _scopes(
    modules: Sequence[FlowModule], before: frozenset[str], again: frozenset[str], hidden: frozenset[str]
) -> Iterator[tuple[str, Scope]]:
    for module in modules:
        lists = lists_within(module.value)
        within = frozenset(step for inner in lists for step in _ids(inner))
        yield module.id, Scope(before, within, again - before, hidden)
        is_loop = isinstance(module.value, ForLoop | WhileLoop)
        for inner in lists:
            yield from _scopes(inner, before, again | within if is_loop else again, hidden)
        before |= within | {module.id}
        hidden |= within if is_loop else frozenset(_in_loops(lists))


def _in_loops(lists: Iterable[Sequence[FlowModule]]) -> Iterator[str]:
    for module in (each for modules in lists for each in walk_modules(modules)):
        if isinstance(module.value, ForLoop | WhileLoop):
            yield from _ids(module.value.modules)


def _ids(modules: Sequence[FlowModule]) -> Iterator[str]:
    return (module.id for module in walk_modules(modules))
