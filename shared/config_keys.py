"""What a tree of settings says about its keys: name, variable, range, default, description. Any tree will do."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Any, get_args

import msgspec
from msgspec import inspect

from shared.errors import InternalError

PREFIX = "HEADRACE_"


class Key(msgspec.Struct, frozen=True):
    """One setting."""

    path: str
    """As it is written in the file, with its section: `ingest.max_payload`."""
    type: Any
    """The annotated type, constraints included."""
    default: str
    """What it is where no source names it: the value as text, or a description of one that is found at run time."""
    default_is_value: bool
    description: str
    examples: tuple[str, ...]

    @property
    def variable(self) -> str:
        """As it is written in the environment."""
        return PREFIX + self.path.upper().replace(".", "__")

    @property
    def expected(self) -> str:
        """What a value has to be, in words."""
        described = _described(self.type)
        match described.type:
            case inspect.IntType() as bounds:
                return "an integer" + _range(bounds)
            case inspect.FloatType() as bounds:
                return "a number" + _range(bounds)
            case inspect.BoolType():
                return "true or false"
            case inspect.LiteralType():
                return " or ".join(map(str, get_args(get_args(self.type)[0])))
            case inspect.CustomType():
                return "a path"
            case _:
                return "text such as " + " or ".join(self.examples)

    def convert(self, raw: object, *, text: bool) -> Any:
        """The value for what a source holds; `text` if the source knows nothing else.

        Raises msgspec.ValidationError.
        """
        return msgspec.convert(raw, self.type, strict=not text, dec_hook=_decode_path)


def keys_of(tree: type[msgspec.Struct]) -> dict[str, Key]:
    """All keys of a tree by path: first its own, then those of each section, as they stand in the source."""
    own: dict[str, Key] = {}
    sections: dict[str, Key] = {}
    for field in msgspec.structs.fields(tree):
        if (section := section_of(field)) is None:
            own[field.name] = _key(field.name, field)
        else:
            inner = msgspec.structs.fields(section)
            sections |= {f"{field.name}.{each.name}": _key(f"{field.name}.{each.name}", each) for each in inner}
    return own | sections


def section_of(field: msgspec.structs.FieldInfo) -> type[msgspec.Struct] | None:
    """The struct of a section, None for a key."""
    return field.type if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct) else None


def public_url(text: str) -> str:
    """The text with the password of every URL in it replaced, fit for logs and errors."""
    return re.sub(r"(://[^/:@\s]*):[^/\s]*@", r"\1:***@", text)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on this address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def describe(raw: object) -> str:
    """What a source held, in words."""
    match raw:
        case bool():
            return str(raw).lower()
        case str():
            return f"the text {public_url(raw)!r}"
        case int() | float():
            return f"the number {raw}"
        case list():
            return "a list"
        case dict():
            return "a table"
        case _:
            return f"the {type(raw).__name__} {raw}"


def _key(path: str, field: msgspec.structs.FieldInfo) -> Key:
    described = _described(field.type)
    schema = described.extra_json_schema or {}
    words = (described.extra or {}).get("default")
    value = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
    examples = tuple(schema.get("examples", ()))
    return Key(path, field.type, words or value, words is None, schema["description"], examples)


def _described(annotated: Any) -> inspect.Metadata:
    described = inspect.type_info(annotated)
    if not isinstance(described, inspect.Metadata):
        raise InternalError(f"a setting of type {annotated} has no description")
    return described


def _range(bounds: inspect.IntType | inspect.FloatType) -> str:
    if bounds.le is not None:
        return f" from {bounds.ge} to {bounds.le}"
    if bounds.ge is not None:
        return f" of at least {bounds.ge}"
    return "" if bounds.gt is None else f" above {bounds.gt}"


def _decode_path(wanted: type, raw: object) -> object:
    if not isinstance(raw, str):
        raise TypeError("not text")
    return wanted(raw)
