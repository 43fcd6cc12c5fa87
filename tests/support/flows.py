"""Flows for real workers: deployed and queued by the verbs alone, and what their steps really did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any

import msgspec

from shared import keys
from shared.definitions import Definition, Flow, Runnable, Script, encode_definition
from shared.envelope import encode_envelope
from shared.flow_records import Ended, read_ended
from shared.openflow import FlowStep, FlowValue, RawScript, ScriptStep, walk
from shared.runs import RunSpec, encode_job
from shared.scripts.dispatch import NewRun, Placement, place
from shared.scripts.operate import MadeRun, create_runs
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import NOW_ISO, NOW_MS, TRIGGER, HeldSession, make_envelope, read_entries
from tests.support.workers import last_attempt, states

FLOW = "f/t/flow"
TIMEOUT_S = 60
Modules = Sequence[Mapping[str, Any]]
_ECHO = "def main(**given):\n    return given\n"
_sessions = iter(range(10**9))


def step(step_id: str, inputs: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A step `rawscript`: an input that is a text is an expression, any other a value."""
    return {"id": step_id, "value": {"type": "rawscript", "input_transforms": transforms(inputs or {})}, **fields}


def transforms(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Input transforms: a text is an expression, any other a value."""
    return {name: expr(each) if isinstance(each, str) else static(each) for name, each in inputs.items()}


def expr(text: str) -> dict[str, Any]:
    """An expression as input transform."""
    return {"type": "javascript", "expr": text}


def static(value: Any) -> dict[str, Any]:
    """A value as input transform."""
    return {"type": "static", "value": value}


def loop(step_id: str, iterator: str, *modules: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """A loop over what an expression gives; `value` are further fields of its value."""
    value = {"type": "forloopflow", "iterator": expr(iterator), "modules": list(modules), **fields.pop("value", {})}
    return {"id": step_id, "value": value, **fields}


def while_loop(step_id: str, *modules: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """A loop without end."""
    value = {"type": "whileloopflow", "modules": list(modules), **fields.pop("value", {})}
    return {"id": step_id, "value": value, **fields}


def branch_one(step_id: str, branches: Mapping[str, Modules], default: Modules = (), **fields: Any) -> dict[str, Any]:
    """The branches by their expressions."""
    found = [{"expr": each, "modules": list(modules)} for each, modules in branches.items()]
    return {"id": step_id, "value": {"type": "branchone", "branches": found, "default": list(default)}, **fields}


def branch_all(step_id: str, *branches: Modules, skip_failure: bool = False, **fields: Any) -> dict[str, Any]:
    """All of these branches; `value` are further fields of its value."""
    found = [{"modules": list(modules), "skip_failure": skip_failure} for modules in branches]
    return {"id": step_id, "value": {"type": "branchall", "branches": found, **fields.pop("value", {})}, **fields}


def flow_of(
    modules: Modules,
    runnables: Mapping[str, Runnable] | None = None,
    *,
    path: str = FLOW,
    timeout_s: int | None = None,
    **fields: Any,
) -> Flow:
    """A flow of these steps; what they run where it is not said has a version that names it."""
    value = msgspec.convert({"modules": list(modules), **fields}, FlowValue)
    known = dict(runnables or {})
    for module in walk(value):
        if isinstance(module.value, RawScript | ScriptStep | FlowStep) and module.id not in known:
            known[module.id] = Runnable(f"{path}/{module.id}", f"v-{module.id}", TIMEOUT_S)
    return Flow(path, value, timeout_s, known)


def deploy_flow(
    store: Store, modules: Modules, sources: Mapping[str, str] | None = None, *, path: str = FLOW, **fields: Any
) -> Runnable:
    """Put a flow and the scripts of its steps among the definitions; a step without a source gives its inputs back.

    `flows` are the flows that steps run, by id.
    """
    within: Mapping[str, Runnable] = fields.pop("flows", {})
    sketch = flow_of(modules, within, path=path, **fields)
    runnables = dict(within)
    for step_id in sketch.runnables:
        if step_id not in within:
            source = dedent((sources or {}).get(step_id, _ECHO))
            name = f"{path}/{step_id}"
            function = "preprocessor" if step_id == "preprocessor" else "main"
            script = Script(name, "python3", f"{name}.py", {f"{name}.py": source}, function=function)
            runnables[step_id] = Runnable(name, deploy(store, script), TIMEOUT_S)
    return Runnable(path, deploy(store, flow_of(modules, runnables, path=path, **fields)), TIMEOUT_S, is_flow=True)


def deploy(store: Store, definition: Definition) -> str:
    """Put a record among the definitions; its version."""
    version, blob = encode_definition(definition)
    store.command("HSET", keys.DEFINITIONS, version, blob)
    return version


def queue_flows(store: Store, flow: Runnable, *run_ids: str, payload: bytes = b"go", **envelope: Any) -> None:
    """Put runs of this flow into the queue, each from an admitted message."""
    session = f"session{next(_sessions)}"
    envelopes = [make_envelope(qos=int(run_id[1]), payload=payload, **envelope) for run_id in run_ids]
    HeldSession(store, session, session).admit(*envelopes)
    placements = []
    for entry, run_id, message in zip(read_entries(store), run_ids, envelopes, strict=True):
        spec = RunSpec(TRIGGER, flow.path, flow.version, run_id[3:], {}, encode_envelope(message), is_flow=True)
        placements.append(Placement(entry, TRIGGER, "run", [NewRun(run_id, encode_job(spec), FLOW, TIMEOUT_S)]))
    store.run(place(placements, NOW_ISO, NOW_MS * 1000, 100_000))


def run_flow(store: Store, flow: Runnable, run_id: str, args: Mapping[str, Any] | None = None) -> None:
    """Queue a run that no message made."""
    blob = msgspec.json.encode(args or {})
    spec = RunSpec("", flow.path, flow.version, run_id[3:], {}, b"", args=blob, origin="api", is_flow=True)
    run = MadeRun(run_id, encode_job(spec), FLOW, TIMEOUT_S, "api")
    store.run(create_runs([run], NOW_ISO, NOW_MS * 1000))


def records(store: Store, run_id: str) -> dict[str, Ended]:
    """What the steps and expressions of a flow have come to, by key."""
    fields = store.command("HGETALL", keys.flow(run_id))
    return {
        name.decode(): read_ended(value)
        for name, value in fields.items()
        if not name.endswith(b">") and b"!" not in name and value
    }


def flow_result(store: Store, run_id: str = "q2-api-1", state: str = "succeeded") -> Any:
    """The result of a flow that has ended so."""
    ended = {"succeeded", "failed", "interrupted", "cancelled", "lost"}
    eventually(lambda: states(store, run_id)[0] in ended, timeout_s=20)
    assert states(store, run_id) == [state], last_attempt(store, run_id)
    return last_attempt(store, run_id).get("result")


class Tally:
    """What really ran: steps that note each execution in a file."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "tally"
        self.file.touch()
        self.gate = folder / "gate"

    def source(self, name: str, body: str = "return given") -> str:
        """A step that notes its name and its key, then does this with `given`."""
        return (
            "import os, time\nimport headrace\n\n"
            "def main(**given):\n"
            f"    with open({str(self.file)!r}, 'a') as tally:\n"
            f"        tally.write(f'{name} {{headrace.run.idempotency_key}}\\n')\n" + _indented(body)
        )

    def held(self, name: str) -> str:
        """The same; the first execution of all waits for `open`."""
        once = str(self.gate) + "-held"
        body = (
            f"if not os.path.exists({once!r}):\n"
            f"    open({once!r}, 'w').close()\n"
            f"    while not os.path.exists({str(self.gate)!r}):\n"
            "        time.sleep(0.01)\n"
            "return given"
        )
        return self.source(name, body)

    @property
    def is_held(self) -> bool:
        """A step waits."""
        return Path(str(self.gate) + "-held").exists() and not self.gate.exists()

    def open(self) -> None:
        """Let it go on."""
        self.gate.touch()

    def executed(self) -> list[str]:
        """Names of steps in the order of execution."""
        return [line.split()[0] for line in self.file.read_text().splitlines()]

    def by_key(self) -> Counter[str]:
        """How often each step of each run was executed."""
        return Counter(line.split()[1] for line in self.file.read_text().splitlines())


def _indented(body: str) -> str:
    return "".join(f"    {line}\n" for line in body.splitlines())
