"""Pages of lists: `page` from 1 on, `per_page` within bounds."""

from __future__ import annotations

from typing import Annotated, Final, TypeVar

import msgspec
from litestar.params import Parameter

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


def provide_paging(
    page: Annotated[int, Parameter(ge=1)] = 1,
    per_page: Annotated[int, Parameter(ge=1, le=PER_PAGE_MAX)] = PER_PAGE,
) -> Paging:
    """For handlers that name `paging`."""
    return Paging(page, per_page)
