"""YAML as data: what a node is worth in JSON, by the core schema of YAML 1.2, which Windmill's tools write.

PyYAML itself reads YAML 1.1, where `on`, `12:30:00` and `2026-01-01` are no texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import yaml

INLINE = "!inline"
MAX_DEPTH = 100
MAX_VALUES = 100_000
"""That a file may stand for with its aliases: a few lines of them can stand for billions."""
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE, _FALSE = frozenset({"true", "True", "TRUE"}), frozenset({"false", "False", "FALSE"})
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_STANDARD = "tag:yaml.org,2002:"


class UnusableNode(Exception):
    """This part of a document is no JSON."""

    def __init__(self, node: yaml.Node, why: str) -> None:
        super().__init__(why)
        self.line: int = node.start_mark.line + 1
        self.why = why


class Text(msgspec.Struct, frozen=True):
    """A text somewhere in a document: its line, the path of keys that leads to it, and the last of these keys."""

    line: int
    key: str
    name: str
    text: str


def json_of(node: yaml.Node, depth: int = 0) -> Any:
    """The JSON value of a node. `!inline` as a tag is given as the text `!inline …`. Raises UnusableNode."""
    if depth > MAX_DEPTH:
        raise UnusableNode(node, f"is more than {MAX_DEPTH} levels deep")
    if isinstance(node, yaml.ScalarNode):
        return scalar_of(node)
    if isinstance(node, yaml.SequenceNode):
        return [json_of(each, depth + 1) for each in node.value]
    found: dict[str, Any] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise UnusableNode(key, "has a key that is no text")
        if key.value in found:
            raise UnusableNode(key, f"has the key {key.value} twice")
        found[key.value] = json_of(value, depth + 1)
    return found


def check_aliases(root: yaml.Node) -> None:
    """Raises UnusableNode where an alias leads back into itself, or all of them stand for more than MAX_VALUES."""
    if _values_in(root, {}) > MAX_VALUES:
        raise UnusableNode(root, f"its aliases stand for more than {MAX_VALUES} values")


def _values_in(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for. `known`: those of the nodes seen before, 0 while they are counted."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if (count := known.get(id(node))) is not None:
        if count == 0:
            raise UnusableNode(node, "has an alias that leads back into itself")
        return count
    known[id(node)] = 0
    inner = (each for pair in node.value for each in pair) if isinstance(node, yaml.MappingNode) else iter(node.value)
    known[id(node)] = 1 + sum(_values_in(each, known) for each in inner)
    return known[id(node)]


def scalar_of(node: yaml.ScalarNode) -> Any:
    """Null, a boolean, a number or a text."""
    text: str = node.value
    if node.tag == INLINE:
        return f"{INLINE} {text}"
    return text if node.style or not node.tag.startswith(_STANDARD) else plain_value(text)


def plain_value(text: str) -> Any:
    """What a text without quotes is."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def texts_of(node: yaml.Node, key: str, name: str = "", depth: int = 0) -> Iterator[Text]:
    """Every text in a node, in order. What is too deep is passed over: `json_of` refuses it."""
    if depth > MAX_DEPTH:
        return
    if isinstance(node, yaml.ScalarNode):
        value = scalar_of(node)
        if isinstance(value, str):
            yield Text(node.start_mark.line + 1, key, name or key, value)
    elif isinstance(node, yaml.SequenceNode):
        for index, each in enumerate(node.value):
            yield from texts_of(each, f"{key}[{index}]", name or key, depth + 1)
    else:
        for inner, value in node.value:
            if isinstance(inner, yaml.ScalarNode):
                yield from texts_of(value, f"{key}.{inner.value}", inner.value, depth + 1)
