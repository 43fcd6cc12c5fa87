"""Which file is what: the names of Windmill's on-disk format, by suffix. Pure.

A *path* is the file's path in the folder without its suffix; a flow is a folder, `<path>.flow/` or `<path>__flow/`.
"""

from __future__ import annotations

import re

import msgspec

from shared.definitions import Kind, Language

TRIGGER = ".mqtt_trigger.yaml"
RESOURCE = ".resource.yaml"
RESOURCE_TYPE = ".resource-type.yaml"
VARIABLE = ".variable.yaml"
METADATA = ".script.yaml"
LOCK = ".script.lock"
TESTS = ".test.yaml"
FOLDER = "folder.meta.yaml"
SETTINGS = "wmill.yaml"
DEFAULTS = "headrace.yaml"
FLOW_FILE = "flow.yaml"
PYTHON = ".py"

LANGUAGES: dict[str, Language] = {
    ".py": "python3",
    ".sh": "bash",
    ".deno.ts": "deno",
    ".bun.ts": "deno",
    ".fetch.ts": "deno",
    ".ts": "deno",
    ".js": "deno",
}
"""By extension; a longer one stands before the one that it ends with."""
UNSUPPORTED = (
    ".go", ".ps1", ".pg.sql", ".my.sql", ".bq.sql", ".sf.sql", ".ms.sql", ".odb.sql", ".duckdb.sql", ".gql", ".php",
    ".rs", ".playbook.yml", ".cs", ".nu", ".java", ".rb", ".r",
)  # fmt: skip
"""Languages of Windmill that are not run."""

PASSED_OVER = frozenset({"__pycache__", "node_modules"})
"""Folders that nobody looks into; hidden ones neither."""

_YAML = (TRIGGER, RESOURCE_TYPE, RESOURCE, VARIABLE)
_FLOW = re.compile(r"(?P<path>.+?)(?:\.flow|__flow)/(?P<file>.+)")
_APP = re.compile(r"(?:^|/)[^/]*(?:\.app|__app|\.raw_app|__raw_app)/")
_ENVIRONMENT = re.compile(
    r"(?:.*/)?[^/.]*\.[^/]+\.(?:mqtt_trigger|resource|variable)\.yaml|(?:.*/)?folder\.[^/]+\.meta\.yaml"
)


class Source(msgspec.Struct, frozen=True):
    """A file with code: the path of the script that it is, if it is one, and its language."""

    path: str
    extension: str
    language: Language


def means_something(file: str) -> bool:
    """Whether a file is read and deployed."""
    if _APP.search(file) or is_environment_copy(file):
        return False
    name = file.rpartition("/")[2]
    return (
        bool(flow_of(file))
        or name == FOLDER
        or file == DEFAULTS
        or file.endswith((*_YAML, METADATA, LOCK))
        or (source_of(file) is not None and not file.endswith(".d.ts"))
    )


def is_workspace_file(file: str) -> bool:
    """Whether a path stays within the folder, and is one that a push reads there."""
    return is_looked_at(file) and file.isprintable() and "\\" not in file and means_something(file)


def is_looked_at(file: str) -> bool:
    """Whether no part of a path is hidden, empty or a cache."""
    return all(part and not part.startswith(".") and part not in PASSED_OVER for part in file.split("/"))


def is_environment_copy(file: str) -> bool:
    """`db.staging.variable.yaml`: what another environment has in place of `db.variable.yaml`. Paths hold no dots."""
    return _ENVIRONMENT.fullmatch(file) is not None and flow_of(file) is None


def flow_of(file: str) -> tuple[str, str] | None:
    """(path of the flow, file within its folder) of a file that belongs to a flow."""
    match = _FLOW.fullmatch(file)
    return (match["path"], match["file"]) if match else None


def source_of(file: str) -> Source | None:
    """What a file with code is; None for any other, and for code of a flow."""
    if flow_of(file):
        return None
    for extension, language in LANGUAGES.items():
        if file.endswith(extension) and file != extension:
            return Source(file.removesuffix(extension), extension, language)
    return None


def owner_of(file: str) -> tuple[Kind, str] | None:
    """The definition that a file is a part of; None for a file that stands for itself (folder.meta.yaml)."""
    if flow := flow_of(file):
        return ("flow", flow[0])
    if source := source_of(file):
        return ("script", source.path)
    kinds: dict[str, Kind] = {
        TRIGGER: "trigger", RESOURCE: "resource", VARIABLE: "variable", METADATA: "script", LOCK: "script",
    }  # fmt: skip
    return next(((kind, file.removesuffix(suffix)) for suffix, kind in kinds.items() if file.endswith(suffix)), None)
