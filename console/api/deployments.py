"""Deploying: files pushed or edited, the list of what was deployed, differences, the way back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from litestar import Router, get, post
from litestar.params import Parameter

from console.auditing import Note
from console.blocking import Blocking
from console.callers import Caller
from console.errors import bad_request, conflict, unprocessable
from console.masking import hides, mask_line
from console.needs import needs
from shared import deploy
from shared.config import Settings
from shared.definitions import File, encode_definition
from shared.dependencies.locking import Dependencies
from shared.deploy import Editor, Options, Pushed, edit
from shared.deployment_document import deployment_document, diff_documents, plan_document
from shared.deployments import changes_of, diffs_of, read_kept, with_details
from shared.rollback import rollback
from shared.secrets import SecretBox
from shared.store import Store
from shared.workspace import check_files, layout
from shared.workspace.files import Files
from shared.workspace.problems import Problems

FILES_MAX: Final = 5000
LISTED_MAX: Final = 100
_deploying = asyncio.Semaphore(1)
_Path = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
_Message = Annotated[str, msgspec.Meta(max_length=1000)]


class Push(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The files of a workspace folder: path → text. `prune` deletes what is deployed and not among them, `upgrade`
    takes the newest packages that scripts allow.
    """

    files: Annotated[dict[_Path, str], msgspec.Meta(min_length=1, max_length=FILES_MAX)]
    prune: bool = False
    dry_run: bool = False
    upgrade: bool = False
    message: _Message = ""


class Edit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Files of what is deployed: path → its new text, null deletes it. All others stay. `made_from`: the version that a
    new text was made from ('': there was none); if another has been deployed meanwhile, nothing is (409).
    """

    files: Annotated[dict[_Path, str | None], msgspec.Meta(min_length=1, max_length=FILES_MAX)]
    made_from: dict[_Path, str] = {}
    message: _Message = ""


class Back(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`dry_run`: only tell what would change."""

    dry_run: bool = False
    message: _Message = ""


class Deployments(msgspec.Struct, frozen=True):
    """Deployments, newest first; `next`: what to give as `before` for those after, None where there are none."""

    deployments: list[dict[str, Any]]
    next: int | None


@get("/deployments", opt=needs("read"))
async def list_deployments(
    work: Blocking,
    limit: Annotated[int, Parameter(ge=1, le=LISTED_MAX)] = 20,
    before: Annotated[int | None, Parameter(ge=1)] = None,
) -> Deployments:
    """What was deployed, when and by whom."""

    def read(store: Store) -> Deployments:
        kept = [each for each in read_kept(store).deployments if before is None or each.number < before]
        shown = kept[:limit]
        documents = [deployment_document(*pair) for pair in zip(shown, changes_of(store, shown), strict=True)]
        return Deployments(documents, shown[-1].number if len(kept) > len(shown) else None)

    return await work(read)


@get("/deployments/{number:int}", opt=needs("read"))
async def get_deployment(number: int, work: Blocking, caller: Caller) -> dict[str, Any]:
    """What a deployment changed, and how its files differ from those before."""
    hide = hides(caller)

    def read(store: Store) -> dict[str, Any]:
        found, _ = read_kept(store).at(number)
        (changes,) = changes_of(store, [found])
        files = diff_documents(diffs_of(store, found))
        for each in files:
            if hide and each["path"].endswith(layout.RESOURCE):
                each["diff"] = [mask_line(line) for line in each["diff"]]
        return deployment_document(found, with_details(store, found, changes)) | {"files": files}

    return await work(read)


@post("/deployments", opt=needs("deploy"), status_code=200)
async def push(data: Push, work: Blocking, settings: Settings, caller: Caller, note: Note) -> dict[str, Any]:
    """Deploy a workspace folder, all of it or nothing; with `dry_run` check it and tell what would change.

    422 names everything that is wrong with it, by file and line.
    """
    for path in data.files:
        _check_path(path)
    async with _deploying:
        pushed, skipped = await work(_push, settings, data, caller.name)
    report = plan_document(pushed.plan, pushed.number, applied=pushed.applied, dry_run=data.dry_run)
    _tell(note, "push", pushed, data.message)
    return report | {"skipped": skipped}


