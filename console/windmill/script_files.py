"""Scripts in Windmill's words: bodies that become files, and files that become rows. Pure.

Every file with code is a script to Windmill's clients, also a module without a `main` that others import.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from console.edits import check_path, document
from console.errors import bad_request
from console.windmill.bodies import given, without
from console.windmill.languages import extension_of, language_name
from shared.deployment import Deployed
from shared.run_record import iso_ms
from shared.stamps import Stamps
from shared.workspace import javascript
from shared.workspace.layout import LOCK, METADATA, Source, source_of
from shared.workspace.problems import Problems
from shared.workspace.render import yaml_text
from shared.workspace.scripts import PREPROCESSOR, defines, parse_python
from shared.workspace.yaml_values import INLINE

_NOT_IN_FILES: Final = (
    "path", "content", "language", "lock", "parent_hash", "auto_parent", "deployment_message", "skip_draft_deletion",
    "draft_only", "is_template", "no_main_func", "codebase", "modules", "assets", "preserve_on_behalf_of",
    "on_behalf_of", "on_behalf_of_email", "extra_perms", "hash", "workspace_id", "created_by", "created_at",
    "archived", "deleted", "starred", "is_draft", "draft", "has_draft", "lock_error_logs", "auto_kind",
)  # fmt: skip
_WINDMILLS: Final = (
    "summary", "description", "lock", "kind", "schema", "tag", "timeout", "has_preprocessor", "labels", "cache_ttl",
    "cache_ignore_s3_path", "concurrent_limit", "concurrency_time_window_s", "concurrency_key", "priority",
    "dedicated_worker", "ws_error_handler_muted", "envs", "restart_unless_cancelled", "visible_to_runner_only",
    "delete_after_secs", "delete_after_use", "debounce_key", "debounce_delay_s", "debounce_args_to_accumulate",
    "max_total_debouncing_time", "max_total_debounces_amount",
)  # fmt: skip
_IN_ROWS_ALWAYS: Final = ("path", "content", "language", "lock", "hash")


class ScriptBody(msgspec.Struct, frozen=True):
    """What create and update ask for; other keys are those of the script's metadata."""

    path: str
    content: str
    language: str
    summary: str = ""
    description: str | None = ""
    lock: str | list[str] | None = None
    parent_hash: str | None = None
    auto_parent: bool | None = None
    deployment_message: str | None = None
    modules: dict[str, Any] | None = None
    codebase: str | None = None
    schema: dict[str, Any] | None = None


class ScriptFile(msgspec.Struct, frozen=True):
    """A deployed file with code, and what stands beside it."""

    file: str
    source: Source
    content: str
    metadata: dict[str, Any]
    lock: str


def read_script(texts: Mapping[str, str], path: str) -> ScriptFile | None:
    """The code at a path; None where there is none."""
    found = next((file for file in texts if (source := source_of(file)) and source.path == path), None)
    return None if found is None else _script(texts, found)


def read_scripts(texts: Mapping[str, str]) -> Iterator[ScriptFile]:
    """All code, by path."""
    for file in sorted(texts):
        if source_of(file):
            yield _script(texts, file)


def edits_of(body: ScriptBody, fields: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, str | None]:
    """The files that a body makes of a script: code, metadata, lock. `fields` is the body with all its keys.

    Metadata that is not Windmill's stays: its clients do not know it. Raises Refusal (400), UserError.
    """
    if body.modules or body.codebase:
        raise bad_request("scripts of several files are not run here: import a module of the workspace")
    before = read_script(texts, body.path)
    extension = extension_of(body.language)
    if before is not None and language_name(before.source.extension, before.source.language) == body.language:
        extension = before.source.extension
    file = check_path(body.path, "script", body.path + extension)
    lock = "\n".join(body.lock) if isinstance(body.lock, list) else body.lock
    kept = {} if before is None else without(before.metadata, _WINDMILLS)
    metadata = _metadata(fields, lock, body.path) | kept
    edits: dict[str, str | None] = {file: body.content}
    if before is not None and before.file != file:
        edits[before.file] = None
    if metadata != (before.metadata if before else None):
        edits[body.path + METADATA] = yaml_text(metadata)
    if lock:
        edits[body.path + LOCK] = lock
    elif body.path + LOCK in texts and lock is not None:
        edits[body.path + LOCK] = None
    return {name: text for name, text in edits.items() if texts.get(name) != text}


