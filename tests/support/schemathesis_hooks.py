"""Hooks of Schemathesis: every other request names something that there is, so that more than refusals is seen.

`KNOWN` in the environment is a JSON object: the name of a parameter or field → values of which one is taken in turn.
"""

from __future__ import annotations

import json
import os
from itertools import count
from typing import Any

import schemathesis

_KNOWN: dict[str, list[Any]] = json.loads(os.environ["KNOWN"])
_NUMBERS = count()
_ENDING = ("/delete", "/archive", "/move")


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    """Put known values in the place of made-up ones. Only made-up names are deleted or moved."""
    del context, kwargs
    number = next(_NUMBERS)
    if number % 2 or case.method == "DELETE" or any(word in case.path for word in _ENDING):
        return
    for part in (case.path_parameters, case.query, case.body):
        if isinstance(part, dict):
            part.update({name: _pick(name, number) for name in part if name in _KNOWN})


def _pick(name: str, number: int) -> Any:
    values = _KNOWN[name]
    return values[number // 2 % len(values)]
