"""Samples of totals, and the rates that charts show."""

from __future__ import annotations

import msgspec

from shared.samples import Sample, points_of, read_samples

FIRST = Sample(1_000, 10, 10, 10, 8, 2, 1, 0, 3, 1, 0)


def later(seconds: int, **grown: int) -> Sample:
    """A sample so long after the first."""
    fields = {name: getattr(FIRST, name) + grown.get(name, 0) for name in ("received", "runs", "succeeded", "failed")}
    return msgspec.structs.replace(FIRST, at=FIRST.at + 1000 * seconds, **fields)


def test_a_point_holds_the_rates_between_two_samples_and_the_sizes_of_the_later() -> None:
    """Per second."""
    (point,) = points_of([FIRST, msgspec.structs.replace(later(5, received=50, failed=5), inbox=7, oldest_ms=900)])

    assert (point.at, point.messages, point.runs, point.failures) == (6_000, 10.0, 0.0, 1.0)
    assert (point.inbox, point.queued, point.oldest_ms) == (7, 3, 900)


def test_totals_that_have_fallen_are_no_negative_rate() -> None:
    """As after Redis was emptied."""
    assert points_of([later(0, received=90), later(5)])[0].messages == 0


def test_many_samples_are_put_together_and_none_of_what_happened_is_left_out() -> None:
    """The newest is always one of the ends."""
    samples = [later(5 * i, received=10 * i) for i in range(101)]

    points = points_of(samples, most=10)

    assert len(points) == 10
    assert points[-1].at == samples[-1].at
    assert {point.messages for point in points} == {2.0}


def test_fewer_than_two_samples_make_no_point() -> None:
    """There is nothing to compare."""
    assert points_of([]) == points_of([FIRST]) == []


def test_what_another_release_has_written_is_passed_over() -> None:
    """However Redis' protocol puts the fields."""
    good = msgspec.msgpack.encode(FIRST)

    assert read_samples([(b"1-0", [b"e", good]), (b"2-0", {b"e": b"\xc1"}), (b"3-0", {b"e": good})]) == [FIRST, FIRST]
