"""Deploying a workspace: read what is deployed, plan, apply in one transaction."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable, Mapping

import msgspec

from shared import keys
from shared.config import Settings
from shared.definitions import Broker, File, Flow, Resource, Script, Trigger, Variable
from shared.deployment import NUMBER, TABLE, Deployed, read_all, read_deployed
from shared.errors import HeadraceError
from shared.scripts import operate
from shared.secrets import SecretBox
from shared.store import Store
from shared.workspace import Workspace, check_files
from shared.workspace.files import Files
from shared.workspace.plan import Current, Plan, make_plan
from shared.workspace.problems import Problems
from shared.workspace.sealing import seal_secrets
from shared.workspace.selection import Selection

__all__ = ["Options", "Pushed", "edit", "push", "read_all", "read_current"]

ATTEMPTS = 20


class Options(msgspec.Struct, frozen=True):
    """`prune` deletes what the folder does not hold; `dry_run` writes nothing.

    `box` seals secret variables; without one, a workspace that has any is refused. `author` and `message` say in the
    list of deployments who deployed, and why.
    """

    default_timeout_s: float
    prune: bool = False
    dry_run: bool = False
    box: SecretBox | None = None
    author: str = ""
    message: str = ""


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
    for _ in range(ATTEMPTS):
        pushed = _push_once(store, workspace, options, approve)
        if pushed is not None:
            return pushed
    raise _outrun()


def edit(store: Store, settings: Settings, edits: Mapping[str, str | None], author: str) -> Pushed:
    """Change files of what is deployed: path in the workspace → its new text, None deletes the file.

    Checked, planned and applied as a push of all deployed files with these changed; what was deployed without files
    stays. Raises WorkspaceError (nothing is changed then), SecretError, StoreUnavailable.
    """
    deletes = tuple(path for path, text in edits.items() if text is None)
    options = Options(
        settings.worker.default_timeout_s,
        prune=bool(deletes),
        box=SecretBox.load(settings, create=True),
        author=author,
    )
    for _ in range(ATTEMPTS):
        problems = Problems()
        deployed = read_now(store)
        texts = {path: file.text for path, file in read_all(store, deployed.of_kind("file"), File).items()}
        texts |= {path: text for path, text in edits.items() if text is not None}
        files = Files({path: texts[path] for path in sorted(texts) if path not in deletes}, [], Selection(deletes))
        workspace = check_files(files, "the workspace as deployed, with this change", problems)
        pushed = _push_once(store, workspace, options, lambda _plan: True, made_from=deployed.number)
        if pushed is not None:
            return pushed
    raise _outrun()


def read_current(store: Store, *, create_id: bool) -> Current:
    """What is deployed. An installation without an id gets one, which is stored only with `create_id`."""
    number, table, installation = store.commands([NUMBER, TABLE, ("HGET", keys.DEPLOYMENT, "id")])
    if installation is None:
        installation = secrets.token_hex(3).encode()
        if create_id:
            store.command("HSETNX", keys.DEPLOYMENT, "id", installation)
            installation = store.command("HGET", keys.DEPLOYMENT, "id")
    deployed = read_deployed(number, table)
    return Current(
        deployed=deployed,
        deployment_id=installation.decode(),
        triggers=read_all(store, deployed.of_kind("trigger"), Trigger),
        scripts=read_all(store, deployed.of_kind("script"), Script),
        brokers=read_all(store, deployed.of_kind("broker"), Broker),
        flows=read_all(store, deployed.of_kind("flow"), Flow),
        resources=read_all(store, deployed.of_kind("resource"), Resource),
        variables=read_all(store, deployed.of_kind("variable"), Variable),
    )


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
    plan = make_plan(sealed, current, options.default_timeout_s, new_session, prune=options.prune)
    if not (plan.changed or plan.deleted) or options.dry_run or not approve(plan):
        return Pushed(plan, plan.against, applied=False)
    record = _record(plan, options)
    number = store.run(operate.deploy(plan.against, record, plan.definitions, plan.changed, plan.deleted))
    return Pushed(plan, number, applied=True) if number > 0 else None


def _record(plan: Plan, options: Options) -> bytes:
    """What the list of deployments keeps of one."""
    return msgspec.json.encode(
        {
            "number": plan.against + 1,
            "at": time.time_ns() // 1_000_000,
            "author": options.author,
            "message": options.message,
            "changed": plan.changed,
            "deleted": plan.deleted,
        }
    )


def _outrun() -> HeadraceError:
    return HeadraceError(
        f"other deployments came between, {ATTEMPTS} times", hint="find out who else deploys, then push again"
    )
