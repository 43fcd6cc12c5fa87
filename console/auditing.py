"""Puts each change that somebody makes through the console into the audit log: before it is made, and how it went.

The entry that a change has begun is in Redis before the handler runs; if that cannot be written, nothing is changed.
Before the answer goes out, what the handler has told takes its place.
"""

from __future__ import annotations

from typing import Any, cast

from litestar import Request
from litestar.types import Message, Scope

from console.callers import Nobody, Person, RunCaller
from console.errors import READING_METHODS
from console.needs import needs_of
from console.view import REFUSED
from shared.audit import AuditEntry, audit_command, begin_command, end_commands
from shared.deploy import Pushed
from shared.errors import HeadraceError
from shared.events import emit
from shared.store import AsyncStore

_NOTE = "audit note"
_BEGUN = "audit begun"
_REFUSED = range(400, 500)


class Note:
    """What a handler tells of a change: `on` what, and how it was `before` and is `after`. Never a secret."""

    def __init__(self) -> None:
        self.who = ""
        self.what = ""
        self.on = ""
        self.before: Any = None
        self.after: Any = None
        self.is_told = False

    def tell(self, what: str, on: str = "", before: Any = None, after: Any = None) -> None:
        """What was done, in words; to what; how it was and how it is."""
        self.what, self.on, self.before, self.after, self.is_told = what, on, before, after, True


def deployed_by(pushed: Pushed | None) -> dict[str, Any]:
    """Before and after of a change of the workspace: the deployments, which tell what was written in them, and the
    versions of what was changed. None: it goes later, with what needs it still.
    """
    if pushed is None or not pushed.applied:
        return {}
    changed = {name: version for name, version in pushed.plan.changed.items() if not name.startswith("file:")}
    after = {"deployment": pushed.number, "changed": changed, "deleted": pushed.plan.deleted}
    return {
        "before": {"deployment": pushed.plan.against},
        "after": {key: value for key, value in after.items() if value},
    }


def provide_note(request: Request[Any, Any, Any]) -> Note:
    """For handlers that name `note`."""
    note = Note()
    request.state[_NOTE] = note
    return note


class Auditing:
    """Two hooks of the application: `begin` before a handler, and itself before each message of an answer.

    Writes of people are recorded whatever their handler tells, and those of who logs in. Those of runs are only if it
    tells of them, and then afterwards alone: runs keep their state by the thousand. What was refused has changed
    nothing and is left out; what failed may have changed something. Redis being away afterwards is reported.
    """

    def __init__(self, store: AsyncStore, keep: int) -> None:
        self._store = store
        self._keep = keep

    async def begin(self, request: Request[Any, Any, Any]) -> None:
        """Write down what is about to be done. Raises StoreUnavailable."""
        wanted = needs_of(request.route_handler.opt)
        caller = request.scope.get("user") or Nobody()
        if request.method in READING_METHODS or wanted is None or not wanted.audited or isinstance(caller, RunCaller):
            return
        asked = AuditEntry(caller.name, f"{request.method} {request.url.path}", address=_address(request.scope))
        request.state[_BEGUN] = await self._store.command(*begin_command(asked))

    async def __call__(self, message: Message, scope: Scope) -> None:
        """Write the entry."""
        request = cast("dict[str, Any]", scope)  # what is asked by WebSocket has no method, and is not answered so
        method: str = request.get("method", "GET")
        if message["type"] != "http.response.start" or method in READING_METHODS:
            return
        status = message["status"]
        handler = request.get("route_handler")
        wanted = needs_of(handler.opt) if handler is not None else None
        if wanted is None or not wanted.audited:
            return
        state = request.get("state") or {}
        note: Note = state.get(_NOTE) or Note()
        caller = request.get("user") or Nobody()
        is_refused = status in _REFUSED or state.get(REFUSED, False)
        counts = not is_refused and (isinstance(caller, Person) or note.is_told)
        entry = AuditEntry(
            who=note.who or caller.name,
            what=note.what or f"{method} {request['path']}",
            on=note.on,
            before=note.before,
            after=note.after,
            status=status,
            address=_address(scope),
        )
        try:
            if (begun := state.pop(_BEGUN, None)) is not None:
                await self._store.commands(end_commands(begun, entry if counts else None, self._keep))
            elif counts:
                await self._store.command(*audit_command(entry, self._keep))
        except HeadraceError as error:
            emit("audit.failed", method=method, path=request["path"], error=error)


def _address(scope: Any) -> str:
    client = scope.get("client")
    return client[0] if client else ""
