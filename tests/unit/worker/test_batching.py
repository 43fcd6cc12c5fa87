"""How many runs a worker takes at once."""

from __future__ import annotations

from worker.batching import MEASUREMENTS, RECENT, BatchSizer, group_length

TARGET_S = 0.015
FAST_S = 0.00001
SLOW_S = 0.1


def sizer_that_saw(**costs: float) -> BatchSizer:
    """A sizer that knows what one run of each version costs."""
    sizer = BatchSizer(64, TARGET_S)
    for version, cost_s in costs.items():
        sizer.observe(version, 1, cost_s)
    return sizer


def test_code_that_was_never_executed_is_taken_one_by_one() -> None:
    """It may be slow, and then others should have the rest."""
    sizer = BatchSizer(64, TARGET_S)

    assert (sizer.claim_size(), sizer.group_size("new")) == (1, 1)
    assert not sizer.fits(sizer.cost_s("new", 1))
    assert sizer.claim_size(held_s=sizer.cost_s("new", 1)) == 0


def test_fast_code_is_taken_in_full_batches() -> None:
    """64 runs of 10 µs are far below the target."""
    sizer = sizer_that_saw(fast=FAST_S)

    assert (sizer.claim_size(), sizer.group_size("fast")) == (64, 64)


def test_slow_code_is_taken_one_by_one_and_nothing_on_top_of_it() -> None:
    """While a long run executes, every other run is free for other workers."""
    sizer = sizer_that_saw(slow=SLOW_S)

    assert (sizer.claim_size(), sizer.group_size("slow")) == (1, 1)
    assert sizer.claim_size(held_s=sizer.cost_s("slow", 1)) == 0


def test_what_is_held_is_about_the_target() -> None:
    """At 0.5 ms a run: groups of ten, and what is held already counts."""
    sizer = sizer_that_saw(medium=0.0005)

    assert (sizer.claim_size(), sizer.group_size("medium"), sizer.claim_size(held_s=0.013)) == (10, 10, 4)


def test_redis_works_beside_the_code_only_where_groups_are_as_large_as_they_may_be() -> None:
    """A lone run of quick code, or any group of slow code, is followed by a look at the queue."""
    sizer = sizer_that_saw(fast=FAST_S, medium=0.0005, slow=SLOW_S)

    assert [sizer.is_full("fast", runs) for runs in (1, 63, 64)] == [False, False, True]
    assert [sizer.is_full("medium", runs) for runs in (9, 10)] == [False, True]
    assert not sizer.is_full("slow", 1)


def test_the_slowest_recent_version_decides_how_much_is_claimed() -> None:
    """Which versions a claim will bring is not known before."""
    sizer = sizer_that_saw(fast=FAST_S, slow=SLOW_S)

    assert (sizer.claim_size(), sizer.group_size("fast")) == (1, 64)


def test_a_version_that_did_not_come_for_a_while_no_longer_decides() -> None:
    """A slow script that ran once does not slow down the rest for ever."""
    sizer = sizer_that_saw(slow=SLOW_S)
    for _ in range(RECENT):
        sizer.observe("fast", 64, 64 * FAST_S)

    assert sizer.claim_size() == 64


def test_one_group_that_the_machine_held_up_changes_nothing() -> None:
    """The median of some groups is not moved by one of them."""
    sizer = BatchSizer(64, TARGET_S)
    for elapsed_s in [64 * FAST_S] * MEASUREMENTS + [SLOW_S]:
        sizer.observe("fast", 64, elapsed_s)

    assert sizer.group_size("fast") == 64


def test_code_that_has_become_slow_is_noticed_within_a_few_groups() -> None:
    """From full batches to one by one."""
    sizer = sizer_that_saw(script=FAST_S)
    for _ in range(MEASUREMENTS // 2 + 1):
        sizer.observe("script", 64, 64 * SLOW_S)

    assert sizer.group_size("script") == 1


def test_a_group_is_what_stands_together_of_one_version() -> None:
    """Runs of another version, and those that may not share a start, end it."""
    shared, other, alone = ("v1", False), ("v2", False), ("v1", True)

    assert group_length([shared, shared, other, shared], 64) == 2
    assert group_length([shared, shared, alone], 64) == 2
    assert group_length([shared] * 10, 4) == 4


def test_a_run_that_may_not_share_a_start_stands_alone() -> None:
    """QoS 2: its start is its own verb."""
    assert group_length([("v1", True), ("v1", True)], 64) == 1


def test_no_runs_make_no_group() -> None:
    """An empty backlog gives nothing to start."""
    assert group_length([], 64) == 0
