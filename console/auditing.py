"""Puts each change that somebody makes through the console into the audit log, before the answer goes out."""

from __future__ import annotations

from typing import Any, cast

from litestar import Request
from litestar.types import Message, Scope

from console.access import READING
from console.callers import Nobody, Person
from console.needs import needs_of
from shared.audit import AuditEntry, audit_command
from shared.errors import HeadraceError
from shared.events import emit
from shared.store import AsyncStore

_NOTE = "audit note"
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


def provide_note(request: Request[Any, Any, Any]) -> Note:
    """For handlers that name `note`."""
    note = Note()
    request.state[_NOTE] = note
    return note


class Auditing:
    """A hook of the application, called before each message of an answer.

    Writes of people are recorded whatever their handler tells; those of runs only if it tells of them. What was refused
    has changed nothing and is left out; what failed may have changed something. Redis being away is reported.
    """

    def __init__(self, store: AsyncStore, keep: int) -> None:
        self._store = store
        self._keep = keep

    async def __call__(self, message: Message, scope: Scope) -> None:
        """Write the entry."""
        request = cast("dict[str, Any]", scope)  # what is asked by WebSocket has no method, and is not answered so
        method: str = request.get("method", "GET")
        if message["type"] != "http.response.start" or method in READING:
            return
        status = message["status"]
        handler = request.get("route_handler")
        wanted = needs_of(handler.opt) if handler is not None else None
        if status in _REFUSED or wanted is None or not wanted.audited:
            return
        note: Note = (request.get("state") or {}).get(_NOTE) or Note()
        caller = request.get("user") or Nobody()
        if not (isinstance(caller, Person) or note.is_told):
            return
        client = request.get("client")
        entry = AuditEntry(
            who=note.who or caller.name,
            what=note.what or f"{method} {request['path']}",
            on=note.on,
            before=note.before,
            after=note.after,
            status=status,
            address=client[0] if client else "",
        )
        try:
            await self._store.command(*audit_command(entry, self._keep))
        except HeadraceError as error:
            emit("audit.failed", method=method, path=request["path"], error=error)
