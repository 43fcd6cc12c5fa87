"""Who asks: a run, a person or a tool, or nobody."""

from __future__ import annotations

from typing import Any

from console.errors import forbidden
from shared.tokens import Scope, includes


class Caller:
    """Somebody. `name` is for the history of deployments, for cancelled runs and for the audit log."""

    def __init__(self, name: str) -> None:
        self.name = name

    def may(self, scope: Scope) -> bool:
        """Whether he has this scope."""
        del scope
        return False

    def may_see(self, run_id: str, parent: str | None, root: str | None) -> bool:
        """Whether he may see a run."""
        del run_id, parent, root
        return False


class RunCaller(Caller):
    """A run that is being executed. It may read variables and resources, change them, start runs, and read and cancel
    itself and what it has started: only what a route allows runs as such. It has no scope.
    """

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id}")
        self.run_id = run_id

    def may_see(self, run_id: str, parent: str | None, root: str | None) -> bool:
        """Itself, what it has started, and what that has started in turn."""
        return self.run_id in {run_id, parent, root}


class Person(Caller):
    """A person or a tool, known by a token or by the cookie of a browser session.

    `csrf` is what a write by cookie has to bring along, '' where no cookie is used.
    """

    def __init__(self, name: str, scope: Scope, csrf: str = "") -> None:
        super().__init__(name)
        self.scope = scope
        self.csrf = csrf

    def may(self, scope: Scope) -> bool:
        """Whether the scope of the token includes this one."""
        return includes(self.scope, scope)

    def may_see(self, run_id: str, parent: str | None, root: str | None) -> bool:
        """Whoever may read may see every run."""
        del run_id, parent, root
        return True


class Nobody(Caller):
    """Somebody who does not say who he is: only routes that need nothing answer him."""

    def __init__(self) -> None:
        super().__init__("nobody")


def provide_caller(request: Any) -> Caller:
    """For handlers that name it."""
    caller: Caller = request.user
    return caller


def as_run(caller: Caller) -> RunCaller:
    """The caller of a route that is for runs alone. Raises Refusal (403)."""
    if not isinstance(caller, RunCaller):
        raise forbidden("only a run can do this, with its own token")
    return caller
