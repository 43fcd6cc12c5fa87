"""Reading the steps of a run of a flow from Redis, with those of its parallel parts. Only reads."""

from __future__ import annotations

from shared import keys
from shared.definitions import Flow
from shared.deployment import definition_command, read_definition
from shared.flow_records import BEGUN, read_fanned
from shared.flow_tree import StepNode, make_tree
from shared.run_record import read_data
from shared.runs import LIVE
from shared.store import Store

_FAN = f"!parts{BEGUN}"
_DEPTH = 8
"""Parallel loops within parallel loops."""


def read_steps(store: Store, run_id: str, state: str) -> list[StepNode]:
    """The steps of a run; none if it runs no flow."""
    (data,) = store.commands([("HGET", keys.job(run_id), "data")])
    spec, _ = read_data(data)
    if spec is None or not spec.is_flow:
        return []
    (blob,) = store.commands([definition_command(spec.runnable_version)])
    flow = None if spec.part else read_definition(blob, Flow)
    fields, runs = _read(store, [run_id], _DEPTH)
    return make_tree(fields, flow.value.modules if flow else [], runs, is_live=state in LIVE)


def _read(store: Store, run_ids: list[str], depth: int) -> tuple[dict[str, bytes], dict[str, str]]:
    """What these runs have recorded, and by key the runs of parts; with what those have recorded."""
    fields: dict[str, bytes] = {}
    runs: dict[str, str] = {}
    for reply in store.commands([("HGETALL", keys.flow(run_id)) for run_id in run_ids]):
        fields |= {name.decode(): value for name, value in reply.items()}
    for name, blob in list(fields.items()):
        if name.endswith(_FAN):
            fan, fanned = name.removesuffix(_FAN), read_fanned(blob)
            container = fan.partition("#")[0]
            runs |= {f"{container}/{part}": run for part, run in zip(fanned.parts, fanned.runs, strict=True)}
    if runs and depth:
        inner, deeper = _read(store, list(runs.values()), depth - 1)
        fields, runs = {**inner, **fields}, {**deeper, **runs}
    return fields, runs
