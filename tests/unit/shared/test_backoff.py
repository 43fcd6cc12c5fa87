"""How long to wait before the next try."""

from __future__ import annotations

import pytest

from shared.backoff import full_jitter, steady


@pytest.mark.parametrize("attempt,ceiling", [(1, 0.5), (2, 1.0), (3, 2.0), (7, 32.0), (8, 60.0), (10_000, 60.0)])
def test_the_ceiling_doubles_with_each_attempt_up_to_the_maximum(attempt: int, ceiling: float) -> None:
    """The longest wait is initial, then twice that, and never above the maximum, however many attempts."""
    assert full_jitter(attempt, 0.5, 60.0, lambda: 1.0) == ceiling


def test_full_jitter_spreads_from_nothing_to_the_ceiling() -> None:
    """Clients that failed together do not come back together."""
    shares = iter((0.0, 0.25, 0.5))

    assert [full_jitter(3, 1.0, 60.0, shares.__next__) for _ in range(3)] == [0.0, 1.0, 2.0]


def test_an_initial_wait_above_the_maximum_is_cut() -> None:
    """The maximum holds from the first attempt on."""
    assert full_jitter(1, 90.0, 60.0, lambda: 1.0) == 60.0


def test_a_steady_wait_lies_between_its_bounds_whatever_the_attempt() -> None:
    """A refusal is tried again at a slow pace that does not grow."""
    shares = iter((0.0, 0.5, 1.0))

    assert [steady(60.0, 300.0, shares.__next__) for _ in range(3)] == [60.0, 180.0, 300.0]
