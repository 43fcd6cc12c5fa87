"""Carrying out tests: each script and flow as it stands in the folder, in runners that are shared by all tests."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from shared.config import Settings
from shared.definitions import Flow, Resource, Script, Topic, Trigger, Variable
from shared.errors import HeadraceError, TopicError
from shared.topics import captures, matches, parse_filter
from worker.catalog import Catalog
from worker.flow_report import branch_name
from worker.flow_trial import Manner, run_flow
from worker.flows.evaluation import expression_limits
from worker.here import Here
from worker.runners.base import Message
from worker.testing.cases import Case, Suite
from worker.testing.compare import Came, problems
from worker.testing.names import unknown_names
from worker.trial import Given, execute


class Verdict(msgspec.Struct, frozen=True):
    """What came of one test; without `problems` it has passed. `steps` are those of a flow."""

    file: str
    line: int
    name: str
    path: str
    problems: list[str]
    duration_ms: float
    result: Any = None
    error: Any = None
    log: str = ""
    steps: list[Any] = []

    @property
    def passed(self) -> bool:
        """All is as expected."""
        return not self.problems


class Examiner:
    """Carries out suites with the scripts and flows of a catalog."""

    def __init__(self, catalog: Catalog, here: Here, settings: Settings) -> None:
        self._catalog = catalog
        self._here = here
        self._settings = settings

    def verdict(self, suite: Suite, case: Case) -> Verdict:
        """Carry out one test. What keeps it from being begun is a problem of the test."""
        began = time.monotonic()
        catalog = with_values(self._catalog, suite)
        try:
            found = self._carry_out(catalog, case)
        except HeadraceError as error:
            found = Verdict(case.file, case.line, case.name, case.path, [f"could not be run: {error}"], 0)
        return msgspec.structs.replace(found, duration_ms=round((time.monotonic() - began) * 1000, 3))

    def _manner(self, case: Case) -> Manner:
        return Manner(waits=False, stand=case.stand, limits=expression_limits(self._settings.worker))

    def _carry_out(self, catalog: Catalog, case: Case) -> Verdict:
        head = case.file, case.line, case.name, case.path
        found = catalog.runnable(case.path, is_flow=case.is_flow)
        if found is None:
            kind = {None: "script and no flow", True: "flow", False: "script"}[case.is_flow]
            return Verdict(*head, [f"there is no {kind} {case.path}"], 0)
        if wrong := unknown_names(case, found, catalog.flow_versions):
            return Verdict(*head, wrong, 0)
        environment = self._here.mocked(catalog.values) if catalog.stands_in else {}
        given = msgspec.structs.replace(_given(case, catalog, found), environment=environment)
        if isinstance(found, Flow):
            done = run_flow(catalog, self._here, found, given, self._manner(case))
            ran = [step.step for step in done.steps if step.runnable and step.state != "mocked"]
            taken: dict[str, list[str]] = {}
            for step in done.steps:
                if step.branch is not None:
                    taken.setdefault(step.step, []).append(branch_name(found, step.step, step.branch))
            told = [published(message) for step in done.steps for message in step.messages]
            came = Came(done.ok, done.result, done.error, done.skipped, ran, taken, told)
            return Verdict(*head, problems(case.expected, came), 0, done.result, done.error, "", list(done.steps))
        timeout_s = found.timeout_s or self._settings.worker.default_timeout_s
        outcome = execute(found, given, self._here, timeout_s)
        error = None if outcome.error is None else msgspec.to_builtins(outcome.error)
        told = [published(message) for message in outcome.messages]
        lines = problems(case.expected, Came(outcome.ok, outcome.result, error, published=told))
        return Verdict(*head, lines, 0, outcome.result, error, outcome.log)


def published(message: Message) -> dict[str, Any]:
    """A message as a test expects it: JSON where it is some, else text, else base64."""
    try:
        payload = msgspec.json.decode(message.payload)
    except msgspec.DecodeError:
        try:
            payload = message.payload.decode()
        except UnicodeDecodeError:
            payload = base64.b64encode(message.payload).decode()
    found = {"topic": message.topic, "payload": payload, "qos": message.qos, "retain": message.retain}
    return found | ({"broker": message.broker} if message.broker else {})


def with_values(catalog: Catalog, suite: Suite) -> Catalog:
    """The catalog with what a suite says variables and resources are."""
    if not (suite.variables or suite.resources):
        return catalog
    variables = {path: Variable(path, value) for path, value in suite.variables.items()}
    resources = {path: Resource(path, "any", value) for path, value in suite.resources.items()}
    return msgspec.structs.replace(catalog, values=catalog.values.with_others(variables, resources))


def _given(case: Case, catalog: Catalog, found: Script | Flow) -> Given:
    args = None if case.args is None else msgspec.json.encode(case.args)
    if case.event is None:
        return Given(args=args)
    trigger = _trigger(case, catalog.triggers, found.path)
    if trigger is None:
        return Given(case.event, case.captures, args)
    event = msgspec.structs.replace(case.event, trigger_path=trigger.path)
    levels = _levels(trigger, found.path, event.topic) | case.captures
    return Given(event, levels, args, trigger.payload)


def _trigger(case: Case, triggers: Mapping[str, Trigger], path: str) -> Trigger | None:
    """The one that the test names, or else the only one that runs this for messages on this topic."""
    if case.trigger is not None:
        return triggers.get(case.trigger)
    topic = case.event.topic if case.event else ""
    found = [trigger for trigger in triggers.values() if any(_entries(trigger, path, topic))]
    return found[0] if len(found) == 1 else None


def _levels(trigger: Trigger, path: str, topic: str) -> dict[str, str]:
    for entry in _entries(trigger, path, topic):
        return captures(parse_filter(entry.topic), topic)
    return {}


def _entries(trigger: Trigger, path: str, topic: str) -> list[Topic]:
    """The entries of `subscribe_topics` by which a message gets there."""
    own = [entry for entry in trigger.topics if (entry.runnable or trigger.runnable) == path]
    try:
        return [entry for entry in own if matches(parse_filter(entry.topic), topic)]
    except TopicError:
        return []
