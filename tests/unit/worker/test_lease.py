"""When a worker may take others for dead."""

from __future__ import annotations

from worker.lease import BEATS_PER_LEASE, Continuity

LEASE_S = 6.0
BEAT_S = LEASE_S / BEATS_PER_LEASE


def beating(until_s: float) -> Continuity:
    """A worker that has been beating in time from 0 on."""
    continuity = Continuity(LEASE_S)
    at = 0.0
    while at <= until_s:
        continuity.renewed(at, at + 0.001, known=at > 0)
        at += BEAT_S
    return continuity


def test_a_worker_sweeps_after_twice_the_lease_without_a_gap() -> None:
    """Not before: every living worker must have had the time to come back."""
    assert not beating(11.9).may_sweep(11.9)
    assert beating(12.0).may_sweep(12.0)


def test_a_lease_that_redis_did_not_know_starts_the_time_again() -> None:
    """Redis was restarted empty, or away for so long that every lease has run out."""
    continuity = beating(12.0)
    continuity.renewed(13.5, 13.501, known=False)

    assert not continuity.may_sweep(13.6)


def test_losing_touch_starts_the_time_again() -> None:
    """After an outage the others need their time to come back too."""
    continuity = beating(12.0)
    continuity.broken()
    continuity.renewed(13.5, 13.501, known=True)

    assert not continuity.may_sweep(13.6)


def test_a_beat_that_was_answered_late_starts_the_time_again() -> None:
    """Redis stood still, or this worker did: leases of living workers may have run out."""
    continuity = beating(12.0)
    continuity.renewed(13.5, 16.6, known=True)

    assert not continuity.may_sweep(16.7)


def test_a_worker_that_was_stopped_does_not_sweep_before_it_has_beaten_again() -> None:
    """It wakes with an old clock reading in its hands."""
    assert not beating(12.0).may_sweep(18.0)


def test_every_gap_begins_a_new_generation_so_that_old_requests_are_void() -> None:
    """A sweep that was asked for before the gap must not be carried out after it."""
    continuity = beating(12.0)
    before = continuity.generation
    continuity.broken()

    assert continuity.generation == before + 1


def test_an_outage_is_one_gap_however_many_tries_fail() -> None:
    """The generation says what Redis was told last, so it does not grow while Redis can be told nothing."""
    continuity = beating(12.0)
    continuity.broken()
    generation = continuity.generation
    continuity.broken()

    assert continuity.generation == generation
