"""W3C Trace Context: what counts as one, and what is as if it were not there."""

from __future__ import annotations

import pytest

from shared.tracing.context import TraceContext, of_properties, parse, unpack

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


def test_a_traceparent_is_read_and_written_as_it_was() -> None:
    """The example of the recommendation."""
    found = parse(PARENT, "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7")
    assert found == TraceContext(TRACE, SPAN, 1, "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7")
    assert (found.traceparent, found.is_sampled) == (PARENT, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        PARENT.upper(),
        PARENT[:-1],
        PARENT + "0",
        PARENT + "-00",
        f" {PARENT}",
        f"{PARENT}\n",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        f"00_{TRACE}_{SPAN}_01",
        f"cc-{TRACE}-{SPAN}-01.what",
    ],
)
def test_what_is_no_traceparent_is_as_if_it_were_not_there(text: str) -> None:
    """Nothing else is known of the trace then, whatever the state says."""
    assert parse(text, "congo=1") is None
    assert of_properties([("traceparent", text), ("tracestate", "congo=1")]) is None


def test_a_later_version_is_read_as_far_as_this_one_goes() -> None:
    """And handed on as this version; flags that nobody knows yet are not."""
    found = parse(f"cc-{TRACE}-{SPAN}-ff-what-the-future-will-be-like")
    assert found is not None
    assert found.traceparent == f"00-{TRACE}-{SPAN}-03"


@pytest.mark.parametrize(
    "said, kept",
    [
        ("a=1, b=2 ,,c=3", "a=1,b=2,c=3"),
        ("tenant@vendor=x y", "tenant@vendor=x y"),
        ("a=1,a=2", ""),
        ("A=1", ""),
        ("a=", ""),
        ("a=1=2", ""),
        ("no sign", ""),
        ("ä=1", ""),
        (",".join(f"k{number}=1" for number in range(33)), ""),
        (f"a={'x' * 257}", ""),
    ],
)
def test_a_tracestate_that_is_not_valid_is_dropped_alone(said: str, kept: str) -> None:
    """The trace goes on without it."""
    found = parse(PARENT, said)
    assert found is not None
    assert found.state == kept


def test_two_traceparents_are_none_and_two_tracestates_are_one() -> None:
    """User properties may be there several times, as headers may."""
    assert of_properties([("traceparent", PARENT), ("traceparent", PARENT)]) is None
    found = of_properties([("tracestate", "a=1"), ("traceparent", PARENT), ("other", "x"), ("tracestate", "b=2")])
    assert found is not None
    assert found.state == "a=1,b=2"


def test_packed_it_takes_25_bytes_and_comes_back() -> None:
    """Anything of another length is nothing."""
    context = TraceContext(TRACE, SPAN, 1, "a=1")
    assert len(context.packed()) == 25
    assert unpack(context.packed(), "a=1") == context
    assert unpack(b"short") is None
