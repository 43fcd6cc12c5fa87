"""How many ended runs stay."""

from __future__ import annotations

from worker.retention import kept_there


def test_nothing_goes_while_all_registries_together_hold_no_more_than_the_limit() -> None:
    """Also not those that have ended since they were counted."""
    assert kept_there({"finished": 70, "failed": 30}, "finished", 100) == 100


def test_the_registry_with_the_oldest_run_gives_up_what_is_too_much() -> None:
    """Twenty over the limit, whichever registry they are in."""
    assert kept_there({"finished": 70, "failed": 50}, "failed", 100) == 30


def test_a_registry_gives_up_no_more_than_it_has() -> None:
    """The rest comes from another one in the next step."""
    assert kept_there({"finished": 500, "failed": 5}, "failed", 100) == 0
