"""When a run that has failed is tried again: Windmill's policy, by the number. Pure."""

from __future__ import annotations

from collections.abc import Callable

from shared.retry_policy import ExponentialRetry, Retry

MAX_INTERVAL_S = 6 * 3600
"""No retry waits longer."""
_U16_MAX = 65_535
_PER_CENT = 100
_HALF = 0.5


def next_delay_s(retries_made: int, policy: Retry, random: Callable[[], float]) -> int | None:
    """Seconds until the next retry of a run that has had so many; None: there is none left.

    The constant ones come first. The exponent of the others counts all retries, from 1, and saturates where Windmill's
    does (16 bits). `random` gives numbers from 0 to below 1.
    """
    constant, exponential = policy.constant, policy.exponential
    if retries_made < constant.attempts:
        delay_s = constant.seconds
    elif retries_made < constant.attempts + exponential.attempts:
        delay_s = _spread(_grown(retries_made + 1, exponential), exponential.random_factor, random)
    else:
        return None
    return min(delay_s, MAX_INTERVAL_S)


def _grown(exponent: int, policy: ExponentialRetry) -> int:
    power = 1
    for _ in range(exponent):
        power = min(_U16_MAX, power * policy.seconds)
        if power in {0, 1, _U16_MAX}:  # it stays there
            break
    return min(_U16_MAX, policy.multiplier * power)


def _spread(delay_s: int, random_factor: int, random: Callable[[], float]) -> int:
    factor = min(random_factor, _PER_CENT)
    if not factor:
        return delay_s
    jitter_s = delay_s * int(random() * factor) // _PER_CENT
    return delay_s + jitter_s if random() < _HALF else max(0, delay_s - jitter_s)
