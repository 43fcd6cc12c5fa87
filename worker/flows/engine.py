"""Runs of flows, from their start to an ending that is reported like that of any run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from shared import keys
from shared.errors import HeadraceError, InternalError, StoreUnavailable, UserError
from shared.event import payload_argument
from shared.flow_records import INPUT, INTERRUPTED
from shared.run_record import iso_ms
from shared.runs import RunSpec
from worker import outcomes
from worker.flows import faults
from worker.flows.around import Around, Surroundings, read_hash
from worker.flows.drive import Cancelled, Crashed, Drive, LetGo
from worker.flows.effects import Asking, Outcome
from worker.flows.interpreter import Known, interpret, interpret_part
from worker.flows.parts import find_part
from worker.flows.records import Records
from worker.flows.tools import Opening, Tools
from worker.flows.versions import FlowVersion
from worker.jobs import Job
from worker.outcomes import Ended
from worker.runners.base import Form, RunDone, RunErrorInfo
from worker.runners.process import Scratch

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_MS = 1000


class Forms(Protocol):
    """Knows the triggers."""

    def form(self, trigger_version: str) -> Form:
        """The form in which this trigger hands payloads to `main`."""


class References(Protocol):
    """Knows variables and resources."""

    def resolve(self, value: Any) -> Any:
        """The value with references put in place."""


class PayloadError(UserError):
    """The payload is not in the form that the trigger promises."""


class FlowEngine:
    """Drives started runs of flows one at a time, and hands what has ended on to `report`: not what has to wait, and
    not what another worker has taken over.
    """

    def __init__(self, tools: Tools, forms: Forms, references: References, report: Callable[[Ended], None]) -> None:
        self._tools = tools
        self._forms = forms
        self._references = references
        self._report = report
        self._surroundings = Surroundings(self._asked)

    def drive(self, job: Job, version: FlowVersion, opening: Opening, tick: Callable[[], None]) -> None:
        """As far as it goes now. `tick` is called now and then. `opening` starts it, with the first that it records:
        what comes before that changes nothing, and is done again by whoever claims it next.
        """
        self._tools.open_with(opening)
        if job.spec is not None and job.spec.part:  # its end is looked up: there is somebody to be told
            job = msgspec.structs.replace(job, claim=msgspec.structs.replace(job.claim, counted=""))
        folder = Scratch() if version.flow.value.same_worker else None
        try:
            ended = self._drive(job, version, folder.path if folder else "", tick)
        except (LetGo, StoreUnavailable):
            return
        except HeadraceError as error:
            problem = RunErrorInfo(type(error).__name__, f"the flow cannot be carried out: {error.message}")
            ended = outcomes.refused(job, problem)
        except (
            RecursionError,
            OverflowError,
            ValueError,
            msgspec.MsgspecError,
        ) as error:  # a value beyond JSON's bounds
            problem = RunErrorInfo("FlowError", f"the flow cannot be carried out: {type(error).__name__}: {error}")
            ended = outcomes.refused(job, problem)
        finally:
            if folder is not None:
                folder.remove()
        if self._tools.open():
            self._report(ended)

    def _drive(self, job: Job, version: FlowVersion, shared: str, tick: Callable[[], None]) -> Ended:
        began = time.monotonic()
        records, around = self._read(job)
        asking, deadline_ms = self._begin(job, version, records, around)
        drive = Drive(job, records, self._tools, deadline_ms, shared)
        try:
            outcome = drive.run(asking, tick)
        except Cancelled as cancelled:
            return outcomes.recorded(outcomes.stopped(job, cancelled.log), drive.last_record())
        except Crashed as crashed:
            return outcomes.crashed(job, crashed.death)
        if not outcome.ok:
            records.note_failure(outcome.failed_at)
        result, error = (self._tools.without_secrets(each)[0] for each in (outcome.result, outcome.error))
        outcome = msgspec.structs.replace(outcome, result=result, error=error)
        ended = _ended(job, outcome, drive, records, time.monotonic() - began)
        return outcomes.recorded(ended, drive.last_record())

    def _read(self, job: Job) -> tuple[Records, Around | None]:
        """What the run has recorded, and what the flow knows that it is a part of."""
        spec = job.spec
        if spec is None:
            raise InternalError("a job that is not ours was to be executed", run=job.claim.run_id)
        stored: Mapping[str, bytes] = {}
        if not (spec.part and job.claim.is_fresh):
            stored = read_hash(self._asked([("HGETALL", keys.flow(job.claim.run_id))])[0])
        around = self._surroundings.of(spec) if spec.part else None
        taken = {} if around is None or stored else self._surroundings.taken(spec, around)
        return Records(stored, self._tools.now_ms, taken, self._tools.opened), around

    def _asked(self, commands: Sequence[tuple[str, ...]]) -> list[Any]:
        replies = self._tools.read(commands)
        if replies is None:
            raise LetGo
        return replies

    def _begin(
        self, job: Job, version: FlowVersion, records: Records, around: Around | None
    ) -> tuple[Asking[Outcome], int | None]:
        """What asks, and when it must have ended (epoch ms)."""
        spec, flow = job.spec, version.flow
        if spec is None:
            raise InternalError("a job that is not ours was to be executed", run=job.claim.run_id)
        if around is not None:
            return _begin_part(spec, version, around)
        started_ms = records.started_ms()
        timeout_s = job.claim.timeout_s or flow.timeout_s  # a trigger's wins over the flow's
        deadline_ms = None if not timeout_s else started_ms + round(timeout_s * _MS)
        due_ms = job.message.received_at if job.message else started_ms
        constants = {"flow_job_id": job.claim.run_id, "started_at": started_ms, "WM_SCHEDULED_FOR": iso_ms(due_ms)}
        return interpret(flow, version.flows, self._arguments(spec, job, version), constants), deadline_ms

    def _arguments(self, spec: RunSpec, job: Job, version: FlowVersion) -> dict[str, Any] | None:
        """None: its preprocessor makes them."""
        message = job.message
        if message is None:
            given = _decode(spec.args or b"{}")
            known: dict[str, Any] = self._references.resolve(given) if _refers(spec.args) else given
            return known
        if version.flow.value.preprocessor_module is not None:
            return None
        form = self._forms.form(message.trigger_version)
        arguments = payload_argument(message.payload, form if form != "arguments" else "windmill") or {}
        if not arguments:
            raise PayloadError(f"the payload is not {form}")
        return arguments


def _begin_part(spec: RunSpec, version: FlowVersion, around: Around) -> tuple[Asking[Outcome], int | None]:
    fanned = around.fanned
    fan, _, number = spec.part.rpartition("/")
    outer, _, last = fan.rpartition("/")
    container = f"{outer}/{last.partition('#')[0]}".removeprefix("/")
    part = find_part(version.flow, version.flows, f"{container}/{number}")
    known = Known(fanned.flow_input, fanned.results, _decode(spec.args or b"null"), fanned.limit)
    constants = {"flow_job_id": spec.root or spec.parent, "started_at": around.started_ms}
    return interpret_part(part, version.flows, known, constants), fanned.deadline_ms


def _refers(args: bytes | None) -> bool:
    return args is not None and (b"$var:" in args or b"$res:" in args)


def _ended(job: Job, outcome: Outcome, drive: Drive, records: Records, duration_s: float) -> Ended:
    result = None if outcome.result is None else _encode(outcome.result)
    made = records.raw(INPUT)
    labels = tuple(drive.labels)
    if outcome.ok:
        answer = RunDone(job.claim.run_id, True, result, None, "", made, labels)  # noqa: FBT003
        return outcomes.done(job, answer, duration_s, skipped=outcome.skipped)
    error = faults.error_info(outcome.error or {})
    if error.name == INTERRUPTED:
        return outcomes.interrupted(job, error)
    return outcomes.done(job, RunDone(job.claim.run_id, False, result, error, "", made, labels), duration_s)  # noqa: FBT003
