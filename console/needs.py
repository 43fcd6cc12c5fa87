"""What each route needs of its caller, said where the route is: `@get("/x", opt=needs("read"))`.

A route without it is refused when the application is made.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from shared.tokens import Scope

_KEY: Final = "needs"


class Needs(msgspec.Struct, frozen=True):
    """`scope` None: anybody is let in, whether or not he says who he is. `runs`: a run may call it with its token, and
    the handler sees to it that it does only what a run may; `people` False: only runs may. `any_host`: whatever name it
    is asked by. `audited` False: a POST that changes nothing, or that writes its own entry.
    """

    scope: Scope | None
    runs: bool = False
    people: bool = True
    any_host: bool = False
    audited: bool = True


def needs(scope: Scope | Literal["nothing"], **more: bool) -> dict[str, Any]:
    """The `opt` of a route handler; `more` are fields of Needs."""
    return {_KEY: Needs(None if scope == "nothing" else scope, **more)}


def needs_of(opt: dict[str, Any]) -> Needs | None:
    """What a handler with this `opt` needs; None where it does not say."""
    found = opt.get(_KEY)
    return found if isinstance(found, Needs) else None
