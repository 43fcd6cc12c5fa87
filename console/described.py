"""What the description of the API tells of a route beyond what its signature says: `opt=needs(…) | described(…)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

_KEY: Final = "described"

Schema = Mapping[str, Any]
"""JSON Schema 2020-12, as OpenAPI 3.1 has it."""

FLAG: Final[Schema] = {"type": "boolean"}
TEXT: Final[Schema] = {"type": "string"}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}
JSON_OBJECT: Final[Schema] = {"type": "object"}
ANYTHING: Final[Schema] = {}


def whole_number(least: int, most: int) -> Schema:
    """A whole number within these bounds, both included."""
    return {"type": "integer", "minimum": least, "maximum": most}


class Described(msgspec.Struct, frozen=True):
    """`body`: a record or a schema that a handler reads from the request itself, or checks on its own; whoever sends
    none sends `{}`, unless it is `body_required`. `query`: what it reads from the address itself. `answer`: the schema
    of what it answers, with another `media_type` than that of its return type. `by_code`: the code that is run chooses
    the answer. `refusals`: statuses that other routes do not answer; `failing`: such whose body is JSON, too.
    """

    body: Any = None
    body_required: bool = True
    query: Mapping[str, Schema] = {}
    answer: Schema | None = None
    media_type: str = ""
    by_code: bool = False
    refusals: Mapping[int, str] = {}
    failing: Mapping[int, str] = {}


_NOTHING: Final = Described()


def described(**fields: Any) -> dict[str, Any]:
    """Part of the `opt` of a route handler; `fields` are those of Described."""
    return {_KEY: Described(**fields)}


def described_of(opt: Mapping[str, Any]) -> Described:
    """What a handler with this `opt` tells."""
    found = opt.get(_KEY)
    return found if isinstance(found, Described) else _NOTHING