@post("/deployments/edit", opt=needs("deploy"), status_code=200)
async def edit_files(data: Edit, work: Blocking, settings: Settings, caller: Caller, note: Note) -> dict[str, Any]:
    """Deploy some files anew: what is deployed stays otherwise. 422 as for a push."""
    for path, text in data.files.items():
        _check_path(path)
        if text is not None and not layout.means_something(path):
            raise unprocessable(f"{path} means nothing in a workspace", "docs/reference/workspace.md tells what does")

    async with _deploying:
        pushed = await work(edit, settings, _editor(data), f"console by {caller.name}", data.message)
    _tell(note, "edit", pushed, data.message)
    return plan_document(pushed.plan, pushed.number, applied=pushed.applied, dry_run=False)


@post("/deployments/{number:int}/rollback", opt=needs("deploy"), status_code=200)
async def go_back(
    number: int, data: Back, work: Blocking, settings: Settings, caller: Caller, note: Note
) -> dict[str, Any]:
    """Deploy what an older deployment had deployed, all of it and nothing else, as a new deployment."""
    async with _deploying:
        pushed = await work(_go_back, settings, number, data, caller.name)
    _tell(note, f"roll back to {number}", pushed, data.message)
    report = plan_document(pushed.plan, pushed.number, applied=pushed.applied, dry_run=data.dry_run)
    return report | {"back_to": number}


def _editor(wanted: Edit) -> Editor:
    """Gives the new texts, unless what they were made from is not what is deployed."""

    def change(texts: Mapping[str, str]) -> Mapping[str, str | None]:
        for path, version in wanted.made_from.items():
            now = encode_definition(File(path, texts[path]))[0] if path in texts else ""
            if now != version:
                raise conflict(
                    f"{path} was changed meanwhile: it is version {now or 'none'} now, not {version or 'none'}"
                )
        return wanted.files

    return change


def _push(store: Store, settings: Settings, wanted: Push, who: str) -> tuple[Pushed, list[str]]:
    known = {path: text for path, text in sorted(wanted.files.items()) if layout.means_something(path)}
    skipped = sorted(wanted.files.keys() - known.keys())
    workspace = check_files(Files(known, skipped), "what was uploaded", Problems())
    box = SecretBox.rehearsal(settings) if wanted.dry_run else SecretBox.load(settings, create=True)
    options = _options(settings, wanted.message, who, dry_run=wanted.dry_run, prune=wanted.prune, box=box)
    dependencies = Dependencies.of(settings, upgrade=wanted.upgrade)
    options = msgspec.structs.replace(options, dependencies=dependencies)
    return deploy.push(store, workspace, options, lambda _plan: True), workspace.skipped


def _go_back(store: Store, settings: Settings, number: int, wanted: Back, who: str) -> Pushed:
    box, message = SecretBox.load(settings, create=False), wanted.message or f"back to {number}"
    options = _options(settings, message, who, dry_run=wanted.dry_run, prune=False, box=box)
    return rollback(store, number, options, lambda _plan: True)


def _options(
    settings: Settings, message: str, who: str, *, dry_run: bool, prune: bool, box: SecretBox
) -> Options:  # fmt: skip
    return Options(
        settings.worker.default_timeout_s, prune, dry_run, box, f"console by {who}", message,
        settings.retention.deployments_max, Dependencies.of(settings),
    )  # fmt: skip


def _check_path(path: str) -> None:
    if not (layout.is_looked_at(path) and path.isprintable() and "\\" not in path):
        raise bad_request(f"{path[:100]!r} is no path within a workspace folder")


def _tell(note: Note, what: str, pushed: Pushed, message: str) -> None:
    changes = [f"{change.action} {change.kind} {change.path}" for change in pushed.plan.changes]
    number = pushed.number
    if pushed.applied:
        note.tell(what, f"deployment {number}", {"deployment": number - 1}, {"changes": changes, "message": message})
    else:
        note.tell(f"{what} (nothing was deployed)", f"deployment {number}")


routes = Router("/", route_handlers=[list_deployments, get_deployment, push, edit_files, go_back])
