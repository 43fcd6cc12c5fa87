"""What differs between what is wanted and what is deployed, and what of that people are shown. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Literal

import msgspec

from shared.definitions import Definition, Flow, Kind, encode_definition, kind_of
from shared.openflow import BranchAll, BranchOne, FlowModule, ForLoop, WhileLoop, walk
from shared.workspace.layout import owner_of

Action = Literal["created", "changed", "renamed", "deleted"]


class Item(msgspec.Struct, frozen=True):
    """One definition by name."""

    kind: Kind
    path: str

    @property
    def name(self) -> str:
        """As the table of what is deployed names it."""
        return f"{self.kind}:{self.path}"


class Change(msgspec.Struct, frozen=True):
    """What happens to one definition. `details`: the fields or files that differ; `was`: the path it moved from."""

    action: Action
    kind: Kind
    path: str
    details: list[str] = []
    was: str | None = None

    @property
    def name(self) -> str:
        """As the table of what is deployed names it."""
        return f"{self.kind}:{self.path}"


class Difference(msgspec.Struct, frozen=True):
    """Changes, what stays as it is, new definitions by version, new entries of the table."""

    changes: list[Change]
    unchanged: list[Item]
    definitions: dict[str, bytes]
    changed: dict[str, str]


def compare(
    wanted: Iterable[Definition],
    versions: Mapping[str, str],
    before: Callable[[Kind, str], Definition | None],
    moved: Mapping[str, str],
) -> Difference:
    """`versions` is what is deployed, `before` gives its records (None: not known), `moved` new path → old one."""
    found = Difference([], [], {}, {})
    for definition in wanted:
        kind, path = kind_of(definition), definition.path
        version, blob = encode_definition(definition)
        name = f"{kind}:{path}"
        if versions.get(name) == version:
            found.unchanged.append(Item(kind, path))
            continue
        found.definitions[version], found.changed[name] = blob, version
        if name in versions:
            old = before(kind, path)
            found.changes.append(Change("changed", kind, path, differences(old, definition) if old else []))
        elif kind == "trigger" and path in moved:
            found.changes.append(Change("renamed", kind, path, was=moved[path]))
        else:
            found.changes.append(Change("created", kind, path))
    return found


def differences(before: Definition, after: Definition) -> list[str]:
    """Names of the fields that differ; of a table (files, runnables) the names of its entries.

    Of a flow: its steps that differ, and the scripts and flows that they run in another version.
    """
    if isinstance(before, Flow) and isinstance(after, Flow):
        return [*_steps(before, after), *_fields(before, after, {"value", "runnables"})]
    return _fields(before, after, set())


def _steps(before: Flow, after: Flow) -> list[str]:
    old, new = ({module.id: module for module in walk(flow.value)} for flow in (before, after))
    found: dict[str, None] = {}
    for step in {**new, **old}:
        runs, ran = after.runnables.get(step), before.runnables.get(step)
        if step not in old or step not in new or _shallow(old[step]) != _shallow(new[step]):
            found[f"step {step}"] = None
        elif runs is not None and ran is not None and runs != ran:
            is_own = runs.path == ran.path == f"{after.path}/{step}"
            found[f"step {step}" if is_own else runs.path] = None
    if not found and before.value != after.value:
        found["value"] = None
    return list(found)


def _shallow(module: FlowModule) -> object:
    """A step without the steps within it."""
    value = module.value
    if isinstance(value, BranchOne | BranchAll):
        branches = [msgspec.structs.replace(branch, modules=[]) for branch in value.branches]
        value = msgspec.structs.replace(value, branches=branches)
        if isinstance(value, BranchOne):
            value = msgspec.structs.replace(value, default=[])
    elif isinstance(value, ForLoop | WhileLoop):
        value = msgspec.structs.replace(value, modules=[])
    return msgspec.structs.replace(module, value=value)


def _fields(before: Definition, after: Definition, but: Collection[str]) -> list[str]:
    found: list[str] = []
    for field in after.__struct_fields__:
        if field in but:
            continue
        old, new = getattr(before, field), getattr(after, field)
        if isinstance(old, dict) and isinstance(new, dict):
            found += [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
        elif old != new:
            found.append(field)
    return found


def shown_changes(changes: list[Change], files: Mapping[str, Collection[str]]) -> list[Change]:
    """Without those that another one tells: a file of a definition, a module of a script, the resource of a broker.

    `files` are those of scripts and flows by their names, like `script:f/iot/on_temp`.
    """
    names = {change.name for change in changes} | {f"{each.kind}:{each.was}" for each in changes if each.was}
    told = {file for name, own in files.items() if name in names for file in own}
    return [
        change for change in changes if not (_is_told(change, names) or (change.kind == "file" and change.path in told))
    ]


def shown_items(items: list[Item]) -> list[Item]:
    """As `shown_changes`, for what stays."""
    names = {item.name for item in items}
    return [item for item in items if not _is_told(item, names)]


def item_of(name: str) -> Item:
    """The item of a name in the table of what is deployed."""
    kind, _, path = name.partition(":")
    return msgspec.convert({"kind": kind, "path": path}, Item)


def _is_told(item: Item | Change, names: set[str]) -> bool:
    if item.kind == "resource":
        return f"broker:{item.path}" in names
    if item.kind == "file" and (owner := owner_of(item.path)):
        return f"{owner[0]}:{owner[1]}" in names
    return False
