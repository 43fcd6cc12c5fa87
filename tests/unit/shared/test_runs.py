"""The life of a run as a table, and the record in its RQ job."""

from __future__ import annotations

import pickle
import zlib

import msgspec
import pytest

from shared.errors import EnvelopeError
from shared.runs import (
    CAUSES,
    LIVE,
    RQ_REGISTRY,
    RQ_STATUS,
    TERMINAL,
    TRANSITIONS,
    RunSpec,
    decode_job,
    encode_job,
)
from shared.scripts.call import script

SPEC = RunSpec("f/a/t", "f/a/s", "0123456789abcdef", "s-1-1", {"site": "north"}, b"envelope")


def test_every_transition_leads_to_a_state_that_is_known() -> None:
    """And every state that the table leaves from can be reached."""
    reached = {after for verbs in TRANSITIONS.values() for after in verbs.values()}

    assert reached <= {*LIVE, *TERMINAL}
    assert TRANSITIONS.keys() - {"new"} <= reached
    assert reached - {"filtered"} <= RQ_STATUS.keys()
    assert RQ_STATUS.keys() - {"queued"} == RQ_REGISTRY.keys()


def test_every_transition_says_who_makes_it_by_which_verb() -> None:
    """And nothing else is told of; each verb exists."""
    assert {cause for causes in TRANSITIONS.values() for cause in causes} == CAUSES.keys()
    assert all(script(verb).source for cause in CAUSES.values() for verb in cause.verbs)


def test_a_run_is_the_argument_of_its_job() -> None:
    """As RQ wants it, and also when RQ's own tools have saved it."""
    data = encode_job(SPEC)
    function, instance, args, kwargs = msgspec.msgpack.decode(data)

    assert (function, instance, len(args), kwargs) == ("headrace.run", None, 1, {})
    assert decode_job(data) == decode_job(zlib.compress(data)) == SPEC


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x78broken",
        pickle.dumps(("os.system", None, ("true",), {})),
        zlib.compress(pickle.dumps(("os.system", None, ("true",), {}))),
        msgspec.msgpack.encode(["os.system", None, ["true"], {}]),
        msgspec.msgpack.encode(["os.system", None, [SPEC], {}]),
        msgspec.msgpack.encode(["headrace.run", None, [["only", "two"]], {}]),
    ],
)
def test_a_job_that_somebody_else_wrote_is_refused(data: bytes) -> None:
    """Nothing in it is loaded, and nothing is called."""
    with pytest.raises(EnvelopeError):
        decode_job(data)
