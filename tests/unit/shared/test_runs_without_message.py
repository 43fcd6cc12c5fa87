"""Runs that no message made, as records: what stands in their RQ job."""

from __future__ import annotations

import msgspec
import pytest

from shared.create_runs import Family, make_run
from shared.errors import EnvelopeError
from shared.run_record import is_run_id, read_args, read_data
from shared.runs import RQ_FUNCTION, decode_job


def test_a_run_carries_its_arguments_and_its_family() -> None:
    """And no trigger, no message, no captures."""
    run = make_run("f/t/child", "0" * 16, 60, b'{"t": 21.5}', "child", Family("q1-parent", "q1-root"))
    spec = decode_job(run.data)

    assert (spec.trigger, spec.envelope, spec.captures, spec.message()) == ("", b"", {}, None)
    assert (spec.origin, spec.parent, spec.root) == ("child", "q1-parent", "q1-root")
    assert read_args(spec) == {"t": 21.5}
    assert read_data(run.data) == (spec, None)


def test_its_id_is_its_own_and_says_that_a_crash_does_not_start_it_again() -> None:
    """As at QoS 2; the idempotency key is the rest of it."""
    first, second = (make_run("f/t/child", "0" * 16, 60, b"{}", "api") for _ in range(2))

    assert first.id != second.id
    assert is_run_id(first.id)
    assert first.id == f"q2-{decode_job(first.data).idempotency_key}"
    assert len(make_run("f/" + "x" * 300, "0" * 16, 60, b"{}", "api").description) == 120


def test_a_job_of_an_earlier_release_is_read() -> None:
    """It has fewer fields, and a message."""
    old = ["f/t/trigger", "f/t/script", "0" * 16, "s-1-1", {}, b"no envelope"]
    spec = decode_job(msgspec.msgpack.encode([RQ_FUNCTION, None, [old], {}]))

    assert (spec.args, spec.origin, spec.parent, spec.root, spec.is_flow) == (None, "", None, None, False)
    with pytest.raises(EnvelopeError):
        spec.message()
