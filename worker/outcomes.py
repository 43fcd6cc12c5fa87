"""How a run ended, as it is recorded: from what the runner says to what RQ's tools read. Pure."""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from shared.create_runs import HANDLER_ORIGIN
from shared.run_record import Noted
from shared.scripts.call import Call
from shared.scripts.worker import Ending
from shared.scripts.worker import Outcome as Word
from worker.jobs import Job
from worker.runners.base import RunDone, RunErrorInfo, RunnerDied

EventName = Literal["run.finished", "run.failed", "run.timed_out", "run.crashed"]

_json_encode = msgspec.json.Encoder().encode
_json_decode = msgspec.json.Decoder().decode
_msgpack_encode = msgspec.msgpack.Encoder().encode
EXCERPT = 200
_MS_PER_S = 1000


class Raised(msgspec.Struct, frozen=True, gc=False):
    """Code has raised or timed out. `arguments_json` is what its preprocessor had made of the message."""

    error: RunErrorInfo
    arguments_json: bytes | None = None


class Ended(msgspec.Struct, frozen=True, gc=False):
    """An ending and the event that tells of it; `detail` are the event's own fields. `raised`: by its code's fault.

    `record` is carried out just before the ending is recorded, `answer` is what code that went well has said,
    `duration_s` how long it has executed, None where it has not.
    """

    job: Job
    ending: Ending
    event: EventName
    detail: dict[str, Any]
    raised: Raised | None = None
    answer: RunDone | None = None
    duration_s: float | None = None
    record: Call[Any] | None = None


def done(job: Job, answer: RunDone, duration_s: float, *, skipped: bool = False) -> Ended:
    """The code was executed to its end. `skipped`: a flow that was stopped early, and says that it does not count."""
    ended = _executed(job, answer, duration_s)
    if not answer.labels and answer.arguments_json is None and not skipped:
        return ended
    noted = _noted(answer, skipped=skipped)
    return msgspec.structs.replace(ended, ending=msgspec.structs.replace(ended.ending, noted=noted))


def _executed(job: Job, answer: RunDone, duration_s: float) -> Ended:
    detail: dict[str, Any] = {"duration_ms": round(duration_s * 1000, 2)}
    try:
        result = packed_result(answer.result_json)
    except (msgspec.DecodeError, OverflowError, ValueError) as error:
        problem = RunErrorInfo("ResultError", f"the result cannot be stored: {error}")
        raised = Raised(problem, answer.arguments_json)
        return _lasting(_failed(job, problem, "run.failed", detail, answer.log, raised=raised), duration_s)
    if answer.ok:
        if answer.result_json is not None:
            detail["result"] = answer.result_json[:EXCERPT].decode("utf-8", "replace")
        outcome: Word = "recovered" if _recovers(job, answer.result_json) else "succeeded"
        ending = _ending(job, outcome, result=result, log=answer.log)
        return Ended(job, ending, "run.finished", detail, None, answer, duration_s)
    error_info = answer.error or RunErrorInfo("UnknownError", "the run failed without saying why")
    raised = Raised(error_info, answer.arguments_json)
    return _lasting(_failed(job, error_info, "run.failed", detail, answer.log, result, raised=raised), duration_s)


def refused(job: Job, problem: RunErrorInfo) -> Ended:
    """Nothing was executed."""
    return _failed(job, problem, "run.failed", {})


def timed_out(job: Job, timeout_s: float, log: str, *, loading: bool) -> Ended:
    """The code was killed because it took too long."""
    what = "the script did not load" if loading else "the run gave no answer"
    problem = RunErrorInfo("TimeoutError", f"{what} within {timeout_s:g} s and was ended")
    detail = {"timeout_s": timeout_s}
    return _lasting(_failed(job, problem, "run.timed_out", detail, log, raised=Raised(problem)), timeout_s)


def stopped(job: Job, log: str, duration_s: float | None = None) -> Ended:
    """Somebody asked for the run to be ended."""
    problem = RunErrorInfo("Stopped", "the run was stopped on request")
    ending = _ending(job, "stopped", log=log, error=_error_json(problem), traceback=packed_text(problem.message))
    return Ended(job, ending, "run.failed", {"error": problem.message}, duration_s=duration_s)


