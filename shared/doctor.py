"""Is the set-up sound? Checks, each with what it found and how to mend it. Reads only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import packages_distributions
from typing import Final, Literal

import msgspec

from shared.definitions import Trigger
from shared.doctor_brokers import BrokerCheck, check_brokers
from shared.doctor_queues import check_queues
from shared.doctor_runs import differences
from shared.doctor_triggers import losing
from shared.errors import HeadraceError, StoreUnavailable
from shared.modes import read_triggers
from shared.processes import Process, list_processes
from shared.status import RedisStatus, SessionStatus, Status, read_status
from shared.status_page import identity_text
from shared.store import Store
from shared.tables import duration

PACKAGES: Final = ("ingest", "dispatch", "worker", "shared", "console")
DISTRIBUTION: Final = "headrace"
OLDEST_REDIS: Final = (7, 0)
SHOWN: Final = 5
"""Runs that are named where records disagree."""
LONG_WAIT_MS: Final = 30_000

_TRANSIENT = ("connecting", "reconnecting", "draining")


class Check(msgspec.Struct, frozen=True):
    """What one check found. `fix` says what to do where it is not ok."""

    level: Literal["ok", "warn", "fail"]
    name: str
    found: str
    fix: str = ""


def examine(store: Store, url: str) -> list[Check]:
    """All checks, those of this installation first."""
    checks = [check_names(packages_distributions())]
    try:
        status = read_status(store, url)
    except StoreUnavailable as error:
        return [*checks, Check("fail", "redis", error.message, error.hint)]
    except HeadraceError as error:
        fix = f"Headrace needs Redis {OLDEST_REDIS[0]}.{OLDEST_REDIS[1]} or Valkey, with Lua scripts allowed"
        return [*checks, Check("fail", "redis", error.message, fix)]
    return [*checks, *examine_running(store, status)]


def examine_running(store: Store, status: Status) -> list[Check]:
    """All checks but those of this installation and of whether Redis answers."""
    sound = check_status(status)
    brokers = [check for found in check_brokers(store) for check in broker_checks(found)]
    triggers = read_triggers(store, []).values()
    losses, stalled = check_losses(triggers), check_consumers(list_processes(store))
    return [*sound, *brokers, *losses, *stalled, check_registries(store)]


def check_status(status: Status) -> list[Check]:
    """The checks that need no more than the status."""
    return [
        check_version(status.redis),
        check_durability(status.redis),
        check_deployment(status),
        *[check_session(session) for session in status.sessions],
        *[Check(each.level, f"queues of {each.broker}", each.found, each.fix) for each in check_queues(status.brokers)],
        check_backlog(status),
        check_workers(status),
        check_books(status),
    ]


def check_names(distributions: Mapping[str, Sequence[str]]) -> Check:
    """Our packages have plain names: nobody else's may hide them. `distributions`: name → who has installed it."""
    others = {
        name: sorted({given for given in distributions.get(name, ()) if given.lower() != DISTRIBUTION})
        for name in PACKAGES
    }
    clashes = [f"{name} (from {', '.join(given)})" for name, given in others.items() if given]
    if clashes:
        fix = "install Headrace in a virtual environment of its own; your code's dependencies go into the runners'"
        return Check("warn", "packages", f"also installed by others: {'; '.join(clashes)}", fix)
    return Check("ok", "packages", "nobody else has installed packages of the same names")


def check_version(redis: RedisStatus) -> Check:
    """New enough for the verbs."""
    version = tuple(int(part) for part in re.findall(r"\d+", redis.version)[:2])
    found = f"{redis.server} {redis.version or 'of unknown version'} answers at {redis.url}"
    if version and version < OLDEST_REDIS:
        return Check("fail", "redis", found, "upgrade to Redis 7.0 or later, or Valkey 8 or 9")
    return Check("ok", "redis", found)


def check_durability(redis: RedisStatus) -> Check:
    """What was acknowledged to a broker must survive the death of Redis."""
    if redis.durability == "full":
        return Check("ok", "durability", "full: what is acknowledged survives kill -9 of Redis")
    fix = "set appendonly yes, appendfsync always and maxmemory-policy noeviction"
    return Check("warn", "durability", f"{redis.durability}: {'; '.join(redis.reasons)}", fix)


