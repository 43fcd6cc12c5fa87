"""A part of a flow that is carried out on its own: an iteration of a loop, or a branch. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from shared.definitions import Flow
from shared.errors import InternalError
from shared.flow_records import AGAIN, BEGUN, PARTS, read_ended, read_fanned
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


def fan_before(part: str) -> tuple[str, int] | None:
    """Where a part stood when it was carried out the time before, and its number: `l` and 3 for `l#1/3`.

    None: it is the first time.
    """
    fan, _, number = part.rpartition("/")
    key, mark, turn = fan.rpartition("#")
    if not mark or "/" in turn:
        return None
    return (key if turn == "1" else f"{key}#{int(turn) - 1}"), int(number)


def gone_on(fields: Mapping[str, bytes]) -> dict[str, bytes]:
    """The records of a part that has failed, as those of the one that goes on in its place. Of parts within it that had
    not all ended, those that had gone well are taken over, and the others begin anew.
    """
    cut_off = {name.removesuffix(PARTS + BEGUN) for name in fields if name.endswith(PARTS + BEGUN)}
    cut_off = {fan for fan in cut_off if not _have_ended(fields, fan)}
    kept = {AGAIN: b"1"}
    for name, blob in fields.items():
        fan, _, number = name.rpartition("/")
        if fan not in cut_off:
            if not any(name.startswith(f"{each}!") for each in cut_off):
                kept[name] = blob
        elif read_ended(blob).ok:
            kept[f"{fan.partition('#')[0]}/{number}"] = blob
    return kept


def _have_ended(fields: Mapping[str, bytes], fan: str) -> bool:
    fanned = read_fanned(fields[f"{fan}{PARTS}{BEGUN}"])
    return all(f"{fan}/{number}" in fields for number in fanned.parts)


def _top(flow: Flow) -> Sequence[FlowModule]:
    """What stands in no other module and may have parts: the failure module may be a flow."""
    failure = flow.value.failure_module
    return flow.value.modules if failure is None else [*flow.value.modules, failure]
