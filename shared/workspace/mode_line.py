"""Changing the mode in the text of a trigger's file, and nothing else in it. Pure."""

from __future__ import annotations

import yaml

from shared.definitions import Mode
from shared.errors import UserError

_MODE, _OLDER = "mode", "enabled"


def with_mode(file: str, text: str, mode: Mode) -> str:
    """The text with this mode: its line is changed, or the older `enabled`, or one is put in front of the other keys.

    Every other line, and every comment, stays as it is. Raises UserError for a file that is written in another way.
    """
    root = _root(text)
    if root is None or root.flow_style:
        raise _refusal(file, mode)
    spans = {
        key.value: (key.start_mark.index, value.end_mark.index)
        for key, value in root.value
        if isinstance(key, yaml.ScalarNode) and isinstance(value, yaml.ScalarNode)
    }
    line = f"{_MODE}: {mode}"
    if (span := spans.get(_MODE) or spans.get(_OLDER)) is not None:
        changed = text[: span[0]] + line + text[span[1] :]
    else:
        start = root.start_mark
        changed = text[: start.index] + line + "\n" + " " * start.column + text[start.index :]
    if _MODE in spans and _OLDER in spans:
        changed = _without(changed, _OLDER)
    if not _differs_in_mode_alone(text, changed, mode):
        raise _refusal(file, mode)
    return changed


def _root(text: str) -> yaml.MappingNode | None:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    return node if isinstance(node, yaml.MappingNode) else None


def _without(text: str, key: str) -> str:
    """The text without the line of this key."""
    root = _root(text)
    at = next((node.start_mark.line for node, _ in root.value if node.value == key), None) if root else None
    return "".join(line for number, line in enumerate(text.splitlines(keepends=True)) if number != at)


def _differs_in_mode_alone(before: str, after: str, mode: Mode) -> bool:
    try:
        was, now = (yaml.load(text, Loader=yaml.SafeLoader) for text in (before, after))
    except yaml.YAMLError:
        return False
    others = [{key: value for key, value in data.items() if key not in {_MODE, _OLDER}} for data in (was, now)]
    return others[0] == others[1] and now.get(_MODE) == mode and _OLDER not in now


def _refusal(file: str, mode: Mode) -> UserError:
    return UserError(
        f"the mode in {file} cannot be changed line by line", hint=f"write 'mode: {mode}' in your folder, and push it"
    )