def files_of(path: str, files: Iterable[str]) -> list[str]:
    """Those of these that are code, metadata or lock of the script at a path."""
    return [
        file
        for file in files
        if file in {path + METADATA, path + LOCK} or ((source := source_of(file)) and source.path == path)
    ]


def deletions(script: ScriptFile, texts: Mapping[str, str]) -> dict[str, str | None]:
    """The files of a script that are to go."""
    path = script.source.path
    return {file: None for file in (script.file, path + METADATA, path + LOCK) if file in texts}


def row(script: ScriptFile, deployed: Deployed, changes: Stamps, workspace: str) -> dict[str, Any]:
    """A script as get and list give it; keys whose null makes Windmill's client fail are left out."""
    path = script.source.path
    newest = changes.newest.get(f"file:{script.file}")
    known: dict[str, Any] = {
        "workspace_id": workspace,
        "hash": version_of(script, deployed),
        "path": path,
        "summary": "",
        "description": "",
        "content": script.content,
        "created_by": newest.author if newest else "",
        "created_at": iso_ms(newest.at if newest else 0),
        "archived": False,
        "deleted": False,
        "is_template": False,
        "extra_perms": {},
        "language": language_name(script.source.extension, script.source.language),
        "kind": "script",
        "starred": False,
        "is_draft": False,
        "lock": script.lock,
    }
    found = {key: value for key, value in script.metadata.items() if key not in _IN_ROWS_ALWAYS and value is not None}
    flags = {
        "ws_error_handler_muted": bool(found.get("ws_error_handler_muted")),
        "has_preprocessor": has_preprocessor(script.source, script.content),
    }
    return known | found | flags


def version_of(script: ScriptFile, deployed: Deployed) -> str:
    """Of what runs; of a module that does not, of its file."""
    versions = deployed.versions
    return versions.get(f"script:{script.source.path}") or versions.get(f"file:{script.file}", "")


def has_preprocessor(source: Source, content: str) -> bool:
    """Whether the code has a preprocessor, whatever its metadata says."""
    if PREPROCESSOR not in content or source.language == "bash":
        return False
    if source.language == "deno":
        return javascript.parameters(content, PREPROCESSOR) is not None
    tree = parse_python(source.path, content, Problems()).tree
    return tree is not None and defines(tree, PREPROCESSOR)


def _script(texts: Mapping[str, str], file: str) -> ScriptFile:
    source = source_of(file)
    assert source is not None  # noqa: S101 - the caller has looked
    metadata = document(texts, source.path + METADATA)
    lock = metadata.get("lock")
    if isinstance(lock, str) and not lock.startswith(INLINE):
        text = lock
    elif isinstance(lock, list):
        text = "\n".join(map(str, lock))
    else:
        text = texts.get(source.path + LOCK, "")
    return ScriptFile(file, source, texts[file], metadata, text)


def _metadata(fields: Mapping[str, Any], lock: str | None, path: str) -> dict[str, Any]:
    """In the order in which Windmill's tools write them.

    They send an empty summary and description where a file has none. What they have written has a kind; where that is
    absent the file was written by hand, and stays as short as it was.
    """
    pointer = f"{INLINE} {path}{LOCK}" if lock else lock
    by_hand = fields.get("kind") is None
    texts = {key: fields.get(key) for key in ("summary", "description")}
    first = given(**{key: None if by_hand and not text else text for key, text in texts.items()}, lock=pointer)
    rest = {key: value for key, value in without(fields, _NOT_IN_FILES).items() if value is not None}
    return first | {key: value for key, value in rest.items() if key not in {*first, *texts}}
