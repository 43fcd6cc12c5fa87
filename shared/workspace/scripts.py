"""Scripts: `<path>.py`, `.sh`, `.ts` …, with `<path>.script.yaml` and `<path>.script.lock` beside (Windmill's names).

A file of Python, TypeScript or JavaScript with a `main` is a script; one without is a module that scripts may import.
"""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Mapping

import msgspec

from shared.definitions import Script
from shared.workspace import javascript, shell
from shared.workspace.imports import Module, closure, folders_of, imports_of, missing
from shared.workspace.layout import LOCK, METADATA, PYTHON, Source, flow_of, source_of
from shared.workspace.own_keys import OwnKeys, both, read_block, read_own_keys
from shared.workspace.problems import Problems, did_you_mean
from shared.workspace.yaml_lines import Table, read_yaml
from shared.workspace.yaml_values import INLINE

ENTRY_POINT = "main"
PREPROCESSOR = "preprocessor"
MAX_TIMEOUT_S = 7 * 24 * 3600

_NOTHING_TO_DO = (
    "summary", "description", "kind", "schema", "tag", "has_preprocessor", "no_main_func", "auto_kind",
    "labels", "visible_to_runner_only",
)  # fmt: skip
_NOT_YET = (
    "concurrent_limit", "concurrency_time_window_s", "concurrency_key", "cache_ttl", "priority", "dedicated_worker",
    "envs", "restart_unless_cancelled", "delete_after_secs", "delete_after_use", "debounce_key", "debounce_delay_s",
    "debounce_args_to_accumulate", "max_total_debouncing_time", "max_total_debounces_amount",
)  # fmt: skip


class ScriptFiles(msgspec.Struct, frozen=True):
    """The code of a workspace by path without suffix: scripts, files without a `main`, and files that are wrong.

    `lonely` are files that belong to a script which is not there, `python` the files of Python. `preprocessors` are the
    files with a `preprocessor`, as scripts that call it alone: the preprocessor of a flow may name one.
    """

    scripts: dict[str, Script]
    modules: set[str]
    broken: set[str]
    lonely: list[str]
    python: dict[str, Module] = {}
    preprocessors: dict[str, Script] = {}


class _Metadata(msgspec.Struct, frozen=True):
    """What the files beside a script say, and of what is ours the script itself."""

    timeout_s: int | None = None
    own: OwnKeys = OwnKeys()
    lock: str = ""
    muted: bool = False


class _Code(msgspec.Struct, frozen=True):
    """What the source of a script says."""

    modules: dict[str, str]
    has_preprocessor: bool
    parameters: list[str]


def read_scripts(texts: Mapping[str, str], problems: Problems) -> ScriptFiles:
    """Every script of the folder, each with the modules that it imports."""
    sources = {file: source for file in texts if (source := source_of(file))}
    python = {file: parse_python(file, texts[file], problems) for file in sources if file.endswith(PYTHON)}
    found = ScriptFiles({}, set(), set(), [], python, {})
    for file, source in sources.items():
        path = source.path
        metadata = _metadata(file, path, texts, problems)
        if file in python and python[file].tree is None:
            found.broken.add(path)
        elif (code := _code(file, source, texts, python)) is None:
            found.modules.add(path)
            if only := _code(file, source, texts, python, PREPROCESSOR):
                found.preprocessors[path] = _script(file, source, only, metadata, PREPROCESSOR)
        elif path in found.scripts:
            problems.error(file, 0, "", f"{found.scripts[path].entry} is the script {path} too", "rename one of them")
        else:
            found.scripts[path] = _script(file, source, code, metadata)
            if code.has_preprocessor:
                found.preprocessors[path] = as_preprocessor(found.scripts[path])
    _warn_of_missing(python, problems)
    there = {source.path for source in sources.values()}
    beside = ((file, suffix) for file in texts for suffix in (METADATA, LOCK) if file.endswith(suffix))
    found.lonely.extend(file for file, suffix in beside if file.removesuffix(suffix) not in there and not flow_of(file))
    found.modules.difference_update(found.scripts)
    return found


def _warn_of_missing(python: Mapping[str, Module], problems: Problems) -> None:
    folders = folders_of(python)
    for file in python:
        for line, name in missing(file, python, folders):
            known = (other.removesuffix(PYTHON).replace("/", ".") for other in python)
            problems.warn(file, line, "", f"imports {name}, which is not in the workspace", did_you_mean(name, known))


def as_preprocessor(script: Script) -> Script:
    """A script that has a preprocessor, as a flow calls that alone."""
    return msgspec.structs.replace(script, function=PREPROCESSOR, has_preprocessor=False, parameters=["event"])


