"""The code that a flow holds itself: each `rawscript` becomes a script record of its own, `<path of the flow>/<id>`."""

from __future__ import annotations

from collections.abc import Mapping

from shared.definitions import Language, Script
from shared.openflow import PREPROCESSOR as PREPROCESSOR_ID
from shared.workspace import javascript, shell
from shared.workspace.flow_fields import Code
from shared.workspace.imports import Module, closure, folders_of, missing
from shared.workspace.layout import LANGUAGES, PYTHON
from shared.workspace.own_keys import BLOCK, block_line
from shared.workspace.problems import Problems, did_you_mean
from shared.workspace.scripts import ENTRY_POINT, PREPROCESSOR, defines, parameters_of, parse_python, requirements
from shared.workspace.yaml_values import INLINE

_LANGUAGES: dict[str, Language] = {
    "python3": "python3", "bash": "bash", "bun": "deno", "deno": "deno", "nativets": "deno", "bunnative": "deno",
}  # fmt: skip
_OTHERS = (
    "ansible", "bigquery", "csharp", "dbt", "duckdb", "go", "graphql", "java", "mssql", "mysql", "nu", "oracledb",
    "php", "postgresql", "powershell", "rlang", "ruby", "rust", "snowflake",
)  # fmt: skip
_EXTENSIONS: dict[Language, str] = {"python3": PYTHON, "bash": ".sh", "deno": ".ts"}

_Text = tuple[str, str]
"""The file of a text, '' for flow.yaml, and the text."""
_Read = tuple[dict[str, str], list[str]]
"""Modules, and parameters."""


class FlowCode:
    """Makes the scripts of one flow. `folder` is the flow's, with its slash; `python` are the workspace's modules."""

    def __init__(
        self, folder: str, path: str, texts: Mapping[str, str], python: Mapping[str, Module], problems: Problems
    ) -> None:
        self._folder = folder
        self._path = path
        self._texts = texts
        self._modules = python
        self._problems = problems

    def script(self, code: Code) -> Script | None:
        """The script of a step; None, and a problem, where its code cannot be one."""
        language = _LANGUAGES.get(code.language)
        content = self._text(code, "content")
        lock = self._text(code, "lock") if language == "python3" else ("", "")
        if language is None:
            self._refuse_language(code)
        if language is None or content is None or lock is None:
            return None
        if (line := block_line(content[1])) is not None:
            hint = "make the code a script of its own, and name that"
            code.table.warn("content", f"line {line}: a {BLOCK} block counts in a script, not in a step", hint)
        entry = self._entry(content[0], language, code.step)
        function = PREPROCESSOR if code.step == PREPROCESSOR_ID else ENTRY_POINT
        readers = {"bash": self._bash, "deno": self._deno, "python3": self._python}
        found = readers[language](code, entry, content, function)
        if found is None:
            return None
        return Script(
            path=f"{self._path}/{code.step}", language=language, entry=entry, modules=found[0],
            lock=requirements(lock[1]), parameters=found[1], function=function,
        )  # fmt: skip

    def _bash(self, code: Code, entry: str, content: _Text, function: str) -> _Read | None:
        if function == PREPROCESSOR:
            hint = "write the preprocessor in Python"
            code.table.error("language", "bash makes no arguments of an event", hint)
            return None
        return {entry: content[1]}, shell.parameters(content[1])

    def _deno(self, code: Code, entry: str, content: _Text, function: str) -> _Read | None:
        parameters = javascript.parameters(content[1], function)
        if parameters is None:
            self._refuse(code, f"export async function {function}(…)", function)
            return None
        return javascript.closure(entry, {**self._texts, entry: content[1]}), parameters

    def _python(self, code: Code, entry: str, content: _Text, function: str) -> _Read | None:
        module = self._parsed(code, content[0], entry, content[1])
        if module.tree is None:
            return None
        if not defines(module.tree, function):
            self._refuse(code, f"def {function}(…): …", function)
            return None
        known = {**self._modules, **self._beside(entry), entry: module}
        for line, name in missing(entry, known, folders_of(known)):
            code.table.warn("content", f"line {line} imports {name}, which is not in the workspace")
        return closure(entry, known), parameters_of(module.tree, function)

    def _text(self, code: Code, key: str) -> _Text | None:
        """A text that stands there or, with the name of the file, in another one."""
        value = code.table.data(key)
        if isinstance(value, list) and all(isinstance(line, str) for line in value):
            value = "\n".join(value)
        if value is None:
            return "", ""
        if not isinstance(value, str):
            code.table.error(key, "not a text", f"write the text, or '{INLINE} FILE'")
            return None
        if not value.startswith(INLINE):
            return "", value
        name = value.removeprefix(INLINE).strip().removeprefix("./")
        for file in (self._folder + name, name):
            if file in self._texts:
                return file, self._texts[file]
        code.table.error(key, f"there is no {self._folder}{name}", "write the file, or name another")
        return None

    def _entry(self, file: str, language: Language, step: str) -> str:
        """The file of the code: errors of the code name it. One that stands in flow.yaml is named after its step."""
        extension = next((each for each in LANGUAGES if file.endswith(each)), "")
        if file and LANGUAGES.get(extension) == language:
            return file
        return f"{self._folder}{step}{_EXTENSIONS[language]}"

    def _parsed(self, code: Code, file: str, entry: str, text: str) -> Module:
        if file:
            return parse_python(entry, text, self._problems)
        found = Problems()
        module = parse_python(entry, text, found)
        for each in found.errors:
            place = f" on line {each.line} of the code" if each.line else ""
            code.table.error("content", f"{each.message}{place}", each.hint)
        return module

    def _beside(self, entry: str) -> Mapping[str, Module]:
        """The other Python files of the flow's folder."""
        files = (file for file in self._texts if file.startswith(self._folder) and file.endswith(PYTHON))
        return {file: parse_python(file, self._texts[file], Problems()) for file in files if file != entry}

    def _refuse(self, code: Code, write: str, function: str) -> None:
        code.table.error("content", f"the code has no function {function}", f"write {write}")

    def _refuse_language(self, code: Code) -> None:
        known = ", ".join(_LANGUAGES)
        if code.language in _OTHERS:
            code.table.error("language", f"{code.language} is not supported", f"supported are {known}")
        else:
            hint = did_you_mean(code.language, [*_LANGUAGES, *_OTHERS]) or f"supported are {known}"
            code.table.error("language", f"is {code.language!r}, no language", hint)
