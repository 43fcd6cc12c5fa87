"""Dead letters page by page, and in groups, on a real server."""

from __future__ import annotations

import pytest

from shared import keys
from shared.dead import LETTER_VERSION, DeadLetter, encode_letter
from shared.dead_list import Buried, DeadQuery, dead_groups, dead_page, list_dead
from shared.errors import UserError
from shared.store import Store


def bury(store: Store, name: str, at: int, detail: str = "no trigger", reason: str = "unrouted") -> None:
    """A message among the dead letters, since this time (epoch ms)."""
    letter = DeadLetter(LETTER_VERSION, reason, "f/t/a", "t", 1, b"x", 1, "d", None, at, detail)  # type: ignore[arg-type]
    store.command("HSET", keys.DEAD_LETTERS, f"m-{name}", encode_letter(letter))
    store.command("ZADD", keys.DEAD, at, f"m-{name}")


def pages(store: Store, query: DeadQuery, limit: int, scan: int = 1000) -> list[list[str]]:
    """The ids of each page, to the end."""
    found: list[list[str]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = dead_page(store, query, limit, cursor, scan)
        found.append([letter.id for letter in page.letters])
        cursor = page.next
    return found


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 250])
def test_each_letter_is_on_one_page_however_many_were_buried_at_once(limit: int, store: Store) -> None:
    """In the order of the list; one whose record is gone is passed over and holds nobody up."""
    for number in range(7):
        bury(store, str(number), 1000 + number // 4)
    store.command("HDEL", keys.DEAD_LETTERS, "m-2")

    found = pages(store, DeadQuery(), limit)

    assert [each for page in found for each in page] == [letter.id for letter in list_dead(store, DeadQuery())]
    assert sum(map(len, found)) == 6
    assert all(len(page) <= limit for page in found)


def test_a_search_goes_on_where_the_page_before_has_stopped_looking(store: Store) -> None:
    """Then a page may be empty, and is not the last."""
    for number in range(6):
        bury(store, str(number), 1000 + number, "rare" if number == 0 else "common")

    found = pages(store, DeadQuery(error="RARE"), 10, scan=2)

    assert [each for page in found for each in page] == ["m-0"]
    assert found[0] == []


def test_letters_that_died_of_the_same_are_one_group_whatever_the_numbers_in_it(store: Store) -> None:
    """The largest first, with the newest as its example; its key finds its letters."""
    bury(store, "a", 1, "no trigger since 12:30 for q1-0af3")
    bury(store, "b", 2, "no trigger since 12:31 for q1-77b2")
    bury(store, "c", 3, "quite another", "invalid")

    found = dead_groups(store, DeadQuery())

    assert [(group.count, group.example, group.reason) for group in found.groups] == [
        (2, "m-b", "unrouted"),
        (1, "m-c", "invalid"),
    ]
    assert found.is_all
    assert not dead_groups(store, DeadQuery(), scan=2).is_all
    letters: list[Buried] = dead_page(store, DeadQuery(group=found.groups[0].key), 10).letters
    assert [letter.id for letter in letters] == ["m-b", "m-a"]


@pytest.mark.parametrize("cursor", ["x", "1", "1_", "-1_1", "1_x", "9" * 30 + "_1"])
def test_what_is_no_cursor_is_refused(cursor: str, store: Store) -> None:
    """With what to do."""
    with pytest.raises(UserError, match="is no cursor"):
        dead_page(store, DeadQuery(), 10, cursor)
