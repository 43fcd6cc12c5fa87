"""Secrets of a workspace on their way to Redis: sealed in the variable, and left out of the text of its file. No I/O.

So a file is the same text whoever has the secret: pulled without it, pushed again, it is unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec

from shared.definitions import Variable
from shared.errors import SecretError
from shared.secrets import VARIABLE, SecretBox, is_sealed
from shared.workspace import Workspace
from shared.workspace.layout import VARIABLE as SUFFIX
from shared.workspace.problems import Problems
from shared.workspace.render import variable_yaml, yaml_text
from shared.workspace.variables import VariableFile, read_variable
from shared.workspace.yaml_lines import read_yaml


def seal_secrets(workspace: Workspace, deployed: Mapping[str, Variable], box: SecretBox) -> Workspace:
    """The workspace without a plain secret in it.

    A file without a value, or with the sealed text, keeps what is deployed. Raises WorkspaceError where there is
    nothing to keep or a sealed text cannot be opened, SecretError where there is no usable key, or another one than
    that of the deployed secrets (unless all of them are given again).
    """
    problems = Problems()
    _check_key(workspace, deployed, box, problems)
    texts, variables = dict(workspace.texts), []
    for file in workspace.variables:
        sealed = _sealed(file, deployed.get(file.variable.path), box, problems) if file.variable.is_secret else None
        if sealed is None:
            variables.append(file)
            continue
        variable = msgspec.structs.replace(file.variable, value=sealed)
        variables.append(msgspec.structs.replace(file, variable=variable))
        if file.given:
            texts[file.file] = without_value(texts[file.file], file)
    problems.check("the workspace")
    warnings = [*workspace.warnings, *problems.warnings]
    return msgspec.structs.replace(workspace, variables=variables, texts=texts, warnings=warnings)


def _check_key(workspace: Workspace, deployed: Mapping[str, Variable], box: SecretBox, problems: Problems) -> None:
    """Nobody seals with a key of his own what others are to open: one deployed secret shows whether it is theirs."""
    given = {
        file.variable.path: file
        for file in workspace.variables
        if file.variable.is_secret and file.given and not is_sealed(file.variable.value)
    }
    secret = [path for path, variable in sorted(deployed.items()) if variable.is_secret]
    if not given or not secret:
        return
    witness = min(secret, key=lambda path: path in given)
    hint = f"use the key of the machine that pushed first ({VARIABLE} or its key file), or give every secret again"
    if not box.has_key() and witness not in given:  # else one would be made, which is of no use to anybody
        raise SecretError(f"{witness} is deployed, and there is no key for secrets here", hint=hint)
    try:
        box.open(witness, deployed[witness].value)
    except SecretError as error:
        if witness not in given:
            raise SecretError(f"{witness} is deployed under another key than the one here", hint=hint) from error
        file = given[witness]
        message = "all secrets were deployed under another key than the one here"
        problems.warn(file.file, file.line, "value", message, "from now on every process needs this one")


def _sealed(file: VariableFile, before: Variable | None, box: SecretBox, problems: Problems) -> str | None:
    path, value = file.variable.path, file.variable.value
    if not file.given:
        if before is not None:
            return before.value if before.is_secret else box.seal(path, before.value)
        problems.error(
            file.file, file.line, "value", "missing, and none is deployed that could be kept", "write it once"
        )
        return None
    if not is_sealed(value):
        return box.seal(path, value)
    if before is None or before.value != value:
        try:
            box.open(path, value)
        except SecretError as error:
            problems.error(file.file, file.line, "value", error.message, "write the secret itself, or leave value out")
            return None
    return value


def without_value(text: str, file: VariableFile) -> str:
    """The file's text with nothing after `value:`, and all else as it stands."""
    start, end = file.span
    newline = "\n" if text[start:end].endswith("\n") else ""
    emptied = text[:start].rstrip(" ") + newline + text[end:]
    again = read_variable(file.file, emptied, Problems())
    if again is not None and not again.given and _but_value(again) == _but_value(file):
        return emptied
    return yaml_text({"description": file.variable.description}) + "value:\nis_secret: true\n"


def with_value(text: str, variable: Variable) -> str:
    """The text of a file without a value (as `without_value` gives it), with the value of this variable."""
    file = variable.path + SUFFIX
    problems = Problems()
    if (table := read_yaml(file, text, problems)) is not None and table.known("value"):
        value, place = variable.value, table.span("value")[1]
        plain = value.isprintable() and yaml_text({"value": value}).partition(": ")[2].rstrip("\n")
        filled = f"{text[:place]} {plain or json.dumps(value)}{text[place:]}"
        again = read_variable(file, filled, problems)
        if again is not None and again.variable == variable:
            return filled
    return variable_yaml(variable)


def _but_value(file: VariableFile) -> Variable:
    return msgspec.structs.replace(file.variable, value="")