def crashed(job: Job, death: RunnerDied, duration_s: float | None = None) -> Ended:
    """The runner died while the code ran, or was ended before the run's turn came. Its last words are the stack."""
    cause = f"the runner {death.cause}"
    tail = death.stderr_tail.strip()
    problem = RunErrorInfo("RunnerDied", cause, tail)
    traceback = packed_text(f"{cause}\n{tail}" if tail else cause)
    ending = _ending(job, "crashed", log=death.log, error=_error_json(problem), traceback=traceback)
    return Ended(job, ending, "run.crashed", {"reason": cause, "exit_status": death.returncode}, duration_s=duration_s)


def interrupted(job: Job, error: RunErrorInfo) -> Ended:
    """A step of the flow was cut off, nobody knows how far it got, and the flow has not handled that."""
    heading = f"{error.name}: {error.message}"
    ending = _ending(job, "interrupted", traceback=packed_text(error.stack or heading), error=_error_json(error))
    return Ended(job, ending, "run.crashed", {"reason": error.message, "exit_status": None})


def recorded(ended: Ended, record: Call[Any]) -> Ended:
    """The same, with something to be recorded just before."""
    return msgspec.structs.replace(ended, record=record)


def retried(ended: Ended, delay_s: int) -> Ended:
    """It has failed, and is to be tried again."""
    ending = msgspec.structs.replace(ended.ending, outcome="retry", delay_ms=delay_s * _MS_PER_S)
    return msgspec.structs.replace(ended, ending=ending, detail={**ended.detail, "retry_in_s": delay_s})


def sent(ended: Ended, outgoing: Sequence[tuple[str, str, bytes]]) -> Ended:
    """The same, with the messages that are published in the same step."""
    return msgspec.structs.replace(ended, ending=msgspec.structs.replace(ended.ending, outgoing=outgoing))


def unsendable(ended: Ended, problem: str) -> Ended:
    """The code went well, and wants published what cannot be: the run has failed, and publishes nothing."""
    answer = ended.answer
    error = RunErrorInfo("PublishError", problem)
    return _failed(ended.job, error, "run.failed", {}, answer.log if answer else "", ended.ending.result)


def with_message(ended: Ended, addition: str) -> Ended:
    """The same failure, with something more to say about it."""
    if ended.raised is None:
        return ended
    error = ended.raised.error
    error = msgspec.structs.replace(error, message=f"{error.message} ({addition})")
    ending = msgspec.structs.replace(ended.ending, error=_error_json(error))
    return msgspec.structs.replace(ended, ending=ending)


def _recovers(job: Job, result_json: bytes | None) -> bool:
    """Whether it is the run of an error handler which says that all is well again (Windmill's `recover`)."""
    if result_json is None or job.spec is None or job.spec.origin != HANDLER_ORIGIN:
        return False
    result = _json_decode(result_json)
    return isinstance(result, dict) and result.get("recover") is True


def packed_result(result_json: bytes | None) -> str:
    """A result as RQ keeps return values, base64 of msgpack; '' for none and null."""
    if result_json is None or result_json == b"null":
        return ""
    return b64encode(_msgpack_encode(_json_decode(result_json))).decode()


def packed_text(text: str) -> str:
    """A traceback as RQ keeps them: base64 of zlib."""
    return b64encode(zlib.compress(text.encode("utf-8", "replace"))).decode()


def _failed(
    job: Job,
    error: RunErrorInfo,
    event: EventName,
    detail: dict[str, Any],
    log: str = "",
    result: str = "",
    *,
    raised: Raised | None = None,
) -> Ended:
    heading = f"{error.name}: {error.message}"
    ending = _ending(
        job,
        "failed",
        result=result,
        traceback=packed_text(error.stack or heading),
        error=_error_json(error),
        log=log,
    )
    if event == "run.failed":
        detail = {**detail, "error": heading}
    return Ended(job, ending, event, detail, raised)


def _lasting(ended: Ended, duration_s: float) -> Ended:
    return msgspec.structs.replace(ended, duration_s=duration_s)


def _ending(
    job: Job, outcome: Word, *, result: str = "", traceback: str = "", error: str = "", log: str = ""
) -> Ending:
    claim = job.claim
    return Ending(claim.run_id, claim.execution, outcome, result, traceback, error, log, claim.counted)


def _noted(answer: RunDone, *, skipped: bool) -> str:
    arguments = None if answer.arguments_json is None else msgspec.Raw(answer.arguments_json)
    return _json_encode(Noted(list(answer.labels), arguments, skipped)).decode()


def _error_json(error: RunErrorInfo) -> str:
    return _json_encode(error).decode()
