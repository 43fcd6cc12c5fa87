"""Where things of the workspace stand as files: a change of one is a push of the folder with this file changed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from console.errors import bad_request
from shared.definitions import Broker, Kind
from shared.deploy import Editor
from shared.errors import UserError
from shared.workspace.layout import RESOURCE, RESOURCE_TYPE, TRIGGER, VARIABLE, means_something, owner_of
from shared.workspace.problems import Problems
from shared.workspace.render import yaml_text
from shared.workspace.resources import read_resource
from shared.workspace.yaml_lines import read_document

SUFFIXES: Final[Mapping[Kind, str]] = {"trigger": TRIGGER, "resource": RESOURCE, "variable": VARIABLE}
PATH_MAX: Final = 255
"""As Windmill's."""
PART_MAX: Final = 200
_PATH = re.compile(r"[uf](/[A-Za-z0-9_-]+){2,}")
_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def check_path(path: str, kind: str, file: str) -> str:
    """The file again. Raises UserError for a path that would be no file of its own, or none that can be written."""
    check_length(path)
    if _PATH.fullmatch(path) and means_something(file) and owner_of(file) == (kind, path):
        return file
    raise UserError(f"{path!r} is no path for a {kind}", hint="a path is f/FOLDER/NAME or u/USER/NAME")


def check_length(path: str) -> None:
    """Raises UserError for what a pull could not write: file systems bound the names of files, with their suffix."""
    if len(path) > PATH_MAX or any(len(part) > PART_MAX for part in path.split("/")):
        raise UserError(
            f"a path of {len(path)} characters is too long",
            hint=f"at most {PATH_MAX} characters, of which {PART_MAX} between two slashes",
        )


def file_of(kind: Kind, path: str) -> str:
    """The file of a trigger, resource or variable. Raises UserError."""
    return check_path(path, kind, path + SUFFIXES[kind])


def broker_of(path: str, value: Mapping[str, Any]) -> Broker:
    """The broker that a resource of type mqtt with this value is. Raises UserError."""
    problems = Problems()
    text = yaml_text({"resource_type": "mqtt", "value": dict(value)})
    found = read_resource((path or "f/new/broker") + RESOURCE, text, problems)
    if problems.errors or found is None or found.broker is None:
        wrong = "; ".join(f"{each.key.removeprefix('value.')}: {each.message}" for each in problems.errors)
        hint = next((each.hint for each in problems.errors if each.hint), "")
        raise UserError(f"this is no broker: {wrong}", hint=hint)
    return found.broker


def type_file(name: str) -> str:
    """The file of a resource type. Raises UserError."""
    check_length(name)
    if _TYPE.fullmatch(name):
        return name + RESOURCE_TYPE
    raise UserError(f"{name!r} is no name for a resource type", hint="letters, digits, _ and -")


def anew(file: str, text: str, taken: str) -> Editor:
    """An editor that writes a file which is not there, and raises Refusal (400) with this text where it is."""

    def write(texts: Mapping[str, str]) -> dict[str, str | None]:
        if file in texts:
            raise bad_request(taken)
        return {file: text}

    return write


def document(texts: Mapping[str, str], file: str) -> dict[str, Any]:
    """What stands in a deployed file; nothing where there is none."""
    return read_document(file, texts[file]) if file in texts else {}
