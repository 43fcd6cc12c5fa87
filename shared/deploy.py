"""Deploying a workspace: read what is deployed, plan, apply in one transaction."""

from __future__ import annotations

import base64
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from shared import keys
from shared.config import RetentionSettings, Settings
from shared.definitions import Broker, File, Flow, Resource, Script, Trigger, Variable
from shared.departures import session_changes
from shared.dependencies.locking import Dependencies, all_scripts
from shared.deployment import NUMBER, TABLE, Deployed, read_all, read_deployed
from shared.deployments import Deployment, read_newest
from shared.errors import Overtaken
from shared.merging import merged
from shared.scripts import operate
from shared.secrets import SecretBox
from shared.settling import with_sessions
from shared.shell_check import check_shell
from shared.stamps import Stamp
from shared.store import Store
from shared.workspace import Workspace, check_files
from shared.workspace.files import Files
from shared.workspace.flows import code_key, flow_of_key
from shared.workspace.layout import DEFAULTS
from shared.workspace.plan import Current, Plan, make_plan
from shared.workspace.problems import Problems
from shared.workspace.sealing import seal_secrets
from shared.workspace.selection import Selection

__all__ = ["NOTHING", "EditOptions", "Options", "Pushed", "edit", "push", "read_all", "read_current"]

ATTEMPTS = 20
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})

Edits = Mapping[str, str | None]
Editor = Callable[[Mapping[str, str]], Edits]


class Options(msgspec.Struct, frozen=True):
    """`prune` deletes what the folder does not hold; `dry_run` writes nothing.

    `box` seals secret variables; without one, a workspace that has any is refused. `author` and `message` say in the
    list of deployments who deployed, and why. `dependencies` resolves and installs packages of scripts; without it
    they are resolved for the Python that this runs on, and not installed. `renamed`, `by_run`: as of `EditOptions`.
    """

    default_timeout_s: float
    prune: bool = False
    dry_run: bool = False
    box: SecretBox | None = None
    author: str = ""
    message: str = ""
    deployments_max: int = RetentionSettings().deployments_max
    dependencies: Dependencies | None = None
    renamed: Mapping[str, str] = NOTHING
    by_run: bool = False


class EditOptions(msgspec.Struct, frozen=True):
    """`dry_run`: nothing is written. `renamed`: triggers that keep their session though they are changed as well, new
    path → old one. `by_run`: values that a run writes, which take few places of the list of deployments.
    """

    dry_run: bool = False
    renamed: Mapping[str, str] = NOTHING
    by_run: bool = False


_NOTHING_SPECIAL = EditOptions()


class Pushed(msgspec.Struct, frozen=True):
    """What a push came to: `number` is the deployment that is current now, `applied` whether this push made it."""

    plan: Plan
    number: int
    applied: bool


def push(store: Store, workspace: Workspace, options: Options, approve: Callable[[Plan], bool]) -> Pushed:
    """Make a workspace what is deployed, all of it or nothing.

    A plan is applied only to the state that it was made against: when another deployment comes between, it is made
    (and put to `approve`) again. Without changes nothing is written. Raises WorkspaceError, SecretError,
    StoreUnavailable.
    """
    return until_current(lambda: _push_once(store, workspace, options, approve))


def edit(
    store: Store,
    settings: Settings,
    edits: Edits | Editor,
    author: str,
    message: str = "",
    options: EditOptions = _NOTHING_SPECIAL,
) -> Pushed:
    """Change files of what is deployed: path in the workspace → its new text, None deletes the file.

    An editor is given the texts as they are deployed, and is asked again when another deployment has come between.
    Checked, planned and applied as a push of all deployed files with these changed; what was deployed without files
    stays. Raises WorkspaceError (nothing is changed then), SecretError, StoreUnavailable.
    """
    given = Options(
        settings.worker.default_timeout_s,
        dry_run=options.dry_run,
        box=SecretBox.rehearsal(settings) if options.dry_run else SecretBox.load(settings, create=True),
        author=author,
        message=message,
        deployments_max=settings.retention.deployments_max,
        dependencies=Dependencies.of(settings, keeps=True),
        renamed=options.renamed,
        by_run=options.by_run,
    )

    def edit_once() -> Pushed | None:
        problems = Problems()
        deployed = read_now(store)
        texts = {path: file.text for path, file in read_all(store, deployed.of_kind("file"), File).items()}
        wanted = edits(texts) if callable(edits) else edits
        deletes = tuple(path for path, text in wanted.items() if text is None)
        texts |= {path: text for path, text in wanted.items() if text is not None}
        files = Files({path: texts[path] for path in sorted(texts) if path not in deletes}, [], Selection(deletes))
        place = "the workspace as deployed, with this change"
        workspace = check_files(files, place, problems, may_be_empty=True)
        pruning = msgspec.structs.replace(given, prune=bool(deletes))
        return _push_once(store, workspace, pruning, lambda _plan: True, made_from=deployed.number)

    return until_current(edit_once)


def until_current(attempt: Callable[[], Pushed | None]) -> Pushed:
    """What an attempt came to that no other deployment has overtaken (it is None then, and made again)."""
    for _ in range(ATTEMPTS):
        if (pushed := attempt()) is not None:
            return pushed
    raise Overtaken(
        f"other deployments came between, {ATTEMPTS} times", hint="find out who else deploys, then push again"
    )