def _script(file: str, source: Source, code: _Code, metadata: _Metadata, function: str = ENTRY_POINT) -> Script:
    return Script(
        path=source.path, language=source.language, entry=file, modules=code.modules,
        has_preprocessor=code.has_preprocessor and function == ENTRY_POINT, timeout_s=metadata.timeout_s,
        lock=metadata.lock if source.language == "python3" else "", isolation=metadata.own.isolation or "warm",
        memory_mib=metadata.own.memory_mib, output_bytes=metadata.own.output_bytes, parameters=code.parameters,
        retry=metadata.own.retry, ws_error_handler_muted=metadata.muted, function=function,
    )  # fmt: skip


def _code(
    file: str, source: Source, texts: Mapping[str, str], python: Mapping[str, Module], function: str = ENTRY_POINT
) -> _Code | None:
    """What is deployed of a source; None if it has no such function."""
    if source.language == "bash":
        code = _Code({file: texts[file]}, has_preprocessor=False, parameters=shell.parameters(texts[file]))
        return code if function == ENTRY_POINT else None
    if source.language == "deno":
        names = javascript.parameters(texts[file], function)
        if names is None:
            return None
        preprocessor = javascript.parameters(texts[file], PREPROCESSOR)
        return _Code(javascript.closure(file, texts), has_preprocessor=preprocessor is not None, parameters=names)
    tree = python[file].tree
    if tree is None or not defines(tree, function):
        return None
    return _Code(closure(file, python), defines(tree, PREPROCESSOR), parameters_of(tree, function))


def parse_python(file: str, text: str, problems: Problems) -> Module:
    """A Python file, without a tree and with a problem where it is none."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Python says about the style of a script is the author's business
            tree = ast.parse(text, file)
            compile(text, file, "exec", dont_inherit=True)  # finds more than the parser: a return outside of a function
            return Module(text, tree, tuple(imports_of(tree)))
    except SyntaxError as error:
        problems.error(file, error.lineno or 0, "", f"{error.msg} (Python {version})", (error.text or "").strip())
    except (ValueError, RecursionError, MemoryError) as error:
        problems.error(file, 0, "", f"Python {version} cannot read it: {error}")
    return Module(text, None)


def _metadata(file: str, path: str, texts: Mapping[str, str], problems: Problems) -> _Metadata:
    text, beside = texts.get(path + METADATA), requirements(texts.get(path + LOCK, ""))
    block = read_block(file, texts[file], problems)
    if text is None or (table := read_yaml(path + METADATA, text, problems)) is None:
        return _Metadata(own=block, lock=beside)
    found = _Metadata(
        timeout_s=table.integer("timeout", 1, MAX_TIMEOUT_S),
        own=both(block, read_own_keys(table), table, file),
        lock=_lock(table, texts) or beside,
        muted=table.flag("ws_error_handler_muted") is True,
    )
    table.allow(*_NOTHING_TO_DO)
    table.not_yet(*_NOT_YET)
    table.close()
    return found


def _lock(table: Table, texts: Mapping[str, str]) -> str:
    """`lock`: `!inline <file>`, the text itself, or its lines."""
    value = table.data("lock")
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        value = "\n".join(value)
    if value is None or isinstance(value, str):
        text = value or ""
        if not text.startswith(INLINE):
            return requirements(text)
        file = text.removeprefix(INLINE).strip()
        if file in texts:
            return requirements(texts[file])
        table.error("lock", f"there is no {file}", "files after !inline are named from the workspace folder on")
    else:
        table.error("lock", "not a text", f"write '{INLINE} <path>{LOCK}'")
    return ""


def requirements(lock: str) -> str:
    """One requirement a line, without comments."""
    lines = (line.partition(" #")[0].strip() for line in lock.splitlines() if not line.lstrip().startswith("#"))
    return "\n".join(line for line in lines if line)


def parameters_of(tree: ast.Module, function: str = ENTRY_POINT) -> list[str]:
    """Of a function that is defined in the module itself."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == function:
            return [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return []


def defines(tree: ast.Module, name: str) -> bool:
    """Whether the module has this name at its top level: defined there, assigned or imported."""
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=defined) | ast.AsyncFunctionDef(name=defined) if defined == name:
                return True
            case ast.Assign(targets=targets) if any(isinstance(t, ast.Name) and t.id == name for t in targets):
                return True
            case ast.ImportFrom(names=names) if any(name == (alias.asname or alias.name) for alias in names):
                return True
    return False
