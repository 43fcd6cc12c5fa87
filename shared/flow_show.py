"""Reading the steps of a run of a flow from Redis, with those of its parallel parts. Only reads."""

from __future__ import annotations

from shared import keys
from shared.definitions import Flow
from shared.deployment import definition_command, read_definition
from shared.flow_nodes import StepNode, all_nodes
from shared.flow_records import BEGUN, read_fanned
from shared.flow_tree import Definitions, Recorded, make_tree
from shared.run_record import read_data
from shared.store import Store

_FAN = f"!parts{BEGUN}"
_DEPTH = 8
"""Parallel loops within parallel loops."""


def read_steps(store: Store, run_id: str, state: str) -> list[StepNode]:
    """The steps of a run; none if it runs no flow, those of the part if it is one."""
    (data,) = store.commands([("HGET", keys.job(run_id), "data")])
    spec, _ = read_data(data)
    if spec is None or not spec.is_flow:
        return []
    flows = read_flows(store, spec.runnable_version)
    fields, runs = _read(store, [run_id], _DEPTH)
    recorded = Recorded(fields, runs, state)
    steps = make_tree(recorded, Definitions(flows.get(spec.runnable_version), flows))
    if not spec.part:
        return steps
    fan, _, number = spec.part.rpartition("/")
    key = f"{fan.partition('#')[0]}/{number}"
    return next((node.steps for node in all_nodes(steps) if node.key == key), [])


def read_flows(store: Store, version: str) -> dict[str, Flow]:
    """A version of a flow and the flows within it, and those within them, as far as they are still there."""
    found: dict[str, Flow] = {}
    wanted = {version}
    while wanted:
        blobs = store.commands([definition_command(each) for each in wanted])
        new = {each: flow for each, blob in zip(wanted, blobs, strict=True) if (flow := read_definition(blob, Flow))}
        found |= new
        within = {runnable.version for flow in new.values() for runnable in flow.runnables.values() if runnable.is_flow}
        wanted = within - found.keys() - wanted
    return found


def _read(store: Store, run_ids: list[str], depth: int) -> tuple[dict[str, bytes], dict[str, str]]:
    """What these runs have recorded, and by key the runs of parts; with what those have recorded."""
    fields: dict[str, bytes] = {}
    runs: dict[str, str] = {}
    for reply in store.commands([("HGETALL", keys.flow(run_id)) for run_id in run_ids]):
        fields |= {name.decode(): value for name, value in reply.items()}
    fans = [(*_fan(name), read_fanned(blob)) for name, blob in fields.items() if name.endswith(_FAN)]
    for container, _, fanned in sorted(fans, key=lambda fan: fan[1]):
        runs |= {f"{container}/{part}": run for part, run in zip(fanned.parts, fanned.runs, strict=True)}
    if runs and depth:
        inner, deeper = _read(store, list(runs.values()), depth - 1)
        fields, runs = {**inner, **fields}, {**deeper, **runs}
    return fields, runs


def _fan(name: str) -> tuple[str, int]:
    """The step whose parts these are, and how often they were carried out before."""
    container, _, turn = name.removesuffix(_FAN).rpartition("#")
    return (container, int(turn)) if container and turn.isdecimal() else (name.removesuffix(_FAN), 0)
