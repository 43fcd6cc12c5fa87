"""Values that runs write are one entry of the list of deployments."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from shared.deployments import Deployment, undone
from shared.merging import NAMES_MAX, merged

NAMES = ("variable:a", "variable:b", "variable:c")
TABLES = st.dictionaries(st.sampled_from(NAMES), st.sampled_from("123"))


def between(number: int, old: dict[str, str], new: dict[str, str], *, by_run: bool = True) -> Deployment:
    """The deployment that makes one table of another."""
    changed = {name: version for name, version in new.items() if old.get(name) != version}
    deleted = sorted(old.keys() - new.keys())
    before = {name: old[name] for name in (*changed, *deleted) if name in old}
    return Deployment(number, number, f"run {number}", "", changed, deleted, before, by_run)


def both(older: Deployment, newer: Deployment) -> Deployment:
    """Two as one."""
    one = merged(older, newer)
    assert one is not None
    return one


@given(tables=st.lists(TABLES, min_size=2, max_size=6))
def test_what_was_before_all_of_them_is_found_by_undoing_the_one_entry(tables: list[dict[str, str]]) -> None:
    """And nothing that came and went is named in it."""
    steps = [between(i, *pair) for i, pair in enumerate(pairwise(tables), 1)]
    one = reduce(both, steps)

    assert undone(tables[-1], [one]) == tables[0]
    assert (one.first, one.number, one.author) == (1, len(steps), f"run {len(steps)}")
    assert one.changed.items() <= tables[-1].items()
    assert set(one.deleted) <= tables[0].keys() - tables[-1].keys()


def test_an_entry_of_a_person_is_left_alone() -> None:
    """Whichever comes first; and one after which another has come."""
    run, person = between(1, {}, {"variable:a": "1"}), between(2, {}, {"variable:b": "1"}, by_run=False)

    assert merged(run, person) is None
    assert merged(person, between(3, {}, {"variable:a": "1"})) is None
    assert merged(run, between(3, {}, {"variable:a": "1"})) is None


def test_an_entry_does_not_grow_for_ever() -> None:
    """Beyond so many names the next one begins."""
    full = between(1, {}, {f"variable:{i}": "1" for i in range(NAMES_MAX)})

    assert merged(full, between(2, {}, {"variable:more": "1"})) is None
    assert merged(full, between(2, {"variable:1": "1"}, {"variable:1": "2"})) is not None
