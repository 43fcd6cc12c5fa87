"""Code that is run without being deployed: read, checked and locked as a push would do, and kept as a version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from console.edits import check_path
from console.errors import bad_request
from console.strangers import read_object
from console.windmill.bodies import without_nulls
from console.windmill.flow_files import deletions, edits_of
from console.windmill.identity import USERNAME
from console.windmill.languages import extension_of
from console.windmill.script_files import files_of
from shared import keys
from shared.config import Settings
from shared.definitions import Flow, Script, encode_definition
from shared.dependencies.locking import Dependencies, all_scripts
from shared.deploy import read_current
from shared.errors import UserError
from shared.store import Store
from shared.workspace import check_files
from shared.workspace.files import Files
from shared.workspace.layout import LOCK
from shared.workspace.problems import Problems
from shared.workspace.render import yaml_text
from shared.workspace.retries import read_retry
from shared.workspace.runnables import Runnables
from shared.workspace.yaml_lines import read_yaml

NAMELESS: Final = f"u/{USERNAME}/preview"
KIND: Final = "code"


class Preview(msgspec.Struct, frozen=True):
    """Body of a preview. With the path of a deployed script it runs in the place of that."""

    content: str
    language: str
    args: dict[str, Any] = {}
    path: str | None = None
    lock: str | None = None
    kind: str | None = None


class FlowPreview(msgspec.Struct, frozen=True):
    """Body of a preview of a flow. With the path of a deployed flow it runs in the place of that."""

    value: dict[str, Any]
    args: dict[str, Any] = {}
    path: str | None = None
    restarted_from: Any = None


def keep_preview(store: Store, settings: Settings, preview: Preview, texts: Mapping[str, str]) -> tuple[str, Script]:
    """The version of the code, and the script that it is; modules of the workspace can be imported.

    Its packages are resolved and installed as by a push. Raises UserError, WorkspaceError, StoreUnavailable.
    """
    if preview.kind not in {None, KIND}:
        raise bad_request(f"a preview of kind {preview.kind} is not run here")
    path = preview.path or NAMELESS
    file = check_path(path, "script", path + extension_of(preview.language))
    own = set(files_of(path, texts))
    others = {each: text for each, text in texts.items() if each not in own}
    beside = {path + LOCK: preview.lock} if preview.lock else {}
    wanted = dict(sorted((others | beside | {file: preview.content}).items()))
    workspace = check_files(Files(wanted, []), "the preview beside what is deployed", Problems())
    if path not in workspace.scripts:
        raise UserError("the code has no main", hint="define a function main: it is what runs")
    dependencies = Dependencies.of(settings, keeps=True)
    alone = msgspec.structs.replace(workspace, scripts={path: workspace.scripts[path]})
    script = dependencies.lock(alone, read_current(store, create_id=False).scripts).scripts[path]
    dependencies.install([script])
    version, blob = encode_definition(script)
    store.command("HSETNX", keys.DEFINITIONS, version, blob)
    return version, script


def keep_flow_preview(
    store: Store, settings: Settings, preview: FlowPreview, texts: Mapping[str, str]
) -> tuple[str, Flow]:
    """The version of the flow, and the flow; what it names is what is deployed now. Its own code as `keep_preview`."""
    if preview.restarted_from:
        raise bad_request("restarted_from is not supported here: restart the run of a flow that is deployed")
    path = preview.path or NAMELESS
    beside = {file: text for file, text in texts.items() if file not in deletions(path, texts)}
    written = {file: text for file, text in edits_of(path, {"value": preview.value}, beside).items() if text}
    wanted = dict(sorted((beside | written).items()))
    workspace = check_files(Files(wanted, []), "the preview beside what is deployed", Problems())
    current = read_current(store, create_id=False)
    dependencies = Dependencies.of(settings, keeps=True)
    alone = msgspec.structs.replace(workspace, scripts={}, flows={path: workspace.flows[path]})
    locked = dependencies.lock(alone, {**current.scripts, **current.code})
    problems = Problems()
    runnables = Runnables(locked, (current.scripts, current.flows), None, settings.worker.default_timeout_s, problems)
    problems.check("the preview beside what is deployed")
    dependencies.install(all_scripts(locked).values())
    flow = runnables.flows()[path]
    version, blob = encode_definition(flow)
    kept = [(version, blob), *map(encode_definition, runnables.code[path])]
    store.commands([("HSETNX", keys.DEFINITIONS, name, record) for name, record in kept])
    return version, flow


def keep_with_retry(store: Store, script: Script, retry: str) -> tuple[str, Script]:
    """The version of a script that is tried again as this JSON says, and the script. Raises WorkspaceError, Refusal."""
    asked = read_object(retry, "retry is")
    problems = Problems()
    table = read_yaml("retry", yaml_text({"retry": without_nulls(asked)}), problems)
    policy = read_retry(table) if table else None
    problems.check("the address")
    changed = msgspec.structs.replace(script, retry=policy)
    version, blob = encode_definition(changed)
    store.command("HSETNX", keys.DEFINITIONS, version, blob)
    return version, changed
