"""Secrets of a workspace on their way to Redis: sealed, in the variable and in the text of its file. No I/O."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from shared.definitions import Variable
from shared.errors import SecretError
from shared.secrets import VARIABLE, SecretBox, is_sealed
from shared.workspace import Workspace
from shared.workspace.problems import Problems
from shared.workspace.render import variable_yaml
from shared.workspace.variables import VariableFile, read_variable


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
            texts[file.file] = _replaced(texts[file.file], file, variable)
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
    try:
        box.open(witness, deployed[witness].value)
    except SecretError as error:
        if witness not in given:
            hint = (
                f"use the key of the machine that pushed first ({VARIABLE} or its key file), or give every secret again"
            )
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


def _replaced(text: str, file: VariableFile, variable: Variable) -> str:
    """The file's text with the sealed value in place of the plain one, and all else as it stands."""
    start, end = file.span
    newline = "\n" if text[start:end].endswith("\n") else ""
    replaced = text[:start] + variable.value + newline + text[end:]
    again = read_variable(file.file, replaced, Problems())
    if again is not None and again.variable == variable:
        return replaced
    return variable_yaml(variable)
