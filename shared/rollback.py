"""Going back to an older deployment: a new one that is equal to it, made in one transaction like any other."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from shared.definitions import File, Trigger, Variable
from shared.deploy import Options, Pushed, apply_plan, new_session, read_current, read_records, until_current
from shared.deployment import Deployed, read_all
from shared.deployments import Kept, read_kept
from shared.errors import InternalError, SecretError
from shared.secrets import SecretBox
from shared.store import Store
from shared.workspace.flows import flow_of_key
from shared.workspace.plan import Current, Plan
from shared.workspace.rolling_back import Then, make_rollback


def rollback(store: Store, number: int, options: Options, approve: Callable[[Plan], bool]) -> Pushed:
    """Make what deployment `number` had deployed current again; triggers keep their sessions.

    Secrets that come back have to be sealed with the key of `options.box`. Without a difference nothing is written.
    Raises UserError (no such deployment in the list), WorkspaceError, SecretError, StoreUnavailable.
    """

    def roll_back_once() -> Pushed | None:
        now, kept = read_current(store, create_id=False), read_kept(store)
        _, table = kept.at(number)
        if kept.deployed.number != now.deployed.number:
            return None
        was = read_records(store, table, now.deployment_id)
        files = read_all(store, table.of_kind("file"), File)
        _check_complete(table, was, files)
        _check_key(was.variables, now.variables, options.box or SecretBox.without_key())
        plan = make_rollback(Then(was, files, _last(store, kept, was, now)), now, new_session)

        def installed(plan: Plan) -> bool:
            if approved := approve(plan):
                _install(plan, was, options)
            return approved

        return apply_plan(store, plan, now.deployed, options, installed)

    return until_current(roll_back_once)


def _install(plan: Plan, was: Current, options: Options) -> None:
    """The packages of the scripts that come back, as a push does."""
    if options.dependencies is not None:
        scripts = [script for path, script in was.scripts.items() if f"script:{path}" in plan.changed]
        scripts += [script for key, script in was.code.items() if f"flow:{flow_of_key(key)}" in plan.changed]
        options.dependencies.install(scripts)


def _last(store: Store, kept: Kept, was: Current, now: Current) -> dict[str, Trigger]:
    """The triggers that were deployed then and are not now, as they were when they were deleted."""
    versions: dict[str, str] = {}
    for path in was.triggers.keys() - now.triggers.keys():
        deletions = (each.before.get(f"trigger:{path}") for each in kept.deployments)
        if version := next(filter(None, deletions), None):
            versions[path] = version
    return read_all(store, versions, Trigger)


def _check_complete(table: Deployed, was: Current, files: Mapping[str, File]) -> None:
    tables = was.triggers, was.scripts, was.brokers, was.flows, was.resources, was.variables, files
    found = sum(len(records) for records in tables)
    if found != len(table.versions):
        raise InternalError(f"{len(table.versions) - found} definitions of deployment {table.number} are not there")


def _check_key(was: Mapping[str, Variable], now: Mapping[str, Variable], box: SecretBox) -> None:
    """A secret that nobody can open must not come back."""
    for path, variable in was.items():
        if variable.is_secret and now.get(path) != variable:
            try:
                box.open(path, variable.value)
            except SecretError as error:
                hint = "go back from a machine that has the key of that time, or push a folder with the secret in it"
                raise SecretError(f"{error.message}; nothing was deployed", hint=hint, path=path) from error
