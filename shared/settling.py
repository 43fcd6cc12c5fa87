"""Giving the triggers of a plan their sessions: reads what `shared.departures` decides on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from shared import keys
from shared.definitions import Broker, Kind, Record, Trigger, decode_definition
from shared.departures import After, Before, settle_sessions
from shared.deployment import Deployed, read_all
from shared.left import read_homes, read_left
from shared.store import Store
from shared.workspace.plan import Plan


def with_sessions(store: Store, plan: Plan, deployed: Deployed, new_session: Callable[[], str]) -> Plan:
    """A plan that was made against `deployed`, with what it does to sessions. Raises StoreUnavailable."""
    if not (plan.changed or plan.deleted):
        return plan
    versions = {name: version for name, version in deployed.versions.items() if name not in plan.deleted} | plan.changed
    will_be = Deployed(0, versions)
    triggers = read_all(store, deployed.of_kind("trigger"), Trigger)
    fallback = {each.session: deployed.versions.get(f"broker:{each.broker}", "") for each in triggers.values()}
    epochs = store.commands([("HGET", keys.session(session), "epoch") for session in fallback])
    before = Before(
        triggers=triggers,
        brokers=read_all(store, deployed.of_kind("broker"), Broker),
        versions=deployed.versions,
        left=read_left(store),
        homes=read_homes(store, fallback),
        epochs={session: int(epoch or 0) for session, epoch in zip(fallback, epochs, strict=True)},
    )
    after = After(_planned(store, plan, will_be, "trigger", Trigger), _planned(store, plan, will_be, "broker", Broker))
    return settle_sessions(plan, before, after, time.time_ns() // 1_000_000, new_session)


def _planned(store: Store, plan: Plan, will_be: Deployed, kind: Kind, record: type[Record]) -> dict[str, Record]:
    """Records that will be deployed: those of the plan, and what is there already."""
    versions: Mapping[str, str] = will_be.of_kind(kind)
    there = {path: version for path, version in versions.items() if version not in plan.definitions}
    made = {
        path: decode_definition(plan.definitions[version], record)
        for path, version in versions.items()
        if version in plan.definitions
    }
    return read_all(store, there, record) | made
