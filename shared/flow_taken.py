"""What a run of a flow that is restarted in the middle takes over from the one before. Pure, but for what it looks up.

The keys stay as they were, those of attempts included: begun with these records, the interpreter comes to the step
that is to be done again. A parallel part is a run of its own, and finds what it takes over under `<fan>!from/<number>`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NoReturn

import msgspec

from shared.definitions import Flow, Runnable
from shared.errors import UserError
from shared.flow_records import BEGUN, FAILED, FROM, INPUT, PARTS, encode_records, read_ended, read_fanned
from shared.openflow import (
    PREPROCESSOR,
    BranchAll,
    BranchOne,
    FlowModule,
    FlowStep,
    ForLoop,
    WhileLoop,
    lists_within,
)

Fields = Mapping[str, bytes]
_STEERING: Final = ("?skip", "?items", "?branch", "?parallelism", "?inputs")
"""What led into a step that consists of steps."""


class _Place(msgspec.Struct, frozen=True):
    """A list of steps of a flow, the beginning of their keys, and what has been recorded of them."""

    flow: Flow
    modules: Sequence[FlowModule]
    prefix: str
    fields: Fields


class Taken:
    """Works it out. `records` gives what the run of a part has recorded, `flow_of` a flow within the flow; both raise
    UserError where that is gone.
    """

    def __init__(self, records: Callable[[str], Fields], flow_of: Callable[[Runnable], Flow]) -> None:
        self._records = records
        self._flow_of = flow_of

    def before(self, fields: Fields, flow: Flow, step: str) -> dict[str, bytes]:
        """The records of what came before a step: `b`, `l/3/x` for one in an iteration or branch, `s/x` for one in a
        flow within the flow; `l/3` is the whole iteration or branch, `l~1` a second attempt.

        Raises UserError where the flow has no such step, or has not come to it.
        """
        kept = {name: value for name, value in fields.items() if is_of(name, PREPROCESSOR) or name in {INPUT, "?skip"}}
        return kept | self._in_list(_Place(flow, flow.value.modules, "", fields), step.split("/"), step)

    def _in_list(self, place: _Place, words: Sequence[str], step: str) -> dict[str, bytes]:
        ids = [module.id for module in place.modules]
        name, _, attempt = words[0].partition("~")
        if name not in ids:
            listed = ", ".join(ids) if ids else "there are none"
            _refuse(f"there is no step {place.prefix}{name}", f"steps there: {listed}", step)
        at = ids.index(name)
        for each in ids[:at]:
            _check_ended(place.fields, place.prefix + each, step)
        kept = _of(place.fields, [place.prefix + each for each in ids[:at]])
        kept |= self._attempts(place, name, attempt, step)
        if len(words) == 1:
            return kept
        return kept | self._within(place, place.modules[at], words, step)

    def _attempts(self, place: _Place, name: str, attempt: str, step: str) -> dict[str, bytes]:
        """What the attempts before this one have left."""
        first = place.prefix + name
        if not attempt:
            return {}
        if not attempt.isdecimal() or not any(_is_attempt(each, f"{first}~{attempt}") for each in place.fields):
            _refuse(f"there was no attempt {attempt} of {first}", f"restart from {first}", step)
        earlier = [first, *(f"{first}~{number}" for number in range(1, int(attempt)))]
        return {name: blob for name, blob in place.fields.items() if any(_is_attempt(name, each) for each in earlier)}

    def _within(self, place: _Place, module: FlowModule, words: Sequence[str], step: str) -> dict[str, bytes]:
        key, fields, value = place.prefix + words[0], place.fields, module.value
        kept = {f"{key}{mark}": fields[f"{key}{mark}"] for mark in _STEERING if f"{key}{mark}" in fields}
        if isinstance(value, FlowStep):
            flow = self._flow_of(place.flow.runnables[module.id])
            kept |= {name: blob for name, blob in fields.items() if name == f"{key}/?skip"}
            return kept | self._in_list(_Place(flow, flow.value.modules, f"{key}/", fields), words[1:], step)
        modules, number = _numbered(module, key, words[1], step)
        inner = _Place(place.flow, modules, f"{key}/{number}/", fields)
        if isinstance(value, BranchOne) and _taken(fields, value, key) != number:
            _refuse(f"{key}/{number} was not taken", f"restart from {key}: it chooses anew", step)
        if isinstance(value, ForLoop | BranchAll) and value.parallel and (fans := _fans(fields, key)):
            return kept | self._part(inner, module, fans, words[2:], step)
        if not isinstance(value, BranchOne):
            if number and not any(name.startswith((inner.prefix, f"{key}/{number}?")) for name in fields):
                _refuse(f"{key}/{number} was not begun", f"restart from {key}", step)
            kept |= _of(fields, [f"{key}/{each}" for each in range(number)])
        return kept | self._in_list(inner, words[2:], step) if words[2:] else kept

    def _part(
        self, place: _Place, module: FlowModule, fans: Sequence[str], words: Sequence[str], step: str
    ) -> dict[str, bytes]:
        """Of parallel parts: what the others have come to, and what this one has before the step."""
        key, _, text = place.prefix.removesuffix("/").rpartition("/")
        own = int(text)
        answers = dict(_numbers(place.fields, key))
        runs: dict[int, str] = {}
        for fan in fans:
            fanned = read_fanned(place.fields[f"{fan}{PARTS}{BEGUN}"])
            runs |= dict(zip(fanned.parts, fanned.runs, strict=True))
            answers |= dict(_numbers(place.fields, fan))
        known = runs.keys() | answers.keys()
        if own not in known:
            _refuse(f"{key} has no {own}", f"it has 0 to {max(known)}: restart from {key}/NUMBER", step)
        kept = {
            f"{key}/{number}": blob
            for number, blob in answers.items()
            if number != own and _counts(blob, module, number)
        }
        if words:
            if own not in runs:
                hint = f"restart from {key}/{own}, or the run that this one has taken it over from"
                _refuse(f"{key}/{own} was not executed in this run", hint, step)
            seed = self._in_list(msgspec.structs.replace(place, fields=self._records(runs[own])), words, step)
            kept[f"{key}{FROM}{own}"] = encode_records(seed)
        return kept


def is_of(name: str, key: str) -> bool:
    """Whether a record is of what stands at this key, or within it."""
    return name.startswith(key) and (len(name) == len(key) or name[len(key)] in f"/~?!#{BEGUN}")


def _check_ended(fields: Fields, key: str, step: str) -> None:
    """What a step before has come to is taken over: it must have ended, and not have been what the flow failed by."""
    failed = fields.get(FAILED, b"").decode().partition("#")[0]
    if failed and is_of(failed, key):
        _refuse(f"{failed} has failed, and comes before", f"restart from {failed}", step)
    for name in fields:
        if name.endswith(BEGUN) and is_of(name, key) and not _has_ended(fields, name.removesuffix(BEGUN)):
            begun = name.removesuffix(BEGUN).removesuffix(PARTS)
            _refuse(f"{begun} has not ended, and comes before", f"restart from {begun}", step)


def _has_ended(fields: Fields, begun: str) -> bool:
    if not begun.endswith(PARTS):
        return begun in fields
    fan = begun.removesuffix(PARTS)
    return begun in fields or all(f"{fan}/{part}" in fields for part in read_fanned(fields[begun + BEGUN]).parts)


def _is_attempt(name: str, key: str) -> bool:
    return is_of(name, key) and name[len(key) : len(key) + 1] != "~"


def _of(fields: Fields, keys_before: Iterable[str]) -> dict[str, bytes]:
    wanted = list(keys_before)
    return {name: value for name, value in fields.items() if any(is_of(name, key) for key in wanted)}


def _numbered(module: FlowModule, key: str, word: str, step: str) -> tuple[Sequence[FlowModule], int]:
    """The list of steps that a word names, and the number of the branch or iteration."""
    lists = lists_within(module.value)
    number = int(word) if word.isdecimal() else -1
    is_loop = isinstance(module.value, ForLoop | WhileLoop)
    if not lists or number < 0 or (not is_loop and number >= len(lists)):
        hint = f"restart from {key}, or from {key}/NUMBER/STEP" if lists else f"restart from {key}"
        _refuse(f"there is no step {step}", hint, step)
    return lists[0 if is_loop else number], number


def _taken(fields: Fields, value: BranchOne, key: str) -> int:
    """The number of the branch that was taken; the default one has the number after the last."""
    blob = fields.get(f"{key}?branch")
    chosen = read_ended(blob).result if blob else None
    return chosen if isinstance(chosen, int) else len(value.branches)


def _fans(fields: Fields, key: str) -> list[str]:
    """How often the parts of a step were begun side by side: all, then those that had failed, and so on."""
    found = [key] if f"{key}{PARTS}{BEGUN}" in fields else []
    while found and f"{key}#{len(found)}{PARTS}{BEGUN}" in fields:
        found.append(f"{key}#{len(found)}")
    return found


def _numbers(fields: Fields, fan: str) -> Iterator[tuple[int, bytes]]:
    """What the parts have come to, by number."""
    for name, blob in fields.items():
        before, _, number = name.rpartition("/")
        if before == fan and number.isdecimal():
            yield int(number), blob


def _counts(blob: bytes, module: FlowModule, number: int) -> bool:
    """Whether what a part has come to stays: its failure does where it is its result."""
    ended, value = read_ended(blob), module.value
    if ended.ok or ended.limit:
        return ended.ok
    return value.branches[number].skip_failure if isinstance(value, BranchAll) else _skips(value)


def _skips(value: object) -> bool:
    return isinstance(value, ForLoop) and value.skip_failures


def _refuse(problem: str, hint: str, step: str) -> NoReturn:
    raise UserError(problem, hint=hint, step=step)