def read_current(store: Store, *, create_id: bool) -> Current:
    """What is deployed. An installation without an id gets one, which is stored only with `create_id`."""
    number, table, installation = store.commands([NUMBER, TABLE, ("HGET", keys.DEPLOYMENT, "id")])
    if installation is None:
        installation = secrets.token_hex(3).encode()
        if create_id:
            store.command("HSETNX", keys.DEPLOYMENT, "id", installation)
            installation = store.command("HGET", keys.DEPLOYMENT, "id")
    return read_records(store, read_deployed(number, table), installation.decode())


def read_records(store: Store, deployed: Deployed, installation: str) -> Current:
    """What a table of deployed versions names, but for the files."""
    flows = read_all(store, deployed.of_kind("flow"), Flow)
    return Current(
        deployed=deployed,
        deployment_id=installation,
        triggers=read_all(store, deployed.of_kind("trigger"), Trigger),
        scripts=read_all(store, deployed.of_kind("script"), Script),
        brokers=read_all(store, deployed.of_kind("broker"), Broker),
        flows=flows,
        resources=read_all(store, deployed.of_kind("resource"), Resource),
        variables=read_all(store, deployed.of_kind("variable"), Variable),
        defaults=_defaults(store, deployed),
        code=read_all(store, _own_code(flows), Script),
    )


def _own_code(flows: Mapping[str, Flow]) -> dict[str, str]:
    """The versions of what flows hold themselves, by `code_key`."""
    return {
        code_key(path, step): runnable.version
        for path, flow in flows.items()
        for step, runnable in flow.own_code().items()
    }


def _defaults(store: Store, deployed: Deployed) -> str:
    files = deployed.of_kind("file")
    wanted = {DEFAULTS: files[DEFAULTS]} if DEFAULTS in files else {}
    return "".join(file.text for file in read_all(store, wanted, File).values())


def read_now(store: Store) -> Deployed:
    """The table of what is deployed."""
    number, table = store.commands([NUMBER, TABLE])
    return read_deployed(number, table)


def new_session() -> str:
    """A session id: 8 lowercase base32 characters."""
    return base64.b32encode(secrets.token_bytes(5)).decode().lower()


def _push_once(
    store: Store,
    workspace: Workspace,
    options: Options,
    approve: Callable[[Plan], bool],
    *,
    made_from: int | None = None,
) -> Pushed | None:
    """None: another deployment came between, or after the one that the workspace was made from."""
    current = read_current(store, create_id=not options.dry_run)
    if made_from is not None and current.deployed.number != made_from:
        return None
    sealed = seal_secrets(workspace, current.variables, options.box or SecretBox.without_key())
    dependencies = options.dependencies or Dependencies(sys.executable)
    locked = dependencies.lock(sealed, {**current.scripts, **current.code})
    plan = make_plan(
        locked, current, options.default_timeout_s, new_session, prune=options.prune, renamed=options.renamed
    )
    changed = [script for path, script in locked.scripts.items() if f"script:{path}" in plan.changed]
    check_shell(changed)

    def installed(plan: Plan) -> bool:
        if not approve(plan):
            return False
        dependencies.install(
            script
            for key, script in all_scripts(locked).items()
            if f"script:{key}" in plan.changed or f"flow:{flow_of_key(key)}" in plan.changed
        )
        return True

    return apply_plan(store, plan, current.deployed, options, installed)


def apply_plan(
    store: Store, plan: Plan, deployed: Deployed, options: Options, approve: Callable[[Plan], bool]
) -> Pushed | None:
    """Deploy a plan that was made against `deployed`, if it changes anything and is approved. None: overtaken.

    Triggers get the sessions that are theirs (`shared.departures`).
    """
    plan = with_sessions(store, plan, deployed, new_session)
    if not (plan.changed or plan.deleted) or options.dry_run or not approve(plan):
        return Pushed(plan, plan.against, applied=False)
    entry, sessions = _entry(store, plan, deployed, options), session_changes(plan)
    number = store.run(
        operate.deploy(plan.against, entry, plan.definitions, plan.changed, plan.deleted, sessions=sessions)
    )
    return Pushed(plan, number, applied=True) if number > 0 else None


def _entry(store: Store, plan: Plan, deployed: Deployed, options: Options) -> operate.OnRecord:
    """How the list of deployments goes on if none comes between, which the verb makes sure of."""
    names = [*plan.changed, *plan.deleted]
    record = Deployment(
        number=plan.against + 1, at=time.time_ns() // 1_000_000, author=options.author, message=options.message,
        changed=plan.changed, deleted=plan.deleted,
        before={name: deployed.versions[name] for name in names if name in deployed.versions}, by_run=options.by_run,
    )  # fmt: skip
    stamp = Stamp(record.number, record.author, record.at, record.message)
    newest = read_newest(store, 1) if options.by_run else []
    one = merged(newest[0], record) if newest else None
    return operate.OnRecord(
        msgspec.json.encode(one or record), msgspec.json.encode(stamp), one is not None, options.deployments_max
    )
