"""When code that has failed is tried again: the policy of a trigger, a script or a step of a flow (Windmill's)."""

from __future__ import annotations

import msgspec


class ConstantRetry(msgspec.Struct, frozen=True, omit_defaults=True):
    """So many retries, each after the same number of seconds."""

    attempts: int = 0
    seconds: int = 0


class ExponentialRetry(msgspec.Struct, frozen=True, omit_defaults=True):
    """So many retries, the nth of all after `multiplier * seconds ** n` seconds, more or less by up to `random_factor`
    per cent.
    """

    attempts: int = 0
    multiplier: int = 1
    seconds: int = 0
    random_factor: int = 0


class Retry(msgspec.Struct, frozen=True, omit_defaults=True):
    """First by `constant`, then by `exponential`.

    `retry_if` is a JavaScript expression: false, and the code has failed for good.
    """

    constant: ConstantRetry = ConstantRetry()
    exponential: ExponentialRetry = ExponentialRetry()
    retry_if: str | None = None
