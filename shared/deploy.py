"""Deploying a workspace: read what is deployed, plan, apply in one transaction."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable

import msgspec

from shared import keys
from shared.definitions import Broker, Record, Script, Trigger
from shared.deployment import NUMBER, TABLE, definition_command, read_definition, read_deployed
from shared.errors import HeadraceError
from shared.scripts import operate
from shared.store import Store
from shared.workspace import Workspace
from shared.workspace.plan import Current, Plan, make_plan

ATTEMPTS = 20


class Options(msgspec.Struct, frozen=True):
    """`prune` deletes what the folder does not hold; `dry_run` writes nothing."""

    default_timeout_s: float
    prune: bool = False
    dry_run: bool = False


class Pushed(msgspec.Struct, frozen=True):
    """What a push came to: `number` is the deployment that is current now, `applied` whether this push made it."""

    plan: Plan
    number: int
    applied: bool


def push(store: Store, workspace: Workspace, options: Options, approve: Callable[[Plan], bool]) -> Pushed:
    """Make a workspace what is deployed, all of it or nothing.

    A plan is applied only to the state that it was made against: when another deployment comes between, it is made
    (and put to `approve`) again. Without changes nothing is written. Raises WorkspaceError, StoreUnavailable.
    """
    for _ in range(ATTEMPTS):
        current = read_current(store, create_id=not options.dry_run)
        plan = make_plan(workspace, current, options.default_timeout_s, new_session, prune=options.prune)
        if not plan.changes or options.dry_run or not approve(plan):
            return Pushed(plan, plan.against, applied=False)
        number = store.run(
            operate.deploy(plan.against, _record(plan), plan.definitions, plan.changed, plan.deleted),
        )
        if number > 0:
            return Pushed(plan, number, applied=True)
    raise HeadraceError(
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
    deployed = read_deployed(number, table)
    return Current(
        deployed=deployed,
        deployment_id=installation.decode(),
        triggers=read_all(store, deployed.of_kind("trigger"), Trigger),
        scripts=read_all(store, deployed.of_kind("script"), Script),
        brokers=read_all(store, deployed.of_kind("broker"), Broker),
    )


def read_all(store: Store, versions: dict[str, str], kind: type[Record]) -> dict[str, Record]:
    """Path → record, for all paths of a kind."""
    blobs = store.commands([definition_command(version) for version in versions.values()])
    records = {path: read_definition(blob, kind) for path, blob in zip(versions, blobs, strict=True)}
    return {path: record for path, record in records.items() if record is not None}


def new_session() -> str:
    """A session id: 8 lowercase base32 characters."""
    return base64.b32encode(secrets.token_bytes(5)).decode().lower()


def _record(plan: Plan) -> bytes:
    """What the list of deployments keeps of one."""
    return msgspec.json.encode(
        {
            "number": plan.against + 1,
            "at": time.time_ns() // 1_000_000,
            "changed": plan.changed,
            "deleted": plan.deleted,
        }
    )
