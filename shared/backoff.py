"""How long to wait before the next try. Pure: the caller brings the randomness.

Two kinds of failure, two answers. What is likely to pass (a broker restarts, a network is away) is tried again soon and
then ever more rarely. What a person has to mend (credentials, a client id that somebody else uses) is tried at a
steady, slow pace, so that it heals by itself once it is mended.
"""

from __future__ import annotations

from collections.abc import Callable

_MAX_DOUBLINGS = 62
"""Any delay is at its maximum long before; keeps the power of two within a float."""


def full_jitter(attempt: int, initial_s: float, maximum_s: float, random: Callable[[], float]) -> float:
    """Seconds to wait before the given try (1 is the first after a failure), for a failure that is likely to pass.

    Uniform between 0 and a ceiling that starts at `initial_s`, doubles with each attempt and ends at `maximum_s`, so
    that many clients which lost the same broker do not come back at the same moment (AWS Architecture Blog,
    "Exponential Backoff And Jitter"). `random` gives a number from 0 up to, not including, 1.
    """
    ceiling = min(maximum_s, initial_s * 2.0 ** min(attempt - 1, _MAX_DOUBLINGS))
    return random() * ceiling


def steady(minimum_s: float, maximum_s: float, random: Callable[[], float]) -> float:
    """Seconds to wait before the next try, for a refusal that looks permanent: uniform between the two."""
    return minimum_s + random() * (maximum_s - minimum_s)
