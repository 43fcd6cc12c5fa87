"""`wmill.yaml`: which files of a folder are meant. Pure.

What it leaves out is neither deployed nor, by `--prune`, deleted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from shared.workspace import layout
from shared.workspace.problems import Problems
from shared.workspace.yaml_lines import Table, read_yaml

_SKIPS = {
    "skipVariables": (layout.VARIABLE,),
    "skipResources": (layout.RESOURCE,),
    "skipResourceTypes": (layout.RESOURCE_TYPE,),
    "skipFolders": (layout.FOLDER,),
}
_TOOLS_OWN = (
    "defaultTs", "codebases", "skipApps", "includeSchedules", "includeUsers", "includeGroups", "includeSettings",
    "includeKey", "nonDottedPaths", "syncBehavior", "workspaces", "extraIncludes", "parallel", "locksRequired",
    "dedupeLockfiles", "lint", "plainSecrets", "message", "promotion", "skipBranchValidation",
    "skipWorkspaceDependencies", "commonSpecificItems", "gitBranches", "environments", "skipSecrets",
)  # fmt: skip


class Selection(msgspec.Struct, frozen=True):
    """`includes` and `excludes` are globs (`*` within a level, `**` over levels); no `includes` includes everything.

    `encrypted`: secrets in the folder may be encrypted by Windmill, with a key that is not ours.
    """

    includes: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    skipped_suffixes: tuple[str, ...] = ()
    skip_scripts: bool = False
    skip_flows: bool = False
    encrypted: bool = False

    def covers(self, file: str) -> bool:
        """Whether a file (or one that would be there) is meant. Resource types and `headrace.yaml` always are."""
        if self.skipped_suffixes and file.endswith(self.skipped_suffixes):
            return False
        if (self.skip_flows or self.skip_scripts) and (owner := layout.owner_of(file)):
            skipped = {"flow": self.skip_flows, "script": self.skip_scripts}
            if skipped.get(owner[0], False):
                return False
        if file == layout.DEFAULTS or file.endswith(layout.RESOURCE_TYPE):
            return True
        included = not self.includes or any(_glob(glob).fullmatch(file) for glob in self.includes)
        return included and not any(_glob(glob).fullmatch(file) for glob in self.excludes)


EVERYTHING = Selection()
_compiled: dict[str, re.Pattern[str]] = {}


def read_selection(text: str, problems: Problems) -> Selection:
    """What `wmill.yaml` says. Keys for Windmill's own tools, known or not, are passed over."""
    if (table := read_yaml(layout.SETTINGS, text, problems)) is None:
        return EVERYTHING
    if table.flag("includeTriggers") is False:
        table.note("includeTriggers", "triggers are deployed all the same: leave them out with excludes")
    table.allow(*_TOOLS_OWN)
    skipped = tuple(suffix for key, suffixes in _SKIPS.items() if table.flag(key) for suffix in suffixes)
    includes, more = _globs(table, "includes"), _globs(table, "extraIncludes")
    return Selection(
        includes=includes + more if includes else (),
        excludes=_globs(table, "excludes"),
        skipped_suffixes=skipped,
        skip_scripts=table.flag("skipScripts") is True,
        skip_flows=table.flag("skipFlows") is True,
        encrypted=table.flag("plainSecrets") is not True,
    )


def _globs(table: Table, key: str) -> tuple[str, ...]:
    value = table.data(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        table.error(key, "not a list of globs", "write for example ['f/**']")
        return ()
    return tuple(_braces(value))


def _braces(globs: Iterable[str]) -> Iterator[str]:
    """`{a,b}` is either."""
    for glob in globs:
        if match := re.search(r"\{([^{}]*)\}", glob):
            parts = match[1].split(",")
            yield from _braces(glob[: match.start()] + part + glob[match.end() :] for part in parts)
        else:
            yield glob


def _glob(glob: str) -> re.Pattern[str]:
    if glob not in _compiled:
        parts = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
        regex = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
        _compiled[glob] = re.compile("".join(regex.get(part) or re.escape(part) for part in parts), re.DOTALL)
    return _compiled[glob]
