"""Waiting for something that another process does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, TypeVar

T = TypeVar("T")


def eventually(fn: Callable[[], T | Literal[False] | None], timeout_s: float = 10, interval_s: float = 0.02) -> T:
    """Call `fn` until it returns something true, and give that. An exception counts as not yet.

    Raises AssertionError with the last value, or from the last exception, when the time is over.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        value, failure = _attempt(fn)
        if value:
            return value
        if time.monotonic() > deadline:
            last = f"raised {failure!r}" if failure else f"gave {value!r}"
            raise AssertionError(f"not within {timeout_s:g} s; the last try {last}") from failure
        time.sleep(interval_s)


def _attempt(fn: Callable[[], T]) -> tuple[T | None, Exception | None]:
    try:
        return fn(), None
    except Exception as failure:  # noqa: BLE001 - whatever goes wrong now may be right soon
        return None, failure
