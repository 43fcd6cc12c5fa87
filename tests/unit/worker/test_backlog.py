"""The claims in a worker's hands, and how they are read."""

from __future__ import annotations

import pickle
import zlib
from typing import Any

import msgspec

from shared.envelope import ENVELOPE_VERSION, encode_envelope
from shared.runs import RunSpec, encode_job
from shared.scripts.worker import Claim
from tests.support.factories import make_envelope, make_run
from worker.backlog import Backlog
from worker.jobs import read_job


def claim(run_id: str, version: str = "v1", **fields: Any) -> Claim:
    """A claim of a run of this script version."""
    data = make_run(run_id, runnable_version=version).data
    return msgspec.structs.replace(Claim(run_id, f"w1-1-{run_id}", data, 60.0, 0), **fields)


def taken(backlog: Backlog, size: int = 64) -> list[list[str]]:
    """The groups that it gives until it is empty, by run id."""
    groups = []
    while group := backlog.take(lambda _version: size):
        groups.append([job.claim.run_id for job in group])
    return groups


def test_claims_are_grouped_by_version_and_keep_their_order() -> None:
    """One turn of a runner for all its runs."""
    backlog = Backlog()
    backlog.add([claim("q1-a", "v1"), claim("q1-b", "v2"), claim("q0-c", "v1"), claim("q1-d", "v2")])

    assert taken(backlog) == [["q1-a", "q0-c"], ["q1-b", "q1-d"]]


def test_a_run_of_qos_2_is_started_by_itself() -> None:
    """Also between others of its version."""
    backlog = Backlog()
    backlog.add([claim("q1-a"), claim("q2-b"), claim("q1-c"), claim("q0-d")])

    assert taken(backlog) == [["q1-a"], ["q2-b"], ["q1-c", "q0-d"]]


def test_a_group_that_was_put_back_comes_again_first() -> None:
    """As if it had not been taken."""
    backlog = Backlog()
    backlog.add([claim("q1-a"), claim("q1-b"), claim("q1-c")])
    backlog.put_back(backlog.take(lambda _version: 2))

    assert taken(backlog) == [["q1-a", "q1-b", "q1-c"]]


def test_claims_that_redis_holds_and_nobody_knew_of_are_adopted() -> None:
    """Those that are known, and those that have been started, are not taken twice."""
    backlog = Backlog()
    backlog.add([claim("q1-a")])
    backlog.adopt([claim("q1-a"), claim("q1-b"), claim("q1-c", stage="started")], "w1")

    assert taken(backlog) == [["q1-a", "q1-b"]]


def test_a_claim_of_a_newer_release_is_left_alone() -> None:
    """A worker of that release executes it, once this one has given it back."""
    envelope = encode_envelope(make_envelope(version=ENVELOPE_VERSION + 1))
    backlog = Backlog()
    backlog.add([claim("q1-a"), claim("q1-b", data=make_run("q1-b", envelope=envelope).data)])

    assert backlog.newer is not None
    assert taken(backlog) == []


def test_a_job_that_rq_has_saved_is_read_all_the_same() -> None:
    """RQ compresses what it writes."""
    job = read_job(claim("q1-a", data=zlib.compress(make_run("q1-a").data)))

    assert (job.problem, job.spec and job.spec.runnable) == (None, "f/demo/on_hello")


def test_a_job_that_is_not_ours_says_that_nothing_was_executed() -> None:
    """Neither pickles, nor calls of other functions, nor a damaged message."""
    other = encode_job(RunSpec("f/t", "f/s", "v1", "k", {}, b"")).replace(b"headrace.run", b"os.systemctl")
    broken = make_run("q1-a", envelope=b"\xc1").data
    for data in (pickle.dumps(("os.system", None, ("true",), {})), zlib.compress(b"no job"), b"", other, broken):
        job = read_job(claim("q1-a", data=data))

        assert job.problem is not None
        assert job.problem.message.startswith("nothing was executed: ")
        assert (job.spec, job.version) == (None, "")
