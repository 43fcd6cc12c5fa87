"""Flows in Windmill's words: folders of files, and values with the code of their steps in place. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from console.edits import document
from console.windmill.bodies import without
from console.windmill.languages import extension_of
from shared.errors import UserError
from shared.run_record import iso_ms
from shared.stamps import Stamps
from shared.workspace.layout import FLOW_FILE, flow_of, means_something
from shared.workspace.render import yaml_text
from shared.workspace.yaml_values import INLINE

FOLDERS: Final = (".flow/", "__flow/")
_PATH = re.compile(r"[uf](/[A-Za-z0-9_-]+){2,}")
_NO_NAME = re.compile(r"[^a-z0-9_]+")
_NOT_IN_FILES: Final = (
    "path", "deployment_message", "skip_draft_deletion", "draft_only", "draft", "is_draft", "has_draft", "edited_by",
    "edited_at", "archived", "extra_perms", "starred", "workspace_id", "preserve_on_behalf_of", "on_behalf_of",
    "on_behalf_of_email", "version_id", "parent_version", "lock_error_logs",
)  # fmt: skip
_WINDMILLS: Final = (
    "summary", "description", "value", "schema", "tag", "labels", "visible_to_runner_only", "ws_error_handler_muted",
    "priority", "dedicated_worker", "timeout", "has_on_behalf_of",
)  # fmt: skip


class FlowBody(msgspec.Struct, frozen=True):
    """What create and update ask for; other keys are those of the flow's file."""

    path: str
    summary: str
    value: dict[str, Any]
    description: str | None = None
    schema: dict[str, Any] | None = None
    deployment_message: str | None = None


def folder_of(texts: Mapping[str, str], path: str) -> str | None:
    """The folder of a flow, with its slash; None where there is none."""
    return next((path + each for each in FOLDERS if f"{path}{each}{FLOW_FILE}" in texts), None)


def paths_of(texts: Mapping[str, str]) -> Iterator[str]:
    """The paths of all flows."""
    yield from sorted({flow[0] for file in texts if (flow := flow_of(file)) and flow[1] == FLOW_FILE})


def read_flow(texts: Mapping[str, str], path: str) -> dict[str, Any]:
    """What stands in the flow's file, with each `!inline` replaced by the text of the file that it names."""
    folder = folder_of(texts, path)
    if folder is None:
        return {}
    found: dict[str, Any] = _inlined(document(texts, folder + FLOW_FILE), folder, texts)
    return found


def edits_of(path: str, fields: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, str | None]:
    """The files that a body makes of a flow, the code of its steps in files of their own. Raises UserError, Refusal."""
    folder = folder_of(texts, path) or path + FOLDERS[0]
    if not (_PATH.fullmatch(path) and means_something(folder + FLOW_FILE)):
        raise UserError(f"{path!r} is no path for a flow", hint="a path is f/FOLDER/NAME or u/USER/NAME")
    before = document(texts, folder + FLOW_FILE)
    wanted = {key: value for key, value in without(fields, _NOT_IN_FILES).items() if value is not None}
    wanted |= without(before, (*_WINDMILLS, *wanted))
    files = _Files(_names(before.get("value")))
    value = wanted["value"]
    wanted["value"] = files.taken_out(value)
    edits: dict[str, str | None] = {folder + FLOW_FILE: yaml_text(wanted)}
    edits |= {folder + name: text for name, text in files.texts.items()}
    gone: dict[str, str | None] = {file: None for file in texts if file.startswith(folder) and file not in edits}
    return gone | {name: text for name, text in edits.items() if texts.get(name) != text}


def deletions(path: str, texts: Mapping[str, str]) -> dict[str, str | None]:
    """The files of a flow that are to go."""
    folder = folder_of(texts, path)
    return {file: None for file in texts if folder and file.startswith(folder)}


def row(path: str, texts: Mapping[str, str], changes: Stamps, workspace: str) -> dict[str, Any]:
    """A flow as get and list give it."""
    file = f"{folder_of(texts, path)}{FLOW_FILE}"
    newest = changes.newest.get(f"file:{file}")
    found = {key: value for key, value in read_flow(texts, path).items() if value is not None}
    known = {
        "workspace_id": workspace,
        "path": path,
        "summary": "",
        "description": "",
        "schema": {},
        "edited_by": newest.author if newest else "",
        "edited_at": iso_ms(newest.at if newest else 0),
        "archived": False,
        "extra_perms": {},
        "starred": False,
        "is_draft": False,
    }
    return known | found | {"ws_error_handler_muted": bool(found.get("ws_error_handler_muted"))}


class _Files:
    """Takes code out of a flow's value: each step of the kind rawscript gets files named after it."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.texts: dict[str, str] = {}
        self._names = names

    def taken_out(self, value: Any) -> Any:
        match value:
            case {"value": {"type": "rawscript", "content": str(content)} as script} if not content.startswith(INLINE):
                name = self._name(value, script)
                self.texts[name] = content
                pointers: dict[str, Any] = {"content": f"{INLINE} {name}"}
                lock = script.get("lock")
                if isinstance(lock, str) and lock and not lock.startswith(INLINE):
                    beside = f"{name.partition('.')[0]}.inline_script.lock"
                    self.texts[beside] = lock
                    pointers["lock"] = f"{INLINE} {beside}"
                return value | {"value": script | pointers}
            case dict():
                return {key: self.taken_out(each) for key, each in value.items()}
            case list():
                return [self.taken_out(each) for each in value]
            case _:
                return value

    def _name(self, module: Mapping[str, Any], script: Mapping[str, Any]) -> str:
        """The one that it had, or one after its summary or id, as Windmill's tools do."""
        step = str(module.get("id", ""))
        extension = extension_of(str(script.get("language", "")))
        had = self._names.get(step)
        if had is not None and had.endswith(extension) and had not in self.texts:
            return had
        plain = _NO_NAME.sub("_", str(module.get("summary") or "").lower()).strip("_") or step or "step"
        names = (f"{plain}{n or ''}.inline_script{extension}" for n in range(len(self.texts) + 1))
        return next(name for name in names if name not in self.texts)


def _names(value: Any) -> dict[str, str]:
    """Step → the file with its code, of a value in which it is named."""
    match value:
        case {"id": str(step), "value": {"type": "rawscript", "content": str(content)}} if content.startswith(INLINE):
            return {step: content.removeprefix(INLINE).strip()}
        case dict():
            found: dict[str, str] = {}
            for each in value.values():
                found |= _names(each)
            return found
        case list():
            return _names(dict(enumerate(value)))
        case _:
            return {}


def _inlined(value: Any, folder: str, texts: Mapping[str, str]) -> Any:
    match value:
        case dict():
            return {key: _inlined(each, folder, texts) for key, each in value.items()}
        case list():
            return [_inlined(each, folder, texts) for each in value]
        case str() if value.startswith(INLINE):
            name = value.removeprefix(INLINE).strip().removeprefix("./")
            return next((texts[file] for file in (folder + name, name) if file in texts), value)
        case _:
            return value
