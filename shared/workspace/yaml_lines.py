"""YAML that is read key by key, so that every problem can name its file, line and key.

A `Table` knows which keys it was asked for: what is left over when it is closed is an unknown key. Nothing here raises
for what a file holds; a value that cannot be used is reported, and None is given in its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import yaml

from shared.workspace.problems import Problems, did_you_mean
from shared.workspace.yaml_values import Text, UnusableNode, check_aliases, json_of, texts_of

T = TypeVar("T")

_SHOWN = 60  # characters of a text in a message


def read_yaml(file: str, text: str, problems: Problems) -> Table | None:
    """The mapping that a file holds; None, and a problem, where it holds none."""
    try:
        node = _compose(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problems.error(file, mark.line + 1 if mark else 0, "", f"not YAML: {error.problem or error.context}")
        return None
    except yaml.YAMLError as error:
        problems.error(file, 0, "", f"not YAML: {' '.join(str(error).split())}")
        return None
    except RecursionError:
        problems.error(file, 0, "", "nested too deeply")
        return None
    if not isinstance(node, yaml.MappingNode):
        problems.error(file, 1, "", "the file holds no keys", "write lines of the form 'key: value'")
        return None
    return Table(file, "", node, problems) if "*" not in text or _unfolds(file, node, problems) else None


def _unfolds(file: str, node: yaml.MappingNode, problems: Problems) -> bool:
    """Whether what the aliases of a file stand for is of a size that can be worked with."""
    for key, value in node.value:
        try:
            check_aliases(value)
        except (UnusableNode, RecursionError) as error:
            line, why = (error.line, error.why) if isinstance(error, UnusableNode) else (0, "nested too deeply")
            problems.error(file, line, key.value if isinstance(key, yaml.ScalarNode) else "", why)
            return False
    return True


def read_document(file: str, text: str) -> dict[str, Any]:
    """All that a file holds, as JSON; what cannot be read is left out."""
    table = read_yaml(file, text, Problems())
    return {} if table is None else table.whole()


def _compose(text: str) -> yaml.Node | None:
    """By libyaml, which is ten times as fast, where PyYAML has it; errors are told in PyYAML's own words."""
    loader = getattr(yaml, "CSafeLoader", None)
    if loader is not None:
        try:
            return _compose_with(loader, text)
        except yaml.YAMLError:
            pass
    return _compose_with(yaml.SafeLoader, text)


def _compose_with(loader: Any, text: str) -> yaml.Node | None:
    node: yaml.Node | None = yaml.compose(text, Loader=loader)
    return node


