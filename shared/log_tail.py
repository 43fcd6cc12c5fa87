"""The log of a run as it grows: what each attempt has printed, each part once."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from shared import keys
from shared.flow_nodes import StepNode, all_logs
from shared.history import show
from shared.run_record import Attempt
from shared.runs import LIVE
from shared.store import Store


class LogPart(msgspec.Struct, frozen=True, omit_defaults=True):
    """The next text of an attempt (counted from 1). `is_first`: nothing of this attempt came before. `state` is
    `running`, or the outcome of the attempt. `step` is the key of a flow's step that has printed it, '' for a script.
    """

    attempt: int
    state: str
    text: str
    is_first: bool
    step: str = ""


class LogTail:
    """What was told of a run so far, and what comes next."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._ended: set[str] = set()
        self._followed = ""
        self._shown = ""

    def read(self, store: Store) -> tuple[list[LogPart], bool]:
        """What has come since, and whether the run still lives. Raises NotThere, StoreUnavailable."""
        execution, text = self._read_live(store)
        details = show(store, self._run_id)
        run = details.run
        if details.steps:
            return self._steps(details.steps, run.attempts), run.state in LIVE
        parts: list[LogPart] = []
        before = run.attempts - (run.state == "running") - len(details.attempts)
        for number, attempt in enumerate(details.attempts, start=before + 1):
            if attempt.execution_id not in self._ended:
                self._ended.add(attempt.execution_id)
                parts.append(self._ended_part(number, attempt))
        if execution and execution not in self._ended and run.state == "running":
            is_first = self._followed != execution
            if is_first:
                self._followed, self._shown = execution, ""
            parts.append(LogPart(run.attempts, "running", text[len(self._shown) :], is_first))
            self._shown = text
        return [part for part in parts if part.text or part.is_first], run.state in LIVE

    def _steps(self, steps: Sequence[StepNode], attempt: int) -> list[LogPart]:
        """The logs of a flow's steps, each once it has ended."""
        parts = [
            LogPart(attempt, "ended", log, is_first=True, step=key)
            for key, log in all_logs(steps)
            if key not in self._ended
        ]
        self._ended.update(part.step for part in parts)
        return parts

    def _ended_part(self, number: int, attempt: Attempt) -> LogPart:
        """The log of an attempt as it is recorded: all of it, or what is left where it was followed."""
        if attempt.execution_id == self._followed and attempt.log.startswith(self._shown):
            return LogPart(number, attempt.outcome, attempt.log[len(self._shown) :], is_first=False)
        return LogPart(number, attempt.outcome, attempt.log, is_first=True)

    def _read_live(self, store: Store) -> tuple[str, str]:
        """The execution that runs, and what it has printed, as far as its worker has told."""
        reply = store.command("HMGET", keys.live_log(self._run_id), "execution", "text")
        execution, text = [(value or b"").decode("utf-8", "replace") for value in reply]
        return execution, text
