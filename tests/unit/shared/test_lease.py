"""Leases: how long a holder may trust what it knows."""

from __future__ import annotations

import pytest

from shared.lease import Lease

TAKEN = Lease(token=7, ttl_s=6.0, attempted_at=100.0)


def test_a_new_lease_may_connect_at_once() -> None:
    """Taking a lease is as good as renewing it."""
    assert TAKEN.may_connect(100.0)


@pytest.mark.parametrize("now", [102.0, 103.5, 106.0, 1e9])
def test_trust_ends_long_before_the_lease_does(now: float) -> None:
    """A CONNECT that is sent late could reach the broker after somebody else's."""
    assert not TAKEN.may_connect(now)


def test_trust_counts_from_the_start_of_the_attempt() -> None:
    """When Redis carried the renewal out is not known, only that it was not before it was asked."""
    slow_reply = TAKEN.confirmed(attempted_at=103.0)

    assert slow_reply.may_connect(104.9)
    assert not slow_reply.may_connect(105.0)


def test_a_late_reply_does_not_turn_the_time_back() -> None:
    """Replies may overtake each other; the newest attempt counts."""
    assert TAKEN.confirmed(110.0).confirmed(104.0) == TAKEN.confirmed(110.0)


def test_two_renewals_may_fail_before_the_lease_ends() -> None:
    """It is renewed every third of its time."""
    assert TAKEN.renew_at == pytest.approx(102.0)


def test_a_renewal_keeps_the_term() -> None:
    """The token is the identity of the term."""
    assert TAKEN.confirmed(150.0).token == TAKEN.token
