"""Do RQ's records say of the runs what the runs say of themselves? A sample is compared. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from shared import keys
from shared.run_record import state_of
from shared.runs import RQ_REGISTRY, RQ_STATUS, RQ_STOPPED
from shared.scripts.call import Arg
from shared.store import Store

SAMPLE: Final = 200
"""Runs that are looked at, from either end of each registry, of the queue and of the list of runs."""

_REGISTRIES: Final = tuple(dict.fromkeys(RQ_REGISTRY.values()))
_FIELDS: Final = ("status", "state", "execution")


class Found(msgspec.Struct, frozen=True):
    """What Redis holds of a run: fields of its record, the registries that it is in, and whether the queue names it."""

    run_id: str
    status: str
    state: str
    registries: frozenset[str]
    is_queued: bool


def differences(store: Store) -> list[str]:
    """One line for each run of the sample about which RQ's records and its own disagree.

    Who looks odd is looked at again, because a run may move meanwhile.
    """
    listed, queued = _listed(store)
    suspects = [found.run_id for found in _read(store, listed, queued) if difference(found)]
    if not suspects:
        return []
    listed_again, queued_again = _listed(store)
    members = {registry: names & set(suspects) for registry, names in listed_again.items()}
    again = _read(store, {**members, "": set(suspects)}, queued_again)
    return sorted(text for found in again if (text := difference(found)))


def difference(found: Found) -> str | None:
    """In what a run's records disagree; None: in nothing."""
    where = ", ".join(sorted(found.registries)) or "no registry"
    state = state_of(found.status, found.state)
    if not found.status:
        return f"{found.run_id} is in {where}, and its record is gone" if found.registries else None
    if state not in RQ_STATUS:
        return f"{found.run_id} has the state {state or 'none'}, which does not exist"
    if found.status != RQ_STATUS[state] and not (state == "cancelled" and found.status == RQ_STOPPED):
        return f"{found.run_id} is {state}, and RQ has it as {found.status}"
    wanted = RQ_REGISTRY.get(state)
    if found.registries != ({wanted} if wanted else set()):
        return f"{found.run_id} is in {where}, its state is {state}"
    if found.is_queued and state not in {"queued", "cancelled"}:
        return f"{found.run_id} is in the queue, its state is {state}"
    return None


def _listed(store: Store) -> tuple[dict[str, set[str]], set[str]]:
    """The sample: run ids by the registry that names them ('' for the list of runs), and those in the queue."""
    commands: list[tuple[Arg, ...]] = []
    for registry in _REGISTRIES:
        commands += (("ZRANGE", registry, 0, SAMPLE - 1), ("ZREVRANGE", registry, 0, SAMPLE - 1))
    commands += (("ZREVRANGE", keys.RUNS, 0, SAMPLE - 1), ("LRANGE", keys.RQ_QUEUE, 0, SAMPLE - 1))
    *replies, newest, queue = store.commands(commands)
    listed = {
        registry: {_run_id(member) for member in [*replies[2 * i], *replies[2 * i + 1]]}
        for i, registry in enumerate(_REGISTRIES)
    }
    queued = {_run_id(member) for member in queue}
    return {**listed, "": {_run_id(member) for member in newest} | queued}, queued


def _read(store: Store, listed: Mapping[str, Iterable[str]], queued: set[str]) -> Iterator[Found]:
    """What is known of each, by its record, and by asking each registry for it."""
    ids = sorted({run_id for names in listed.values() for run_id in names})
    heads = store.commands([("HMGET", keys.job(run_id), *_FIELDS) for run_id in ids])
    commands: list[tuple[Arg, ...]] = []
    for run_id, (_, _, execution) in zip(ids, heads, strict=True):
        for registry in _REGISTRIES:
            member = f"{run_id}:{(execution or b'').decode()}" if registry == keys.RQ_STARTED else run_id
            commands.append(("ZSCORE", registry, member))
    scores = store.commands(commands)
    for i, (run_id, (status, state, _)) in enumerate(zip(ids, heads, strict=True)):
        own = scores[i * len(_REGISTRIES) : (i + 1) * len(_REGISTRIES)]
        there = {registry for registry, score in zip(_REGISTRIES, own, strict=True) if score is not None}
        if run_id in listed.get(keys.RQ_STARTED, ()) and (state or b"") != b"running":
            there.add(keys.RQ_STARTED)  # for an execution that is not its last
        yield Found(run_id, (status or b"").decode(), (state or b"").decode(), frozenset(there), run_id in queued)


def _run_id(member: bytes) -> str:
    """The started registry names runs as `<run id>:<execution id>`."""
    return member.decode().partition(":")[0]
