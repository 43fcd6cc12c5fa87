"""Things of the workspace in words: in a list, and on a page of their own. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from console.masking import mask_file, mask_value
from console.pages.payloads import as_json_text
from shared.definitions import Broker, File, Flow, Resource, Script, Variable

SEALED: Final = "encrypted; scripts that run get it, nobody reads it here"
_SHORT: Final = 80


class Shown(msgspec.Struct, frozen=True):
    """What a page shows beside a record's own fields: texts by name, a value as JSON (`has_value`), the arguments that
    somebody may begin with who runs it.
    """

    sources: Mapping[str, str] = {}
    value: Any = None
    has_value: bool = False
    arguments: str = "{}"


def said(record: Any) -> tuple[str, str]:
    """What it is in a few words, and a little more."""
    tell = _SAID.get(type(record))
    return tell(record) if tell else ("", "")


def shown(record: Any, *, hide: bool) -> Shown:
    """What the page shows of it; `hide`: to somebody from whom plain secrets are kept."""
    show = _SHOWN.get(type(record))
    return show(record, hide) if show else Shown(value=msgspec.to_builtins(record), has_value=True)


def steps_of(flow: Flow) -> list[Any]:
    """The modules of a flow, as JSON."""
    value: Any = msgspec.to_builtins(flow.value)
    modules: list[Any] = value.get("modules", [])
    return modules


def _script_said(script: Script) -> tuple[str, str]:
    packages = len(script.lock.split())
    with_preprocessor = ", preprocessor" if script.has_preprocessor else ""
    return script.language + with_preprocessor, f"{packages} packages" if packages else ""


def _broker_said(broker: Broker) -> tuple[str, str]:
    return f"{broker.host}:{broker.port}" + (" with TLS" if broker.tls else ""), broker.username or ""


_SAID: Final[Mapping[type, Callable[[Any], tuple[str, str]]]] = {
    Script: _script_said,
    Flow: lambda flow: (f"{len(steps_of(flow))} steps", ""),
    Resource: lambda resource: (resource.resource_type, resource.description),
    Broker: _broker_said,
    Variable: lambda variable: ("secret" if variable.is_secret else variable.value[:_SHORT], variable.description),
    File: lambda file: (f"{len(file.text.splitlines())} lines", ""),
}


def _script(script: Script, _hide: bool) -> Shown:  # noqa: FBT001 - as the others
    arguments = as_json_text(dict.fromkeys(script.parameters or ["payload"]))
    return Shown(script.modules, arguments=arguments)


def _flow(flow: Flow, _hide: bool) -> Shown:  # noqa: FBT001
    return Shown(value=msgspec.to_builtins(flow.value), has_value=True)


def _resource(resource: Resource, hide: bool) -> Shown:  # noqa: FBT001
    return Shown(value=mask_value(resource.value) if hide else resource.value, has_value=True)


def _broker(broker: Broker, hide: bool) -> Shown:  # noqa: FBT001
    fields = {name: value for name, value in msgspec.structs.asdict(broker).items() if value not in (None, "")}
    return Shown(value=mask_value(fields) if hide else fields, has_value=True)


def _variable(variable: Variable, _hide: bool) -> Shown:  # noqa: FBT001
    return Shown({variable.path: SEALED if variable.is_secret else variable.value})


def _file(file: File, hide: bool) -> Shown:  # noqa: FBT001
    return Shown({file.path: mask_file(file.path, file.text, hide=hide)})


_SHOWN: Final[Mapping[type, Callable[[Any, bool], Shown]]] = {
    Script: _script, Flow: _flow, Resource: _resource, Broker: _broker, Variable: _variable, File: _file,
}  # fmt: skip
