"""A part of a flow that is carried out on its own: an iteration of a loop, or a branch. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from shared.definitions import Flow
from shared.errors import InternalError
from shared.openflow import FlowModule, FlowStep, ForLoop, WhileLoop, lists_within, walk_modules


class Part(msgspec.Struct, frozen=True):
    """`key` is the beginning of all keys in it, `prefix` that of the keys in `flow`, the innermost flow around it."""

    flow: Flow
    prefix: str
    key: str
    modules: Sequence[FlowModule]


def find_part(flow: Flow, flows: Mapping[str, Flow], path: str) -> Part:
    """The part with this key: `l/3`, `b/0`, `s/l~1/3`. Raises InternalError where there is none."""
    prefix = ""
    modules = _top(flow)
    words = path.split("/")
    at = 0
    while at < len(words):
        name = words[at].partition("~")[0].partition("#")[0]
        module = next((each for each in modules if each.id == name), None)
        if module is None:
            break
        at += 1
        if isinstance(module.value, FlowStep):
            flow = flows[flow.runnables[module.id].version]
            prefix = "/".join(words[:at]) + "/"
            modules = _top(flow)
            continue
        lists = lists_within(module.value)
        if at == len(words):
            break
        number = int(words[at])
        modules = lists[0 if isinstance(module.value, ForLoop | WhileLoop) else number]
        at += 1
        if at == len(words):
            return Part(flow, prefix, f"{path}/", modules)
    known = sorted(module.id for module in walk_modules(flow.value.modules))
    raise InternalError(f"the flow {flow.path} has no part {path}", steps=known)


def _top(flow: Flow) -> Sequence[FlowModule]:
    """What stands in no other module and may have parts: the failure module may be a flow."""
    failure = flow.value.failure_module
    return flow.value.modules if failure is None else [*flow.value.modules, failure]
