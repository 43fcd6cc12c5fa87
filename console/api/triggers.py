"""Triggers: how they do, their mode, the runs that wait while one is suspended."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from litestar import Router, get, post

from console.api.filters import Text
from console.api.portions import After, Many, portion
from console.auditing import Note
from console.blocking import Blocking
from console.callers import Caller
from console.errors import conflict
from console.masking import hides, mask_file
from console.needs import needs
from shared import keys, suspended
from shared.config import Settings
from shared.definitions import File, Mode, encode_definition
from shared.deploy import read_all, read_now
from shared.errors import UserError, WorkspaceError
from shared.left import read_left
from shared.modes import ModeChange, read_triggers, set_modes
from shared.sessions import ask
from shared.store import Store
from shared.suspended import Settled
from shared.trigger_list import TriggerDetails, TriggerRow, read_details
from shared.workspace.layout import TRIGGER

RELEASED_MAX: Final = 1000
_Message = Annotated[str, msgspec.Meta(max_length=1000)]
_Ids = Annotated[list[str], msgspec.Meta(max_length=RELEASED_MAX)]


class TriggerRows(msgspec.Struct, frozen=True):
    """Triggers by path; `next`: the cursor of the page after, None where there is none."""

    triggers: list[TriggerRow]
    next: str | None


class TriggerPage(msgspec.Struct, frozen=True):
    """A trigger with its session, its counters and its definition; `text` is its file, None where there is none."""

    details: TriggerDetails
    version: str
    suspended: int
    text: str | None


class ModeWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why; kept with the deployment."""

    message: _Message = ""


class DisableWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`keep_session` False: the session at the broker is ended, and what waits in it is lost."""

    message: _Message = ""
    keep_session: bool = True


class ModeDone(msgspec.Struct, frozen=True):
    """What became of the mode; `suspended` runs wait to be resumed."""

    change: ModeChange
    suspended: int


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`ids` None: all that wait, and the trigger is enabled again. `latest`: with the version that is deployed now."""

    ids: _Ids | None = None
    latest: bool = False
    message: _Message = ""


class Discard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`ids` None: all that wait. The mode stays."""

    ids: _Ids | None = None
    reason: _Message = ""


@get("/triggers", opt=needs("read"))
async def get_triggers(work: Blocking, path_start: Text = "", limit: Many = 250, cursor: After = "") -> TriggerRows:
    """Triggers with how they are doing, by path, page by page."""

    def read(store: Store) -> TriggerRows:
        paths, more = portion(read_now(store).of_kind("trigger"), limit, cursor, path_start)
        return TriggerRows([each.row for each in read_details(store, paths)] if paths else [], more)

    return await work(read)


@get("/triggers/{path:path}", opt=needs("read"))
async def get_trigger(path: str, work: Blocking, caller: Caller) -> TriggerPage:
    """One with all that is known of it."""
    return await work(_page, path.strip("/"), hide=hides(caller))


@post("/triggers/enable/{path:path}", opt=needs("operate"), status_code=200)
async def enable(path: str, data: ModeWish, work: Blocking, settings: Settings, caller: Caller, note: Note) -> ModeDone:
    """Connect it, and run what comes from now on. A deployment."""
    return await work(_change, settings, path.strip("/"), "enabled", data.message, caller.name, note)


@post("/triggers/suspend/{path:path}", opt=needs("operate"), status_code=200)
async def suspend(
    path: str, data: ModeWish, work: Blocking, settings: Settings, caller: Caller, note: Note
) -> ModeDone:
    """Stay connected, and let messages become runs that wait. A deployment."""
    return await work(_change, settings, path.strip("/"), "suspended", data.message, caller.name, note)


@post("/triggers/disable/{path:path}", opt=needs("operate"), status_code=200)
async def disable(
    path: str, data: DisableWish, work: Blocking, settings: Settings, caller: Caller, note: Note
) -> ModeDone:
    """Disconnect it. The broker keeps the session unless told otherwise. A deployment."""
    done = await work(_change, settings, path.strip("/"), "disabled", data.message, caller.name, note)
    if not data.keep_session:
        await work(_end_session, done.change.session)
    return done


@post("/triggers/resume/{path:path}", opt=needs("operate"), status_code=200)
async def resume(path: str, data: Release, work: Blocking, settings: Settings, caller: Caller, note: Note) -> Settled:
    """Queue runs that wait, in the order of their messages."""
    return await work(_resume, settings, path.strip("/"), data, caller.name, note)


@post("/triggers/discard/{path:path}", opt=needs("operate"), status_code=200)
async def discard(path: str, data: Discard, work: Blocking, caller: Caller, note: Note) -> Settled:
    """Cancel runs that wait."""
    return await work(_discard, path.strip("/"), data, caller.name, note)


def _page(store: Store, path: str, *, hide: bool) -> TriggerPage:
    (details,) = read_details(store, [path])
    files = {name: version for name, version in read_now(store).of_kind("file").items() if name == path + TRIGGER}
    text = next((mask_file(name, file.text, hide=hide) for name, file in read_all(store, files, File).items()), None)
    return TriggerPage(details, encode_definition(details.definition)[0], suspended.count(store, path), text)


def _change(
    store: Store, settings: Settings, path: str, mode: Mode, message: str, who: str, note: Note
) -> ModeDone:  # fmt: skip
    (change,) = _set_mode(store, settings, path, mode, message, who)
    note.tell(f"set mode {mode}", path, {"mode": change.was}, {"mode": change.mode, "deployment": change.deployment})
    return ModeDone(change, suspended.count(store, path))


def _set_mode(
    store: Store, settings: Settings, path: str, mode: Mode, message: str, who: str
) -> list[ModeChange]:  # fmt: skip
    """A trigger that is there and cannot be changed is a conflict: its file is not deployed, or is wrong by now."""
    read_triggers(store, [path])
    try:
        return set_modes(store, settings, [path], mode, author=f"console by {who}", message=message)
    except WorkspaceError:
        raise
    except UserError as error:
        raise conflict(str(error)) from error


def _end_session(store: Store, session: str) -> None:
    if session in read_left(store):
        ask(store, session, "end")


def _resume(store: Store, settings: Settings, path: str, wish: Release, who: str, note: Note) -> Settled:
    _check_known(store, path)
    before: Any = {"suspended": suspended.count(store, path)}
    deployed = read_triggers(store, [])
    if wish.ids is None and path in deployed and deployed[path].mode == "suspended":
        _set_mode(store, settings, path, "enabled", wish.message, who)
    timeout_s = settings.worker.default_timeout_s if wish.latest else None
    settled = suspended.resume(store, path, wish.ids, timeout_s)
    note.tell("resume", path, before, {"queued": settled.done, "latest": wish.latest})
    return settled


def _discard(store: Store, path: str, wish: Discard, who: str, note: Note) -> Settled:
    _check_known(store, path)
    before = {"suspended": suspended.count(store, path)}
    settled = suspended.discard(store, path, wish.ids, who, wish.reason)
    note.tell("discard", path, before, {"discarded": settled.done, "reason": wish.reason})
    return settled


def _check_known(store: Store, path: str) -> None:
    """A trigger that is deployed, or was, and has runs that wait. Raises NotThere."""
    if not store.command("ZCARD", keys.suspended(path)):
        read_triggers(store, [path])


routes = Router("/", route_handlers=[get_triggers, get_trigger, enable, suspend, disable, resume, discard])
