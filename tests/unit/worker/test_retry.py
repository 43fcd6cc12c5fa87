"""The delays of a retry policy, by Windmill's own table."""

from __future__ import annotations

import random

import pytest

from shared.retry_policy import ConstantRetry, ExponentialRetry, Retry
from worker.retry import MAX_INTERVAL_S, next_delay_s


def delays(policy: Retry) -> list[int]:
    """Every delay that the policy gives, in order."""
    found: list[int] = []
    while (delay := next_delay_s(len(found), policy, lambda: 0.0)) is not None:
        found.append(delay)
    return found


@pytest.mark.parametrize(
    "policy, expected",
    [
        (Retry(), []),
        (Retry(ConstantRetry(3, 10)), [10, 10, 10]),
        (Retry(exponential=ExponentialRetry(3, 1, 2)), [2, 4, 8]),
        (Retry(exponential=ExponentialRetry(3, 2, 3)), [6, 18, 54]),
        (Retry(exponential=ExponentialRetry(3, 5, 1)), [5, 5, 5]),
        (Retry(exponential=ExponentialRetry(4, 1, 30)), [30, 900, 21600, 21600]),
        (Retry(ConstantRetry(2, 5), ExponentialRetry(3, 1, 2)), [5, 5, 8, 16, 32]),
        (Retry(exponential=ExponentialRetry(2, 60_000, 2)), [21600, 21600]),
        (Retry(ConstantRetry(1, 50_000)), [21600]),
    ],
)
def test_the_delays_are_those_of_windmill(policy: Retry, expected: list[int]) -> None:
    """Constant first, the exponent goes on counting, base 1 never grows, 6 hours are the most."""
    assert delays(policy) == expected


def test_a_thousand_retries_are_reckoned_in_16_bits() -> None:
    """However large the power would be; the cap is what is left of it."""
    assert delays(Retry(exponential=ExponentialRetry(1000, 65_535, 65_535)))[-1] == MAX_INTERVAL_S


def test_a_random_factor_moves_a_delay_both_ways_and_by_less_than_its_percentage() -> None:
    """10 % of 1000 s: from 910 to 1090, never beyond."""
    policy = Retry(exponential=ExponentialRetry(1, 1, 1000, random_factor=10))
    dice = random.Random(7)
    found = {next_delay_s(0, policy, dice.random) for _ in range(2000)}
    assert {min(delay for delay in found if delay), max(delay for delay in found if delay)} == {910, 1090}


def test_a_random_factor_of_100_never_gives_less_than_nothing() -> None:
    """A delay may shrink to 1 % of itself."""
    policy = Retry(exponential=ExponentialRetry(1, 1, 100, random_factor=100))
    dice = random.Random(7)
    found = {next_delay_s(0, policy, dice.random) or 0 for _ in range(5000)}
    assert (min(found), max(found)) == (1, 199)


def test_a_constant_retry_has_no_randomness() -> None:
    """The factor is the exponential part's."""
    policy = Retry(ConstantRetry(1, 100), ExponentialRetry(1, 1, 2, random_factor=100))
    assert next_delay_s(0, policy, lambda: 0.99) == 100
