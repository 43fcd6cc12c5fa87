"""Topic filters against an independent reading of MQTT 5 §4.7: regular expressions and enumeration."""

from __future__ import annotations

import re
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import TopicError
from shared.topics import TopicTrie, captures, common_topic, matches, overlaps, parse_filter, validate_topic

LEVELS = ["", "a", "b", "$a", "ü"]

topics = st.lists(st.sampled_from(LEVELS), min_size=1, max_size=4).map("/".join).filter(bool)
filters = st.builds(
    lambda levels, tail: "/".join([*levels, *tail]),
    st.lists(st.sampled_from([*LEVELS, "+"]), max_size=3),
    st.sampled_from([[], ["#"], ["+"], ["a"]]),
).filter(bool)


def as_regex(text: str) -> re.Pattern[str]:
    """The filter as a regular expression, built from its text alone."""
    guard = r"(?!\$)" if text[0] in "+#" else ""
    body = re.escape(text).replace(r"\+", "[^/]*")
    body = ".*" if text == "#" else re.sub(r"/\\#$", "(/.*)?", body)
    return re.compile(guard + body, re.DOTALL)


@given(filters, topics)
def test_matching_agrees_with_a_regular_expression(text: str, topic: str) -> None:
    """Two readings of the specification give the same answer."""
    assert matches(parse_filter(text), topic) is bool(as_regex(text).fullmatch(topic))


@given(st.lists(filters, max_size=30), topics)
def test_the_trie_finds_what_trying_every_filter_finds(texts: list[str], topic: str) -> None:
    """Same values, same order, each once per time it was added."""
    trie = TopicTrie[int]()
    for number, text in enumerate(texts):
        trie.add(parse_filter(text), number)

    assert trie.match(topic) == [number for number, text in enumerate(texts) if as_regex(text).fullmatch(topic)]


@settings(max_examples=300)
@given(filters, filters)
def test_overlap_is_symmetric_and_witnessed_by_a_topic(first: str, second: str) -> None:
    """Where overlap is claimed a topic proves it, and where it is denied no short topic refutes that."""
    a, b = parse_filter(first), parse_filter(second)
    witness = common_topic(a, b)

    assert overlaps(a, b) == overlaps(b, a) == (witness is not None)
    if witness is not None:
        validate_topic(witness)
        assert as_regex(first).fullmatch(witness)
        assert as_regex(second).fullmatch(witness)
    else:
        every = ("/".join(levels) for size in range(1, 5) for levels in product(["", "a", "b", "$a", "ü"], repeat=size))
        assert not any(
            as_regex(first).fullmatch(topic) and as_regex(second).fullmatch(topic) for topic in every if topic
        )


@given(filters, topics)
def test_names_change_nothing_but_what_is_captured(text: str, topic: str) -> None:
    """A filter with names is the filter with `+`, and the captures are the levels in these places."""
    places = [index for index, level in enumerate(text.split("/")) if level == "+"]
    named = "/".join(f"{{n{index}}}" if level == "+" else level for index, level in enumerate(text.split("/")))
    topic_filter = parse_filter(named)

    assert topic_filter.subscription == text
    assert matches(topic_filter, topic) == matches(parse_filter(text), topic)
    if matches(topic_filter, topic):
        assert captures(topic_filter, topic) == {f"n{index}": topic.split("/")[index] for index in places}


@given(st.text(alphabet=st.sampled_from("ab/+#${}\0\ud800_1"), max_size=12))
def test_any_text_is_a_filter_or_is_refused_with_a_place(text: str) -> None:
    """Parsing has two ends: a filter whose subscription is valid MQTT, or a TopicError that points into the text."""
    try:
        levels = parse_filter(text).subscription.split("/")
    except TopicError as error:
        refusal = error
    else:
        assert all(level in {"+", "#"} or not set(level) & {"+", "#"} for level in levels)
        assert "#" not in levels[:-1]
        return
    position = refusal.fields["position"]
    assert isinstance(position, int)
    assert 0 <= position <= len(text)
    assert refusal.hint