class Table:
    """A mapping of a YAML file. A key that is absent or null counts as not given."""

    def __init__(self, file: str, name: str, node: yaml.MappingNode, problems: Problems) -> None:
        self.file = file
        self.first_line = node.start_mark.line + 1
        self._name = name
        self._problems = problems
        self._nodes: dict[str, tuple[int, yaml.Node]] = {}
        self._known: set[str] = set()
        for key, value in node.value:
            self._add(key.value if isinstance(key, yaml.ScalarNode) else "?", key.start_mark.line + 1, value)

    def text(self, key: str, *, required: bool = False, secret: bool = False) -> str | None:
        """A text that is not empty; '' counts as not given. A secret one is never shown."""
        value = self._scalar(key)
        if isinstance(value, str) and value:
            return value
        if value not in {None, ""}:
            shown = "not a text" if secret else f"{_shown(value)}, not a text"
            self.error(key, shown, "put the value in quotes")
        elif required:
            self.error(key, "missing" if value is None else "empty")
        return None

    def integer(self, key: str, low: int, high: int, *, required: bool = False) -> int | None:
        """A whole number within bounds, both included."""
        value = self._scalar(key)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        if value is not None:
            self.error(key, f"{_shown(value)}, expected a whole number from {low} to {high}")
        elif required:
            self.error(key, "missing", f"write a whole number from {low} to {high}")
        return None

    def flag(self, key: str) -> bool | None:
        """True or false."""
        value = self._scalar(key)
        if value is not None and not isinstance(value, bool):
            self.error(key, f"{_shown(value)}, expected true or false")
        return value if isinstance(value, bool) else None

    def choice(self, key: str, options: Mapping[str | int, T], *, required: bool = False) -> T | None:
        """What one of the words (or numbers) stands for."""
        value = self._scalar(key)
        names = ", ".join(str(option) for option in options if isinstance(option, str))
        if isinstance(value, str | int) and not isinstance(value, bool) and value in options:
            return options[value]
        if value is not None:
            self.error(key, f"{_shown(value)}, expected one of {names}")
        elif required:
            self.error(key, "missing", f"write one of {names}")
        return None

    def data(self, key: str) -> Any:
        """The value as JSON, whatever it is; None where there is none."""
        node = self._node(key)
        try:
            return None if node is None else json_of(node)
        except UnusableNode as error:
            self._problems.error(self.file, error.line, self._path(key), error.why)
            return None

    def whole(self) -> dict[str, Any]:
        """Every key with its value as JSON, null too."""
        return {key: self.data(key) for key in self._nodes}

    def texts(self, *keys: str) -> Iterator[Text]:
        """Every text under these keys."""
        for key in keys:
            if (node := self._node(key)) is not None:
                yield from texts_of(node, self._path(key))

    def span(self, key: str) -> tuple[int, int]:
        """Where the value stands in the file's text: characters from, and up to."""
        node = self._nodes[key][1]
        return node.start_mark.index, node.end_mark.index

    def table(self, key: str, *, required: bool = False) -> Table | None:
        """A nested mapping."""
        node = self._node(key)
        if isinstance(node, yaml.MappingNode):
            return Table(self.file, self._path(key), node, self._problems)
        if not _is_null(node):
            self.error(key, f"{_shown_node(node)}, expected keys under it")
        elif required:
            self.error(key, "missing")
        return None

    def tables(self, key: str) -> list[Table]:
        """A list of mappings; empty where none is given."""
        node = self._node(key)
        if isinstance(node, yaml.SequenceNode):
            found = []
            for index, item in enumerate(node.value):
                if isinstance(item, yaml.MappingNode):
                    found.append(Table(self.file, f"{self._path(key)}[{index}]", item, self._problems))
                else:
                    self._problems.error(
                        self.file,
                        item.start_mark.line + 1,
                        f"{self._path(key)}[{index}]",
                        f"{_shown_node(item)}, expected keys",
                    )
            return found
        if not _is_null(node):
            self.error(key, f"{_shown_node(node)}, expected a list ('- …' lines)")
        return []

    def allow(self, *keys: str) -> None:
        """These keys are known and mean nothing to a run."""
        self._known.update(keys)

    def not_yet(self, *keys: str) -> None:
        """These keys are known, but what they ask for is not done: a warning for each that asks for something."""
        for key in keys:
            node = self._node(key)
            if node is not None and not _is_void(node):
                self.warn(key, "not used yet", "the file is deployed as if the key were not there")

    def refuse(self, *keys: str, message: str, hint: str = "") -> None:
        """These keys are known, and what they ask for cannot be had: an error for each that asks for something."""
        for key in keys:
            node = self._node(key)
            if node is not None and not _is_void(node):
                self.error(key, message, hint)

    def close(self) -> None:
        """Report every key that nobody asked for."""
        for key in self._nodes.keys() - self._known:
            hint = did_you_mean(key, self._known) or f"known are {', '.join(sorted(self._known))}"
            self.error(key, "unknown key", hint)

    def given(self, key: str) -> bool:
        """Whether the key is there with a value."""
        return not _is_null(self._node(key))

    def known(self, key: str) -> bool:
        """Whether the key is there, be it null."""
        return key in self._nodes

    def names(self) -> list[str]:
        """The keys that are there, in order."""
        return list(self._nodes)

    def call(self, name: str) -> None:
        """Name the mapping otherwise than by the path of keys that leads to it."""
        self._name = name

    def key(self, key: str) -> str:
        """The path of keys that leads to this one."""
        return self._path(key)

    def line(self, key: str) -> int:
        """Where the key stands; where the mapping starts if it is not there."""
        return self._nodes[key][0] if key in self._nodes else self.first_line

    def error(self, key: str, message: str, hint: str = "") -> None:
        """Report a problem at a key."""
        self._problems.error(self.file, self.line(key), self._path(key), message, hint)

    def warn(self, key: str, message: str, hint: str = "") -> None:
        """Report a warning at a key."""
        self._problems.warn(self.file, self.line(key), self._path(key), message, hint)

    def note(self, key: str, message: str) -> None:
        """Report a note at a key."""
        self._problems.note(self.file, self.line(key), self._path(key), message)

    def _add(self, key: str, line: int, value: yaml.Node) -> None:
        if key in self._nodes:
            message = f"given twice, first on line {self._nodes[key][0]}"
            self._problems.error(self.file, line, self._path(key), message, "keep one of them")
        else:
            self._nodes[key] = (line, value)

    def _node(self, key: str) -> yaml.Node | None:
        self._known.add(key)
        return self._nodes[key][1] if key in self._nodes else None

    def _scalar(self, key: str) -> object:
        node = self._node(key)
        if node is None or isinstance(node, yaml.ScalarNode):
            return None if node is None else _value(node)
        return node

    def _path(self, key: str) -> str:
        return f"{self._name}.{key}" if self._name else key


def _value(node: yaml.ScalarNode) -> object:
    """As YAML reads the scalar; its own text where YAML cannot. PyYAML does not check tags (`!!bool x`)."""
    try:
        return yaml.constructor.SafeConstructor().construct_object(node)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError):
        return node.value


def _is_null(node: yaml.Node | None) -> bool:
    return node is None or (isinstance(node, yaml.ScalarNode) and _value(node) is None)


def _is_void(node: yaml.Node) -> bool:
    """Null, false, zero, an empty text, list or mapping: it asks for nothing."""
    return not (_value(node) if isinstance(node, yaml.ScalarNode) else node.value)


def _shown_node(node: yaml.Node | None) -> str:
    return _shown(_value(node) if isinstance(node, yaml.ScalarNode) else node)


def _shown(value: object) -> str:
    match value:
        case bool():
            return f"is {str(value).lower()}"
        case str():
            return f"is {value if len(value) <= _SHOWN else value[:_SHOWN] + '…'!r}"
        case yaml.SequenceNode():
            return "is a list"
        case yaml.MappingNode():
            return "is a mapping"
        case _:
            return f"is {value}"
