"""Pages of lists, by Windmill's rules: `page` from 1 on, `per_page` within bounds; what lies outside is moved in."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

PER_PAGE: Final = 100
PER_PAGE_MAX: Final = 1000

_T = TypeVar("_T")


class Paging(msgspec.Struct, frozen=True):
    """Which part of a list is wanted."""

    page: int
    per_page: int

    def of(self, rows: list[_T]) -> list[_T]:
        """That part."""
        return rows[(self.page - 1) * self.per_page : self.page * self.per_page]


def provide_paging(page: int = 1, per_page: int = PER_PAGE) -> Paging:
    """For handlers that name `paging`. There are clients that count from 0: that is the first page, too."""
    return Paging(max(page, 1), min(max(per_page, 1), PER_PAGE_MAX))
