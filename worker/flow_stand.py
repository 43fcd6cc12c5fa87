"""What steps of a flow do instead of being run, where it is tried. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from shared.definitions import Flow, Runnable
from shared.openflow import FlowModule, Mock, RawScript, ScriptStep, map_modules


class Stand(msgspec.Struct, frozen=True):
    """What steps do instead of being run: the `results`, and the `errors`, of steps by id. Of the flow
    itself: a flow within it is a step.
    """

    results: Mapping[str, Any] = {}
    errors: Mapping[str, dict[str, Any]] = {}


def standing_in(flow: Flow, stand: Stand) -> Flow:
    """The flow with what stands in for steps. One that fails is turned into code, which is then not run."""

    def change(module: FlowModule) -> FlowModule:
        if module.id in stand.results:
            mock = Mock(enabled=True, return_value=stand.results[module.id])
            return msgspec.structs.replace(module, mock=mock)
        if module.id in stand.errors and not isinstance(module.value, RawScript | ScriptStep):
            return msgspec.structs.replace(module, value=RawScript())
        return module

    places = {step: Runnable(f"{flow.path}/{step}", "", 1) for step in stand.errors}
    value = map_modules(flow.value, change)
    return msgspec.structs.replace(flow, value=value, runnables={**places, **flow.runnables})
