"""What driving a flow takes: Redis, scripts, runners, secrets, the clock."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec

from shared.clock import iso_utc
from shared.create_runs import DESCRIPTION_LENGTH
from shared.definitions import Runnable
from shared.errors import HeadraceError
from shared.expression_engine import Limits
from shared.flow_records import BEGUN, FROM, Fanned, encode
from shared.runs import RunSpec, encode_job
from shared.scripts.call import Call
from shared.scripts.flows import Cut, Parts, Reply, cut, fan_out, park, say_missing
from shared.tracing.runs import TracedRun, carried, parent_context
from shared.values import looked_up
from worker.flows.deadlines import Deadlines
from worker.flows.effects import Answer, Done, Enter, Execute, Failed, FanOut
from worker.flows.evaluation import Evaluator
from worker.flows.records import Records, ended_record
from worker.flows.steps import Steps
from worker.jobs import Job
from worker.runners.base import RunDone, RunErrorInfo, ScriptFiles
from worker.sending import TriggerVersions, address, entry
from worker.stopping import StopRequest
from worker.uplink import Uplink

TICK_S: Final = 0.05
RECHECK_S: Final = 60.0
"""A flow that waits for its parts looks after them that often, in case somebody has deleted their records."""
PARTS_MAX: Final = 10_000
ENVIRONMENT_WAIT_S: Final = 0.05
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


Opening = Callable[[Call[Any] | None], Any]
"""Records the start of a flow, and with it the call, in one round trip: the reply to it, False without one. None: the
flow is not ours to execute.
"""


class ScriptVersions(Protocol):
    """Knows the scripts."""

    def files(self, path: str, version: str) -> ScriptFiles | RunErrorInfo | None:
        """Where the script lies, or why it cannot be executed; None if told to stop while Redis is away."""

    def installed(self, files: ScriptFiles, wait_s: float) -> ScriptFiles | RunErrorInfo | None:
        """The script with its packages, or why they cannot be had; None if they are not there after this time."""


class Secrets(Protocol):
    """Knows what must not be kept."""

    def without_secrets(self, document: bytes) -> bytes:
        """A JSON document without them."""

    def resolve(self, value: Any) -> Any:
        """The value with references put in place, and what was sealed opened."""

    def sealed(self, value: Any) -> str:
        """A text that stands for the value."""


class Bounds(msgspec.Struct, frozen=True):
    """How often a step may crash, and what expressions may use."""

    max_crashes: int
    expressions: Limits


class Tools:
    """For any number of flows, one after the other."""

    def __init__(
        self,
        uplink: Uplink,
        scripts: ScriptVersions,
        steps: Steps,
        secrets: Secrets,
        triggers: TriggerVersions,
        stop: StopRequest,
        bounds: Bounds,
    ) -> None:
        self.stop = stop
        self.steps = steps
        self.max_crashes = bounds.max_crashes
        self.evaluator = Evaluator(bounds.expressions, looked_up(secrets.resolve))
        self.worker = uplink.name
        self.tick_s = TICK_S
        self.recheck_s = RECHECK_S
        self.parts_max = PARTS_MAX
        self._uplink = uplink
        self._scripts = scripts
        self._secrets = secrets
        self._triggers = triggers
        self._opening: Opening | None = None
        self.sealed = secrets.sealed
        self.opened = secrets.resolve

    @staticmethod
    def now_ms() -> int:
        """Epoch milliseconds."""
        return time.time_ns() // 1_000_000

    def open_with(self, opening: Opening) -> None:
        """The first that the next flow records goes with its start."""
        self._opening = opening

    def open(self) -> bool:
        """The flow is to be started, if it is not yet: whether it may go on."""
        opening, self._opening = self._opening, None
        return opening is None or opening(None) is not None

    def ask(self, call: Call[Reply]) -> Reply | None:
        """Have Redis carry out what may be repeated. None: told to stop and out of patience, or no longer ours."""
        if (opening := self._opening) is not None:
            self._opening = None
            reply: Reply | None = opening(call)
            return reply
        return self._uplink.insist(lambda store: store.run(call))

    def script(self, runnable: Runnable) -> ScriptFiles | RunErrorInfo | None:
        """The script with its packages, or why it cannot be executed; None if it is not there yet."""
        files = self._scripts.files(runnable.path, runnable.version)
        return self._scripts.installed(files, ENVIRONMENT_WAIT_S) if isinstance(files, ScriptFiles) else files

    def prepare(self, job: Job, effect: Execute, inputs: Any, attempt: int, shared: str) -> RunErrorInfo | None:
        """Make ready the call of a step; why it cannot be made."""
        try:
            self.steps.prepare(job, effect, inputs, attempt, shared)
        except HeadraceError as error:
            return RunErrorInfo(type(error).__name__, f"nothing was executed: {error.message}")
        return None

    def enter(self, effect: Enter, inputs: Any) -> Answer:
        """The arguments of a flow within the flow, with references put in place, or why they cannot be."""
        try:
            return Done(self.steps.resolved(effect, inputs))
        except HeadraceError as error:
            return Failed({"name": type(error).__name__, "message": f"nothing was executed: {error.message}"})

    def outgoing(self, job: Job, effect: Execute, answer: RunDone) -> list[tuple[str, str, bytes]]:
        """What a step publishes that went well. Raises HeadraceError where it cannot be addressed."""
        if not answer.ok or not answer.messages or job.spec is None:
            return []
        cause = job.spec.cause_by(job.message)
        trigger = self._triggers.trigger(cause) if cause else None
        numbered = enumerate(answer.messages, start=1)
        return [entry(address(job, cause, trigger, message, f"{effect.key}.{number}")) for number, message in numbered]

    def without_secrets(self, inputs: Any) -> tuple[Any, bool]:
        """Inputs as they may be kept, and whether there was a secret in them."""
        document = _encode(inputs)
        masked = self._secrets.without_secrets(document)
        return (inputs, False) if masked is document else (_decode(masked), masked != document)

    def park(self, job: Job, records: Records, seconds: float, fan: str = "") -> Reply | None:
        """Let go of the run for so long, or until the parts of this fan have ended."""
        claim = job.claim
        return self.ask(park(self.worker, claim.run_id, claim.execution, round(seconds * 1000), records.news, fan))

    def fan_out(self, job: Job, effect: FanOut, records: Records, deadlines: Deadlines) -> Reply | None:
        """Let go of the run until its parts have ended, which begin."""
        claim, spec = job.claim, job.spec
        if spec is None:
            return "not ours"
        base = f"{claim.run_id}-{_digest(effect.fan)}-"
        runs = [f"{base}{position}" for position in range(1, len(effect.parts) + 1)]
        numbers = [number for number, _ in effect.parts]
        now_ns = time.time_ns()
        fanned = Fanned(
            now_ns // 1_000_000,
            effect.flow_input,
            effect.results,
            runs,
            numbers,
            deadlines.flow_ms,
            effect.limit,
            any(records.raw(f"{effect.fan}{FROM}{number}") for number in numbers),
        )
        records.put(f"{effect.key}{BEGUN}", encode(fanned))
        data = [(number, _part(job, spec, effect, number, item)) for number, item in effect.parts]
        at_once = len(data) if effect.parallelism is None else effect.parallelism
        parts = Parts(
            effect.fan,
            base,
            data,
            at_once,
            round(claim.timeout_s or 0),
            f"{spec.runnable}, {effect.fan}"[:DESCRIPTION_LENGTH],
            round(deadlines.look_after_s(effect.limit, RECHECK_S) * 1000),
        )
        call = fan_out(self.worker, claim.run_id, claim.execution, iso_utc(now_ns), now_ns // 1000, parts, records.news)
        return self.ask(call)

    def cut(self, job: Job, effect: FanOut, over: Failed, records: Records) -> Reply | None:
        """Cancel the parts that have not ended, and let go of the run for that long: they have come to this."""
        claim, now_ns = job.claim, time.time_ns()
        now_ms = now_ns // 1_000_000
        parts = [f"{effect.fan}/{number}" for number, _ in effect.parts]
        came_to = Cut(parts, ended_record(now_ms, over), str(over.error["message"]))
        return self.ask(cut(self.worker, claim.run_id, claim.execution, iso_utc(now_ns), now_ms, came_to, records.news))

    def look_after(self, job: Job, effect: FanOut, fanned: Fanned) -> None:
        """Those parts have ended whose records are gone."""
        stand = [(run, f"{effect.fan}/{number}") for run, number in zip(fanned.runs, fanned.parts, strict=True)]
        self._uplink.insist(lambda store: store.run(say_missing(job.claim.run_id, stand)))

    def read(self, commands: Sequence[tuple[str, ...]]) -> list[Any] | None:
        """The replies to commands that only read. None: told to stop and out of patience."""
        return self._uplink.insist(lambda store: store.commands(commands))


def _part(job: Job, spec: RunSpec, effect: FanOut, number: int, item: Any) -> bytes:
    claim = job.claim
    return encode_job(
        RunSpec(
            "",
            spec.runnable,
            spec.runnable_version,
            f"{spec.idempotency_key}-{_digest(effect.fan)}-{number}",
            spec.captures,
            b"",
            args=_encode(item),
            origin="child",
            parent=claim.run_id,
            root=spec.root or claim.run_id,
            is_flow=True,
            cause=spec.cause_by(job.message),
            trace=carried(parent_context(TracedRun(claim.run_id, claim.execution, spec, job.message))),
            part=f"{effect.fan}/{number}",
        )
    )


def _digest(fan: str) -> str:
    return hashlib.sha256(fan.encode()).hexdigest()[:10]
