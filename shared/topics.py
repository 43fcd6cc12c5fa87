"""Topic filters of MQTT 5 (§4.7, §4.8.2): parse, check, match, compare, and find all that match a topic.

Beside the wildcards `+` and `#` a filter may hold *named levels*: `plant/{site}/temp` is sent to the broker as
`plant/+/temp`, and the level that arrives is handed to the code under its name. A literal brace is written twice.

Everything here is pure. A topic name given to `matches`, `captures` or `TopicTrie.match` is taken as it arrived.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import zip_longest
from operator import itemgetter
from typing import Generic, TypeVar

import msgspec

from shared.errors import TopicError

MAX_BYTES = 65_535
"""The most that a UTF-8 string of MQTT can hold (MQTT 5 §1.5.4)."""

T = TypeVar("T")

_NAME = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SHOWN = 80  # characters of a text in an error message
_WILDCARD = re.compile(r"[+#]")


class TopicFilter(msgspec.Struct, frozen=True):
    """A checked topic filter. Equal texts give equal filters; it can be a key of a dict."""

    text: str
    """As the user wrote it."""
    subscription: str
    """As it goes into SUBSCRIBE: named levels are `+`, a share group is kept."""
    share: str | None
    """Name of the share group of `$share/<group>/<filter>`."""
    levels: tuple[str, ...]
    """What is matched, level by level and without the share group: a literal, `+` or, in the last place, `#`."""
    names: tuple[tuple[str, int], ...]
    """Named levels, each with its index in `levels`."""


def parse_filter(text: str) -> TopicFilter:
    """Read a topic filter as a user writes it.

    Raises TopicError with the fields `text` and `position` (characters from 0); its hint says what would be right.
    """
    _check_text("topic filter", text)
    share, start = _share_group(text)
    levels: list[str] = []
    names: dict[str, int] = {}
    position = start
    parts = text[start:].split("/")
    for index, part in enumerate(parts):
        level, name = _parse_level(text, part, position, last=index == len(parts) - 1)
        if name is not None:
            if name in names:
                raise _refusal(
                    "topic filter", text, position, f"the name {{{name}}} is used twice", "name each level once"
                )
            names[name] = index
        levels.append(level)
        position += len(part) + 1
    subscription = text[:start] + "/".join(levels)
    return TopicFilter(text, subscription, share, tuple(levels), tuple(names.items()))


def filled(template: str, captures: Mapping[str, str]) -> str:
    """The topic that a text with named levels stands for. Raises TopicError, and KeyError for a level without value."""
    parsed = parse_filter(template)
    levels = list(parsed.levels)
    for name, index in parsed.names:
        levels[index] = captures[name]
    return "/".join(levels)


def validate_topic(text: str) -> None:
    """Check a topic name to publish to (MQTT 5 §4.7.3): not empty, no wildcards, no U+0000, at most 65,535 bytes.

    Raises TopicError with the fields `text` and `position`.
    """
    _check_text("topic", text)
    if found := _WILDCARD.search(text):
        hint = "a message goes to one topic: replace the wildcard with a name"
        raise _refusal("topic", text, found.start(), f"'{found.group()}' is only for subscribing", hint)


def matches(topic_filter: TopicFilter, topic: str) -> bool:
    """Whether a message on this topic reaches a subscription with this filter.

    `a/#` matches `a` too, an empty level is a level, and a topic that starts with `$` is not matched by a filter that
    starts with a wildcard (MQTT 5 §4.7.2).
    """
    levels, parts = topic_filter.levels, topic.split("/")
    if topic.startswith("$") and levels[0] in {"+", "#"}:
        return False
    if levels[-1] == "#":
        levels = levels[:-1]
        parts = parts[: len(levels)]
    return len(levels) == len(parts) and all(level in {"+", part} for level, part in zip(levels, parts, strict=True))


def captures(topic_filter: TopicFilter, topic: str) -> dict[str, str]:
    """The levels of a topic by the names that the filter gives them, in the filter's order.

    Only for a topic that the filter matches.
    """
    parts = topic.split("/")
    return {name: parts[index] for name, index in topic_filter.names}


def common_topic(a: TopicFilter, b: TopicFilter) -> str | None:
    """A topic that both filters match, to show as an example; None if there is none. Share groups do not count."""
    parts: list[str] = []
    rest: tuple[str, ...] = ()
    for index, (left, right) in enumerate(zip_longest(a.levels, b.levels)):
        if "#" in {left, right}:
            rest = (b if left == "#" else a).levels[index:]
            break
        if left != right and "+" not in {left, right}:
            return None
        if left is None or right is None:
            return None
        parts.append(right if left == "+" else left)
    topic = "/".join("x" if level in {"+", "#"} else level for level in (*parts, *rest))
    return topic if topic and matches(a, topic) and matches(b, topic) else None


def overlaps(a: TopicFilter, b: TopicFilter) -> bool:
    """Whether there is a topic that both filters match. Symmetric."""
    return common_topic(a, b) is not None


class _Node(Generic[T]):
    """One level of the trie. Values carry the number of their `add`, which is their order."""

    __slots__ = ("ending", "literals", "plus", "remaining")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[T]] = {}
        self.plus: _Node[T] | None = None
        self.ending: list[tuple[int, T]] = []
        self.remaining: list[tuple[int, T]] = []


class TopicTrie(Generic[T]):
    """Filters with a value each; finds all values for a topic without looking at every filter.

    The cost of a match grows with the levels of the topic and the wildcards that fit, not with the number of filters.
    """

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, topic_filter: TopicFilter, value: T) -> None:
        """Put a value under a filter. The same filter may be added again, with the same or another value."""
        node = self._root
        for level in topic_filter.levels:
            if level == "#":
                node.remaining.append((self._size, value))
                break
            if level == "+":
                if node.plus is None:
                    node.plus = _Node()
                node = node.plus
            else:
                node = node.literals.setdefault(level, _Node())
        else:
            node.ending.append((self._size, value))
        self._size += 1

    def match(self, topic: str) -> list[T]:
        """The values of all filters that match, in the order in which they were added."""
        found: list[tuple[int, T]] = []
        nodes = [self._root]
        wildcards = not topic.startswith("$")
        for part in topic.split("/"):
            deeper: list[_Node[T]] = []
            for node in nodes:
                if wildcards:
                    found += node.remaining
                    if node.plus is not None:
                        deeper.append(node.plus)
                if (literal := node.literals.get(part)) is not None:
                    deeper.append(literal)
            nodes = deeper
            wildcards = True
        for node in nodes:
            found += node.ending
            found += node.remaining
        found.sort(key=itemgetter(0))
        return [value for _, value in found]


def _share_group(text: str) -> tuple[str | None, int]:
    """The share group and where the filter proper starts (MQTT 5 §4.8.2)."""
    if text.partition("/")[0] != "$share":
        return None, 0
    hint = "write '$share/<group>/<filter>', for example '$share/workers/plant/#'"
    group, _, rest = text[len("$share/") :].partition("/")
    start = len("$share/") + len(group) + 1
    if not group:
        raise _refusal("topic filter", text, len("$share"), "the share group has no name", hint)
    if found := _WILDCARD.search(group):
        position = len("$share/") + found.start()
        raise _refusal(
            "topic filter", text, position, f"'{found.group()}' cannot be part of a share group's name", hint
        )
    if not rest:
        raise _refusal("topic filter", text, start - 1, "no filter follows the share group", hint)
    return group, start


def _parse_level(text: str, level: str, position: int, *, last: bool) -> tuple[str, str | None]:
    """What a level matches, and its name if it has one."""
    if level == "+" or (level == "#" and last):
        return level, None
    if level == "#":
        hint = "'#' stands for all levels that follow: end the filter there, or write '+' for this one level"
        raise _refusal("topic filter", text, position, "'#' is not the last level", hint)
    if found := _WILDCARD.search(level):
        hint = f"a wildcard stands for whole levels: write '{found.group()}' alone, and look at the topic in the code"
        at = position + found.start()
        raise _refusal("topic filter", text, at, f"'{found.group()}' shares its level with other characters", hint)
    unpaired = level.replace("{{", "").replace("}}", "")
    if "{" not in unpaired and "}" not in unpaired:
        return level.replace("{{", "{").replace("}}", "}"), None
    if named := _NAME.fullmatch(level):
        return "+", named.group(1)
    hint = (
        "a named level is {name} alone between slashes: a letter or '_', then letters, digits or '_'; "
        "write a literal brace twice"
    )
    raise _refusal("topic filter", text, position, f"'{level}' is not a named level", hint)


def _check_text(kind: str, text: str) -> None:
    """The rules that topics and filters share (MQTT 5 §1.5.4, §4.7.3)."""
    if not text:
        example = "'plant/+/temp', or '#' for everything" if kind == "topic filter" else "'plant/7/temp'"
        raise _refusal(kind, text, 0, "it is empty", f"write at least one character, for example {example}")
    if "\0" in text:
        raise _refusal(kind, text, text.index("\0"), "it holds the character U+0000", "remove the character")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        problem = "it holds half of a surrogate pair, which UTF-8 cannot express"
        raise _refusal(kind, text, error.start, problem, "remove the character") from None
    if size > MAX_BYTES:
        hint = f"shorten it to {MAX_BYTES} bytes of UTF-8"
        raise _refusal(kind, text, len(text.encode()[:MAX_BYTES].decode(errors="ignore")), f"it has {size} bytes", hint)


def _refusal(kind: str, text: str, position: int, problem: str, hint: str) -> TopicError:
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    message = f"{kind} {shown!r}: {problem} (character {position + 1})"
    return TopicError(message, hint=hint, text=text, position=position)
