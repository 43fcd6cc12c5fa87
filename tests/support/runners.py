"""Real runners for tests: a script's source in, the events of its runs out."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import msgspec

from shared.workspace import javascript, shell
from worker.runners.base import (
    RunCall,
    RunDone,
    RunEvent,
    Runner,
    RunnerBroken,
    RunnerDied,
    RunnerLimits,
    RunnerReady,
    RunnerSettings,
    ScriptFiles,
)
from worker.runners.materialise import materialise

TIMEOUT_S = 20.0
CONTEXT: dict[str, Any] = {
    "idempotency_key": "abcdefgh-1-17",
    "attempt": 1,
    "trigger": "f/iot/temp",
    "topic": "plant/7/temp",
    "qos": 1,
    "captures": {"site": "7"},
    "received_at": 1_767_323_045_678,
}

MakeRunner = Callable[[ScriptFiles, RunnerLimits, RunnerSettings | None], Runner]


def call(run_id: str, payload: bytes = b"", event: dict[str, Any] | None = None) -> RunCall:
    """A run with this payload."""
    return RunCall(run_id, payload, event, dict(CONTEXT))


def result(done: RunDone) -> Any:
    """What the script returned."""
    assert done.ok, done
    return None if done.result_json is None else msgspec.json.decode(done.result_json)


class Bench:
    """Starts runners of one kind on scripts in a folder, and ends them all at the end of a test."""

    def __init__(self, folder: Path, make: MakeRunner, suffix: str) -> None:
        self._folder = folder
        self._make = make
        self._suffix = suffix
        self._runners: list[Runner] = []

    def start(
        self,
        source: str,
        *,
        beside: dict[str, str] | None = None,
        entry: str = "f/iot/on_temp",
        function: str = "main",
        limits: RunnerLimits | None = None,
        settings: RunnerSettings | None = None,
    ) -> Runner:
        """A started runner for this source, with modules beside it (relative path → source)."""
        entry += self._suffix
        modules = {path: dedent(text) for path, text in {**(beside or {}), entry: source}.items()}
        files = materialise(self._folder, f"v{len(self._runners)}", modules, entry)
        parameters = _parameters(entry, modules[entry], function)
        files = msgspec.structs.replace(files, parameters=parameters, function=function)
        runner = self._make(files, limits or RunnerLimits(), settings)
        self._runners.append(runner)
        runner.start()
        return runner

    def run(self, runner: Runner, *payloads: bytes) -> list[RunDone]:
        """Execute one run per payload; every one of them must be answered."""
        calls = [call(f"q1-abcdefgh-1-{number}", payload) for number, payload in enumerate(payloads or (b"",))]
        return self.answers(runner, *calls)

    def answers(self, runner: Runner, *calls: RunCall) -> list[RunDone]:
        """Send these calls and wait for all their answers."""
        runner.send(calls)
        done = [event for event in until(runner, answered(len(calls))) if isinstance(event, RunDone)]
        assert [one.run_id for one in done] == [one.run_id for one in calls]
        return done

    def close(self) -> None:
        """Kill every runner."""
        for runner in self._runners:
            runner.kill()


def _parameters(entry: str, source: str, function: str) -> tuple[str, ...]:
    """As a deployment finds them, where a runner asks for them."""
    if entry.endswith(".sh"):
        return tuple(shell.parameters(source))
    return tuple(javascript.parameters(source, function) or ()) if entry.endswith((".ts", ".js")) else ()


def until(runner: Runner, enough: Callable[[list[RunEvent]], bool]) -> list[RunEvent]:
    """Poll until the events are enough; fails when the runner dies before that, or after 20 s."""
    events: list[RunEvent] = []
    deadline = time.monotonic() + TIMEOUT_S
    while not enough(events):
        assert time.monotonic() < deadline, f"still waiting after {TIMEOUT_S} s; so far: {events}"
        events += runner.poll(0.5)
        gone = [event for event in events if isinstance(event, RunnerDied)]
        assert not gone or enough(events), gone
    return events


def answered(count: int) -> Callable[[list[RunEvent]], bool]:
    """Enough when so many runs have been answered."""
    return lambda events: sum(isinstance(event, RunDone) for event in events) >= count


def is_ready(events: list[RunEvent]) -> bool:
    """Enough when the script is loaded."""
    return any(isinstance(event, RunnerReady) for event in events)


def is_broken(events: list[RunEvent]) -> bool:
    """Enough when the script is known not to load."""
    return any(isinstance(event, RunnerBroken) for event in events)


def death(runner: Runner) -> RunnerDied:
    """Wait for the runner to die by itself."""
    events = until(runner, lambda events: any(isinstance(event, RunnerDied) for event in events))
    assert isinstance(events[-1], RunnerDied)
    return events[-1]
