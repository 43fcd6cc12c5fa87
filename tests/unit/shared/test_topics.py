"""Topic filters: what MQTT 5 §4.7 and §4.8.2 say, and named levels."""

from __future__ import annotations

import pytest

from shared.errors import TopicError
from shared.topics import TopicTrie, captures, common_topic, matches, overlaps, parse_filter, validate_topic

# filter, topic, whether it matches; the examples of §4.7.1 and §4.7.2 first
MATCHES = [
    ("sport/tennis/player1/#", "sport/tennis/player1", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
    ("sport/#", "sport", True),
    ("#", "a", True),
    ("#", "/", True),
    ("sport/tennis/+", "sport/tennis/player1", True),
    ("sport/tennis/+", "sport/tennis/player1/ranking", False),
    ("sport/+", "sport", False),
    ("sport/+", "sport/", True),
    ("+/+", "/finance", True),
    ("/+", "/finance", True),
    ("+", "/finance", False),
    ("#", "$SYS/uptime", False),
    ("+/monitor/Clients", "$SYS/monitor/Clients", False),
    ("{root}/monitor", "$SYS/monitor", False),
    ("$share/g/#", "$SYS/uptime", False),
    ("$SYS/#", "$SYS/uptime", True),
    ("$SYS/monitor/+", "$SYS/monitor/Clients", True),
    ("a/+", "a/$b", True),
    ("a/#", "ab", False),
    ("a/#", "A/b", False),
    ("a//b", "a//b", True),
    ("a//b", "a/b", False),
    ("a/+/b", "a//b", True),
    ("a/b", "a/b/", False),
    ("+/#", "a", True),
    ("/#", "/", True),
    ("plant/{site}/temp", "plant/7/temp", True),
    ("$share/g/a/+", "a/b", True),
    ("$share/g//a", "/a", True),
    ("a/{{b}}", "a/{b}", True),
]

# filter, position of the fault, a word of the message, a word of the hint
REFUSED = [
    ("", 0, "empty", "plant/+/temp"),
    ("a/#/b", 2, "not the last", "'+'"),
    ("a/b#", 3, "shares its level", "'#' alone"),
    ("a/b+/c", 3, "shares its level", "'+' alone"),
    ("++", 0, "shares its level", "'+' alone"),
    ("a\0b", 1, "U+0000", "remove"),
    ("a\ud800", 1, "surrogate", "remove"),
    ("ä" * 32_768, 32_767, "65536 bytes", "65535"),
    ("$share", 6, "no name", "$share/<group>/<filter>"),
    ("$share//a", 6, "no name", "$share/<group>/<filter>"),
    ("$share/g", 8, "no filter", "$share/<group>/<filter>"),
    ("$share/g/", 8, "no filter", "$share/<group>/<filter>"),
    ("$share/g+/a", 8, "'+'", "$share/<group>/<filter>"),
    ("a/{1site}", 2, "not a named level", "{name}"),
    ("a/{}", 2, "not a named level", "{name}"),
    ("a/{x}y", 2, "not a named level", "twice"),
    ("a/{x", 2, "not a named level", "twice"),
    ("{x}/{y}/{x}", 8, "used twice", "once"),
]


@pytest.mark.parametrize("text,topic,expected", MATCHES)
def test_a_filter_matches_as_the_specification_says(text: str, topic: str, expected: object) -> None:
    """The matcher and the trie agree with §4.7."""
    topic_filter = parse_filter(text)
    trie = TopicTrie[str]()
    trie.add(topic_filter, text)

    assert matches(topic_filter, topic) is expected
    assert ([text] if expected else []) == trie.match(topic)


@pytest.mark.parametrize("text,position,problem,hint", REFUSED, ids=range(len(REFUSED)))
def test_a_wrong_filter_is_refused_with_its_place_and_the_remedy(
    text: str, position: int, problem: str, hint: str
) -> None:
    """Message, position and hint lead to the fault."""
    with pytest.raises(TopicError) as caught:
        parse_filter(text)

    assert problem in caught.value.message
    assert f"character {position + 1}" in caught.value.message
    assert hint in caught.value.hint
    assert {"text": text, "position": position} == caught.value.fields


def test_a_long_filter_is_shortened_in_the_message() -> None:
    """An error stays readable."""
    with pytest.raises(TopicError) as caught:
        parse_filter("x" * 1000 + "+")

    assert len(caught.value.message) < 200


def test_the_longest_filter_is_accepted() -> None:
    """65,535 bytes are allowed, also as empty levels."""
    longest = "/" * 65_535

    assert matches(parse_filter(longest), longest)
    assert matches(parse_filter("#"), longest)


def test_named_levels_are_sent_as_plus_and_captured_by_name() -> None:
    """The broker sees no names, the code sees nothing else."""
    topic_filter = parse_filter("plant/{site}/{_line2}/#")

    assert topic_filter.text == "plant/{site}/{_line2}/#"
    assert topic_filter.subscription == "plant/+/+/#"
    assert captures(topic_filter, "plant/nord//temp/1") == {"site": "nord", "_line2": ""}
    assert captures(parse_filter("plant/+"), "plant/7") == {}


def test_a_shared_filter_keeps_its_group_for_the_broker_only() -> None:
    """The group is sent, and is no level when matching and capturing."""
    topic_filter = parse_filter("$share/workers/plant/{site}")

    assert topic_filter.share == "workers"
    assert topic_filter.subscription == "$share/workers/plant/+"
    assert topic_filter.levels == ("plant", "+")
    assert captures(topic_filter, "plant/7") == {"site": "7"}
    assert parse_filter("plant/+").share is None


def test_doubled_braces_are_literal() -> None:
    """Every filter of MQTT can be written."""
    assert parse_filter("a/{{x}}/b{{").subscription == "a/{x}/b{"


def test_equal_texts_give_equal_filters() -> None:
    """A filter can be a key."""
    assert {parse_filter("a/+"): 1}[parse_filter("a/+")] == 1


@pytest.mark.parametrize("text", ["a", "/", "a b/ü", "$SYS/x", "a/{b}"])
def test_a_topic_to_publish_to_is_accepted(text: str) -> None:
    """Anything without wildcards goes."""
    validate_topic(text)


@pytest.mark.parametrize(
    "text,position,problem",
    [("", 0, "empty"), ("a/+", 2, "'+'"), ("a/b#", 3, "'#'"), ("a\0", 1, "U+0000"), ("x" * 65_536, 65_535, "bytes")],
    ids=["empty", "plus", "hash", "nul", "long"],
)
def test_a_wrong_topic_is_refused(text: str, position: int, problem: str) -> None:
    """Wildcards are only for subscribing."""
    with pytest.raises(TopicError) as caught:
        validate_topic(text)

    assert problem in caught.value.message
    assert position == caught.value.fields["position"]
    assert caught.value.hint


@pytest.mark.parametrize(
    "first,second,example",
    [
        ("a/#", "a/+/c", "a/x/c"),
        ("a/b", "a/b", "a/b"),
        ("a/#", "a", "a"),
        ("+/b", "a/+", "a/b"),
        ("#", "#", "x"),
        ("#", "$SYS/#", None),
        ("+/a", "$SYS/+", None),
        ("a/+", "a", None),
        ("a/b", "a/c", None),
        ("/#", "+", None),
        ("$share/g/a/{x}", "a/b", "a/b"),
    ],
)
def test_overlap_is_shown_by_a_topic_that_both_match(first: str, second: str, example: str | None) -> None:
    """An overlap has a witness; without one there is none."""
    a, b = parse_filter(first), parse_filter(second)

    assert common_topic(a, b) == example
    assert overlaps(a, b) is overlaps(b, a) is (example is not None)


def test_the_trie_returns_values_in_the_order_of_adding() -> None:
    """The order does not depend on the kind of match; a filter may be there twice."""
    trie = TopicTrie[int]()
    for number, text in enumerate(["a/+", "#", "a/b", "x", "a/#", "a/b", "+/b"]):
        trie.add(parse_filter(text), number)

    assert trie.match("a/b") == [0, 1, 2, 4, 5, 6]
    assert len(trie) == 7


def test_wildcard_characters_in_an_arriving_topic_are_only_characters() -> None:
    """What a broken broker sends does not match twice or by accident."""
    trie = TopicTrie[str]()
    for text in ["+", "#", "a"]:
        trie.add(parse_filter(text), text)

    assert trie.match("+") == ["+", "#"]
    assert trie.match("#") == ["+", "#"]