def check_deployment(status: Status) -> Check:
    """Something to do."""
    deployment = status.deployment
    if not deployment.triggers:
        return Check("warn", "deployment", "no trigger is deployed", "headrace push DIR")
    return Check("ok", "deployment", f"number {deployment.number} with {deployment.triggers} triggers")


def check_session(session: SessionStatus) -> Check:
    """Held, connected, and granted what it asked for."""
    name = f"session {session.trigger}"
    reason = f": {session.reason}" if session.reason else ""
    if session.state == "disabled":
        return Check("ok", name, "disabled")
    if session.state == "waiting":
        return Check("fail", name, "no process holds it", "start headrace ingest")
    if session.state in _TRANSIENT:
        return Check(
            "warn", name, f"{session.state}{reason}", "check that the broker runs and can be reached from here"
        )
    if session.state != "connected":
        return Check("fail", name, f"{session.state}{reason}", "mend what the broker objects to; it is tried again")
    if session.refused:
        topics = ", ".join(f"{topic} ({code})" for topic, code in session.refused.items())
        return Check("fail", name, f"the broker refuses {topics}", "allow the user to subscribe, in the broker's ACL")
    return Check("ok", name, f"connected with MQTT {session.protocol}, epoch {session.epoch}")


def check_losses(triggers: Iterable[Trigger]) -> list[Check]:
    """Triggers whose settings lose messages."""
    found = [(trigger.path, losing(trigger)) for trigger in triggers]
    return [Check("warn", f"session {path}", *loss) for path, loss in found if loss is not None]


def check_consumers(processes: Iterable[Process]) -> list[Check]:
    """Dispatchers that hold messages and are not heard of. The others take them over; here, nobody has."""
    return [
        Check(
            "warn",
            f"dispatch {process.name}",
            f"holds {process.doing} messages, and was last heard of {duration(process.idle_ms)} ago",
            "start headrace dispatch: another one takes them over; if one runs, look into its log",
        )
        for process in processes
        if process.kind == "dispatch" and process.state == "silent" and process.doing
    ]


def broker_checks(found: BrokerCheck) -> list[Check]:
    """What a broker can do, or each thing that it cannot."""
    name = f"broker of {found.trigger}"
    short = [Check(each.level, name, each.what, each.fix) for each in found.shortfalls]
    return short or [Check("ok", name, found.told)]


def check_backlog(status: Status) -> Check:
    """Nothing waits for long."""
    age = status.oldest_unprocessed_age_ms
    waiting = f"{status.inbox_length} messages in the inbox, {status.queue_length} runs queued"
    if age is None or age < LONG_WAIT_MS:
        return Check("ok", "backlog", waiting)
    fix = "start headrace dispatch" if status.inbox_length else "start more of headrace worker"
    return Check("warn", "backlog", f"{waiting}, the oldest for {duration(age)}", fix)


def check_workers(status: Status) -> Check:
    """Somebody to run the code."""
    alive = [worker.name for worker in status.workers if worker.alive]
    dead = [worker.name for worker in status.workers if not worker.alive]
    if not alive:
        return Check("fail", "workers", "none is alive", "start headrace worker")
    if dead:
        return Check(
            "warn", "workers", f"{len(alive)} alive; died: {', '.join(dead)}", "the others settle their runs soon"
        )
    return Check("ok", "workers", f"{len(alive)} alive")


def check_books(status: Status) -> Check:
    """The identities hold."""
    wrong = [identity_text(identity) for identity in status.identities if not identity.holds]
    if wrong:
        fix = "a defect of Headrace, or somebody has changed its keys: please report it with `headrace status --json`"
        return Check("fail", "books", "; ".join(wrong), fix)
    return Check("ok", "books", "every message is accounted for")


def check_registries(store: Store) -> Check:
    """State, RQ's status and RQ's registries agree on a sample of runs."""
    found = differences(store)
    if found:
        fix = "somebody has changed RQ's keys by hand; `headrace runs show ID` tells what is known"
        more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        return Check("warn", "registries", "; ".join([*found[:SHOWN], *more]), fix)
    return Check("ok", "registries", "RQ's registries agree with the runs")
