"""The dead letters: what ended badly and waits for a decision, by error; looked at, retried or dropped, one or many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

import msgspec
from litestar import Response, Router
from litestar.datastructures import FormMultiDict, MultiDict
from litestar.response import Redirect, Template

from console.auditing import Note
from console.blocking import Blocking
from console.pages.forms import Asked, action, back, page, text, texts
from console.pages.payloads import payload_view
from console.view import Level, View
from shared import keys
from shared.config import Settings
from shared.dead import DeadLetter
from shared.dead_list import REASONS, DeadGroups, DeadPage, DeadQuery, dead_groups, dead_page, list_dead, show_dead
from shared.dead_redrive import Retried, drop, retry
from shared.deploy import read_now
from shared.errors import UserError
from shared.history import RunDetails
from shared.run_record import iso_ms
from shared.store import Store
from shared.tables import number

SHOWN: Final = 100
AT_ONCE: Final = 10_000


class Filters(msgspec.Struct, frozen=True):
    """As they stand in the address."""

    trigger: str = ""
    reason: str = ""
    error: str = ""
    group: str = ""

    def query(self) -> DeadQuery:
        """The query that they ask for."""
        reasons = frozenset({self.reason}) if self.reason in REASONS else frozenset[str]()
        return DeadQuery(
            trigger=self.trigger or None, reasons=reasons, error=self.error or None, group=self.group or None
        )

    def address(self, **changes: str) -> str:
        """The page with these filters, and with other parameters beside."""
        pairs = [(name, value) for name, value in (msgspec.structs.asdict(self) | changes).items() if value]
        return "/dead" + (f"?{urlencode(pairs)}" if pairs else "")


class DeadView(msgspec.Struct, frozen=True):
    """What the page shows. `all` counts every dead letter."""

    groups: DeadGroups
    page: DeadPage
    all: int
    triggers: list[str]


def read_dead(store: Store, filters: Filters, after: str) -> DeadView:
    """Ask Redis. Raises UserError for an `after` that is none, StoreUnavailable."""
    query = filters.query()
    groups = dead_groups(store, query)
    triggers = sorted({*read_now(store).of_kind("trigger"), *[each.trigger for each in groups.groups if each.trigger]})
    return DeadView(groups, dead_page(store, query, SHOWN, after), store.command("ZCARD", keys.DEAD), triggers)


@page("/dead")
async def dead(request: Asked, view: View, work: Blocking) -> Template:
    """The page."""
    filters = _filters(request.query_params)
    found = await work(read_dead, filters, request.query_params.get("after", ""))
    return view.page(
        "dead.html", section="dead", found=found, filters=filters, reasons=REASONS, dead_count=found.all,
        is_narrow=filters != Filters(), fitting=sum(group.count for group in found.groups.groups),
    )  # fmt: skip


@page("/dead/{dead_id:str}")
async def letter(dead_id: str, view: View, work: Blocking) -> Template | Redirect:
    """A message that never became a run, or could not be published; a run has a page of its own."""
    found = await work(show_dead, dead_id)
    if isinstance(found, RunDetails):
        return view.redirect(f"/runs/{dead_id}")
    return view.page(
        "letter.html", section="dead", letter=found, id=dead_id, at=iso_ms(found.at),
        payload=payload_view(found.payload, found.size),
    )  # fmt: skip


@page("/dead/{dead_id:str}/payload")
async def letter_payload(dead_id: str, work: Blocking) -> Response[bytes]:
    """What is kept of the payload, as a file."""
    found = await work(show_dead, dead_id)
    body = found.payload if isinstance(found, DeadLetter) else b""
    headers = {"Content-Disposition": 'attachment; filename="payload.bin"'}
    return Response(body, media_type="application/octet-stream", headers=headers)


@action("/dead/retry", "operate")
async def retry_dead(request: Asked, view: View, work: Blocking, settings: Settings, note: Note) -> Redirect:
    """Queue again those that were picked, or all that the filters find."""
    form = await request.form()
    there = back(form, "/dead")
    latest_s = settings.worker.default_timeout_s if text(form, "version") == "now" else None
    ids, outcomes = await work(_retry_chosen, form, latest_s)
    note.tell(
        "retry dead letters",
        _named(ids),
        before={"picked": len(ids)},
        after={"retried": sum(each.is_done for each in outcomes)},
    )
    if not ids:
        return view.redirect(there, "Nothing was picked.", "warn")
    level, said, todo = told(outcomes)
    return view.redirect(there, said, level, todo)


@action("/dead/drop", "operate")
async def drop_dead(request: Asked, view: View, work: Blocking, note: Note) -> Redirect:
    """Drop those that were picked, or all that the filters find."""
    form = await request.form()
    there = back(form, "/dead")
    ids, dropped = await work(_drop_chosen, form)
    note.tell("drop dead letters", _named(ids), before={"picked": len(ids)}, after={"dropped": dropped})
    if not ids:
        return view.redirect(there, "Nothing was picked.", "warn")
    return view.redirect(there, f"{number(dropped)} dropped. Runs stay in the history, messages are gone.")


def told(outcomes: Sequence[Retried]) -> tuple[Level, str, str]:
    """What came of retrying, in words. Pure."""
    queued = sum(each.outcome == "queued" for each in outcomes)
    routed = sum(each.outcome == "in the inbox" for each in outcomes)
    to_send = sum(each.outcome == "in the outbox" for each in outcomes)
    left = [each for each in outcomes if not each.is_done]
    parts = [f"{number(queued)} queued again"] if queued or not (routed or to_send) else []
    parts += [f"{number(routed)} put back into the inbox"] if routed else []
    parts += [f"{number(to_send)} put back into the outbox, to be published"] if to_send else []
    parts += [f"{number(len(left))} left alone"] if left else []
    reasons = list(dict.fromkeys(each.why or each.outcome for each in left))
    return ("warn" if left else "good"), ", ".join(parts) + ".", "; ".join(reasons[:3])


def _retry_chosen(store: Store, form: FormMultiDict, latest_s: float | None) -> tuple[Sequence[str], list[Retried]]:
    ids = _chosen(store, form)
    return ids, retry(store, ids, latest_timeout_s=latest_s)


def _drop_chosen(store: Store, form: FormMultiDict) -> tuple[Sequence[str], int]:
    ids = _chosen(store, form)
    return ids, sum(drop(store, ids))


def _chosen(store: Store, form: FormMultiDict) -> Sequence[str]:
    """Oldest first. Raises UserError for a form that says neither."""
    match text(form, "which"):
        case "picked":
            return texts(form, "id")[::-1]
        case "all":
            return [each.id for each in list_dead(store, _filters(form).query(), AT_ONCE)][::-1]
        case _:
            raise UserError("the form does not say which dead letters are meant", hint="load the page again")


def _filters(given: MultiDict[str] | FormMultiDict) -> Filters:
    return Filters(**{name: str(given.get(name) or "").strip() for name in Filters.__struct_fields__})


def _named(ids: Sequence[str]) -> str:
    return ", ".join(ids[:20]) + (f" and {len(ids) - 20} more" if len(ids) > 20 else "")  # noqa: PLR2004 - enough


routes = Router("/", route_handlers=[dead, letter, letter_payload, retry_dead, drop_dead])
