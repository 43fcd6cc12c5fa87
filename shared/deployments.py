"""The list of deployments: who changed what, and what was deployed at any of them. Bounded, newest first.

A record holds what its deployment changed and what was there before, so that the table of any deployment in the list
is found by undoing those that came after it. Definitions are never removed, so that all of it can be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import unified_diff
from typing import Any

import msgspec

from shared import keys
from shared.definitions import KINDS, Definition, File, Script
from shared.deployment import NUMBER, TABLE, Deployed, read_all, read_deployed, read_number
from shared.errors import InternalError, NotThere, UserError
from shared.store import Store
from shared.workspace.changes import Action, Change, differences, item_of, shown_changes

_KINDS = {kind: record for record, kind in KINDS.items()}
_READS = 20


class Deployment(msgspec.Struct, frozen=True):
    """What the list keeps of a deployment; `at` in epoch milliseconds.

    `changed` maps `<kind>:<path>` to the new version, `before` to the old one of what was changed or deleted. Values
    that runs write (`by_run`) are one entry with those before them, from deployment `since` on (0: it is one alone).
    """

    number: int
    at: int
    author: str
    message: str
    changed: dict[str, str]
    deleted: list[str]
    before: dict[str, str]
    by_run: bool = False
    since: int = 0

    @property
    def first(self) -> int:
        """The number of the oldest deployment that it holds."""
        return self.since or self.number

    @property
    def numbers(self) -> str:
        """For people: `12`, or `9-12`."""
        return str(self.number) if self.first == self.number else f"{self.first}-{self.number}"


class Kept(msgspec.Struct, frozen=True):
    """The table of what is deployed now, and the deployments that led there, newest first."""

    deployed: Deployed
    deployments: list[Deployment]

    def at(self, number: int) -> tuple[Deployment, Deployed]:
        """One of these and the table that it made. Raises UserError."""
        places = (place for place, each in enumerate(self.deployments) if each.first <= number <= each.number)
        if (place := next(places, None)) is None:
            raise _unknown(number, self)
        if (found := self.deployments[place]).number != number:
            raise _merged(number, found)
        table = undone(self.deployed.versions, self.deployments[:place])
        return found, Deployed(number, table)


class FileDiff(msgspec.Struct, frozen=True):
    """How the text of a file changed: lines of a unified diff, without their line ends."""

    path: str
    lines: list[str]


def undone(versions: Mapping[str, str], newer: Iterable[Deployment]) -> dict[str, str]:
    """The table as it was before these deployments (newest first), given the one after them. Pure."""
    table = dict(versions)
    for deployment in newer:
        for name in deployment.changed:
            table.pop(name, None)
        table |= deployment.before
    return table


def read_kept(store: Store) -> Kept:
    """All that is kept. Raises StoreUnavailable."""
    return _read(store, -1)


def read_newest(store: Store, limit: int) -> list[Deployment]:
    """At most so many deployments, newest first. Raises StoreUnavailable."""
    return _read(store, limit - 1).deployments


def changes_of(store: Store, deployments: Sequence[Deployment]) -> list[list[Change]]:
    """For each deployment, what people are shown of it; files only where no definition tells of them."""
    tables = [table for deployment in deployments for table in (deployment.before, deployment.changed)]
    versions = {version for table in tables for name, version in table.items() if name.startswith("script:")}
    scripts = read_all(store, {version: version for version in sorted(versions)}, Script)
    return [_shown(deployment, scripts) for deployment in deployments]


def with_details(store: Store, deployment: Deployment, changes: Iterable[Change]) -> list[Change]:
    """The changes of a deployment, each with the names of the fields that differ."""

    def detailed(change: Change) -> Change:
        if change.action != "changed":
            return change
        old, new = (_record(store, change.name, each) for each in (deployment.before, deployment.changed))
        if old is None or new is None or isinstance(new, File):
            return change
        return msgspec.structs.replace(change, details=differences(old, new))

    return [detailed(change) for change in changes]


def diffs_of(store: Store, deployment: Deployment) -> list[FileDiff]:
    """How files of the workspace changed. Values of secret variables are not in them."""
    names = [name for name in sorted({*deployment.changed, *deployment.before}) if name.startswith("file:")]
    paths = {name: name.removeprefix("file:") for name in names}
    old = read_all(store, {paths[name]: deployment.before[name] for name in names if name in deployment.before}, File)
    new = read_all(store, {paths[name]: deployment.changed[name] for name in names if name in deployment.changed}, File)
    return [FileDiff(path, _diff(path, old.get(path), new.get(path))) for path in paths.values()]


def diffs_to(store: Store, kept: Kept, number: int) -> list[FileDiff]:
    """How files would change by going back to an older deployment. Raises UserError where it is not in the list."""
    _, table = kept.at(number)
    now, then = kept.deployed.of_kind("file"), table.of_kind("file")
    paths = [path for path in sorted({*now, *then}) if now.get(path) != then.get(path)]
    old = read_all(store, {path: now[path] for path in paths if path in now}, File)
    new = read_all(store, {path: then[path] for path in paths if path in then}, File)
    return [FileDiff(path, _diff(path, old.get(path), new.get(path))) for path in paths]


def _read(store: Store, last: int) -> Kept:
    """One moment: when a deployment comes between, all is read again."""
    for _ in range(_READS):
        number, entries, table, after = store.commands([NUMBER, ("LRANGE", keys.DEPLOYMENTS, 0, last), TABLE, NUMBER])
        if read_number(number) == read_number(after):
            return Kept(read_deployed(number, table), [_decode(entry) for entry in entries])
    raise InternalError(f"deployments come faster than they can be read, {_READS} times")


def _decode(entry: bytes) -> Deployment:
    try:
        return msgspec.json.decode(entry, type=Deployment)
    except msgspec.DecodeError as error:
        raise InternalError(f"an entry of the list of deployments cannot be read: {error}") from error


def _shown(deployment: Deployment, scripts: Mapping[str, Script]) -> list[Change]:
    changes = [*_changes(deployment)]
    told: dict[str, Script] = {}
    for versions in (deployment.before, deployment.changed):
        for name, version in versions.items():
            if name.startswith("script:") and (script := scripts.get(version)):
                seen = told.get(script.path)
                modules = script.modules | (seen.modules if seen else {})
                told[script.path] = msgspec.structs.replace(script, modules=modules)
    return shown_changes(changes, {f"script:{path}": set(script.modules) for path, script in told.items()})


def _changes(deployment: Deployment) -> Iterable[Change]:
    for name in sorted({*deployment.changed, *deployment.deleted}):
        action: Action = "deleted" if name not in deployment.changed else "changed"
        if name not in deployment.before:
            action = "created"
        item = item_of(name)
        yield Change(action, item.kind, item.path)


def _record(store: Store, name: str, versions: Mapping[str, str]) -> Definition | None:
    kind: Any = _KINDS[item_of(name).kind]
    found: dict[str, Definition] = read_all(store, {name: versions[name]}, kind) if name in versions else {}
    return found.get(name)


def _diff(path: str, old: File | None, new: File | None) -> list[str]:
    before, after = ([] if file is None else file.text.splitlines() for file in (old, new))
    return list(unified_diff(before, after, f"a/{path}", f"b/{path}", lineterm=""))


def _merged(number: int, found: Deployment) -> UserError:
    return NotThere(
        f"deployment {number} is one of {found.first} to {found.number}, in which runs have written values: "
        f"they are kept as one",
        hint=f"deployment {found.number} is what came of them, {found.first - 1} what was there before",
    )


def _unknown(number: int, kept: Kept) -> UserError:
    if not kept.deployments:
        return NotThere("nothing was ever deployed", hint="headrace push DIR deploys a workspace folder")
    newest, oldest = kept.deployments[0].number, kept.deployments[-1].first
    return NotThere(
        f"there is no deployment {number} in the list, which goes from {oldest} to {newest}",
        hint="headrace history lists them; retention.deployments_max says how many are kept",
    )
