"""Flows as they were deployed, by version, with those within them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from shared.definitions import Flow, Runnable
from shared.deployment import definition_command, read_definition
from shared.errors import HeadraceError
from worker.runners.base import RunErrorInfo
from worker.uplink import Uplink

KEPT_MAX = 1000


class FlowVersion(msgspec.Struct, frozen=True):
    """A flow, and by version those that it runs, and that those run."""

    version: str
    flow: Flow
    flows: Mapping[str, Flow]


class FlowVersions:
    """Fetches a version once: it is named after its content and never changes."""

    def __init__(self, uplink: Uplink) -> None:
        self._uplink = uplink
        self._known: dict[str, FlowVersion] = {}
        self._flows: dict[str, Flow] = {}

    def get(self, path: str, version: str) -> FlowVersion | RunErrorInfo | None:
        """The flow, or why it cannot be run. Waits while Redis is away; None if told to stop then."""
        if (known := self._known.get(version)) is not None:
            return known
        if len(self._flows) > KEPT_MAX:
            self._known.clear()
            self._flows.clear()
        found: dict[str, Flow] = {}
        wanted = [Runnable(path, version, 0, is_flow=True)]
        while wanted:
            runnable = wanted.pop()
            if runnable.version in found:
                continue
            try:
                flow = self._read(runnable)
            except HeadraceError as error:
                return RunErrorInfo("FlowUnusable", f"nothing was executed: {runnable.path}: {error.message}")
            if flow is None or isinstance(flow, RunErrorInfo):
                return flow
            found[runnable.version] = flow
            wanted += [each for each in flow.runnables.values() if each.is_flow]
        self._flows |= found
        made = self._known[version] = FlowVersion(version, found[version], found)
        return made

    def _read(self, runnable: Runnable) -> Flow | RunErrorInfo | None:
        if (known := self._flows.get(runnable.version)) is not None:
            return known
        answer = self._uplink.insist(lambda store: store.commands([definition_command(runnable.version)]))
        if answer is None:
            return None
        flow = read_definition(answer[0], Flow)
        if flow is None:
            text = f"nothing was executed: version {runnable.version} of the flow {runnable.path} was never deployed"
            return RunErrorInfo("FlowMissing", text)
        return flow
