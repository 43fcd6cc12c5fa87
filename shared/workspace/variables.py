"""Variables: `<path>.variable.yaml`. Secret ones are read as written, and sealed before they are deployed."""

from __future__ import annotations

import base64
import binascii

import msgspec

from shared.definitions import Variable
from shared.secrets import is_sealed
from shared.workspace.layout import VARIABLE as SUFFIX
from shared.workspace.problems import Problems
from shared.workspace.yaml_lines import Table, read_yaml

_NOTHING_TO_DO = ("labels", "is_oauth", "account", "expires_at", "extra_perms", "ws_specific")
_CIPHER_BLOCK = 16


class VariableFile(msgspec.Struct, frozen=True):
    """A variable as its file describes it. `given`: whether the file holds a value; `span` is where (characters)."""

    file: str
    variable: Variable
    line: int
    given: bool
    span: tuple[int, int] = (0, 0)


def read_variable(file: str, text: str, problems: Problems, *, encrypted: bool = False) -> VariableFile | None:
    """The variable that a file describes; None, and problems, where it says too little.

    `encrypted`: the folder may have been written by Windmill's tools, with secrets that only a Windmill can read.
    """
    if (table := read_yaml(file, text, problems)) is None:
        return None
    is_secret, description = table.flag("is_secret") is True, table.data("description")
    value, given = _value(table, is_secret=is_secret)
    table.allow(*_NOTHING_TO_DO)
    table.close()
    if value is None:
        return None
    if is_secret and encrypted and _looks_encrypted(value):
        hint = "if so, write the value itself (wmill sync pull --plain-secrets)"
        table.warn("value", "looks as if Windmill had encrypted it; it is deployed as it stands", hint)
    variable = Variable(file.removesuffix(SUFFIX), value, is_secret, str(description or ""))
    span = table.span("value") if given else (0, 0)
    return VariableFile(file, variable, table.line("value"), given, span)


def _value(table: Table, *, is_secret: bool) -> tuple[str | None, bool]:
    """The value, and whether there is one. Only a secret may have none: the deployed one is then kept."""
    value = table.data("value")
    if isinstance(value, str):
        return value, True
    if value is None and is_secret:
        return "", False
    if value is None:
        table.error("value", "missing", "write value: '' for an empty text")
    else:
        table.error("value", "not a text", "put the value in quotes")
    return None, False


def _looks_encrypted(value: str) -> bool:
    """Base64 of whole cipher blocks, and not ours."""
    if is_sealed(value) or len(value) < _CIPHER_BLOCK:
        return False
    try:
        return len(base64.b64decode(value, validate=True)) % _CIPHER_BLOCK == 0
    except binascii.Error:
        return False
