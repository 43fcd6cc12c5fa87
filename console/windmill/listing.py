"""Which rows of a list are wanted, and in which order: the filters that Windmill's lists of content share."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from litestar.di import Provide

from shared.run_query import contains

_SEARCHED: Final = ("path", "summary", "description", "resource_type", "value")


class Filters(msgspec.Struct, frozen=True):
    """What a row has to be like: None and '' ask for nothing. `impossible`: for what no row here is, as archived.

    `description` and, of a text, `value` are parts, in whatever case; `value` that is JSON is contained. `broad_filter`
    is part of any of them. `label` is a list with commas, of which a row has all. `newest_first` None: by path.
    """

    path_start: str = ""
    path: str | None = None
    description: str = ""
    value: str = ""
    broad_filter: str = ""
    label: str = ""
    created_by: str | None = None
    is_dedicated: bool | None = None
    impossible: bool = False
    newest_first: bool | None = None

    def of(self, rows: list[dict[str, Any]], at: str = "") -> list[dict[str, Any]]:
        """Those that fit, by path, or by when they were changed, which stands under `at`."""
        found = sorted((row for row in rows if self.fits(row)), key=lambda row: str(row["path"]))
        if self.newest_first is not None:
            found.sort(key=lambda row: str(row.get(at) or ""), reverse=self.newest_first)
        return found

    def fits(self, row: dict[str, Any]) -> bool:
        """Whether one does."""
        return (
            not self.impossible
            and str(row["path"]).startswith(self.path_start)
            and self.path in {None, row["path"]}
            and self.created_by in {None, row.get("created_by")}
            and self.is_dedicated in {None, bool(row.get("dedicated_worker"))}
            and set(filter(None, self.label.split(","))) <= set(row.get("labels") or ())
            and _is_part(self.description, row.get("description"))
            and (not self.value or _has_value(row.get("value"), self.value))
            and (not self.broad_filter or any(_is_part(self.broad_filter, row.get(name)) for name in _SEARCHED))
        )


def of_things(
    path_start: str = "",
    path: str | None = None,
    description: str = "",
    value: str = "",
    broad_filter: str = "",
    label: str = "",
    starred_only: bool = False,  # noqa: FBT001, FBT002 - as in the address
) -> Filters:
    """For lists of variables and resources that name `filters`."""
    return Filters(path_start, path, description, value, broad_filter, label, impossible=starred_only)


def of_what_is_not(
    show_archived: bool = False,  # noqa: FBT001, FBT002 - as in the address
    starred_only: bool = False,  # noqa: FBT001, FBT002
    is_template: bool = False,  # noqa: FBT001, FBT002
    parent_hash: str | None = None,
    first_parent_hash: str | None = None,
    last_parent_hash: str | None = None,
) -> bool:
    """For `of_code`, as `impossible`: whether somebody asks for what there is none of here."""
    parents = (parent_hash, first_parent_hash, last_parent_hash)
    return show_archived or starred_only or is_template or any(each is not None for each in parents)


def of_code(
    impossible: bool,  # noqa: FBT001 - by its name
    path_start: str = "",
    path_exact: str | None = None,
    label: str = "",
    created_by: str | None = None,
    order_desc: bool = True,  # noqa: FBT001, FBT002 - as in the address
    dedicated_worker: bool | None = None,  # noqa: FBT001
) -> Filters:
    """For lists of scripts and flows that name `filters`: the newest first, unless `order_desc` is false."""
    return Filters(
        path_start,
        path_exact,
        label=label,
        created_by=created_by,
        is_dedicated=dedicated_worker,
        impossible=impossible,
        newest_first=order_desc,
    )


FILTERS_OF_THINGS: Final = {"filters": Provide(of_things, sync_to_thread=False)}
FILTERS_OF_CODE: Final = {
    "filters": Provide(of_code, sync_to_thread=False),
    "impossible": Provide(of_what_is_not, sync_to_thread=False),
}
"""Dependencies of the routers with such lists."""


def _is_part(text: str, value: Any) -> bool:
    """Whether a value, written out, has this in it."""
    return not text or text.casefold() in _written(value).casefold()


def _has_value(value: Any, wanted: str) -> bool:
    if isinstance(value, str):
        return _is_part(wanted, value)
    try:
        return contains(value, msgspec.json.decode(wanted))
    except msgspec.DecodeError:
        return _is_part(wanted, value)


def _written(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
