"""Scripts: `<path>.py`, with an optional `<path>.script.yaml` beside it (Windmill's names).

A Python file with a `main` is a script; one without is a module that scripts may import.
"""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Mapping

import msgspec

from shared.definitions import Script
from shared.workspace.imports import Module, closure
from shared.workspace.problems import Problems
from shared.workspace.yaml_lines import read_yaml

SOURCE = ".py"
METADATA = ".script.yaml"
ENTRY_POINT = "main"
PREPROCESSOR = "preprocessor"
MAX_TIMEOUT_S = 7 * 24 * 3600

_NOTHING_TO_DO = (
    "summary", "description", "lock", "kind", "schema", "tag", "has_preprocessor", "no_main_func", "auto_kind",
    "labels", "visible_to_runner_only", "ws_error_handler_muted",
)  # fmt: skip
_NOT_YET = (
    "concurrent_limit", "concurrency_time_window_s", "concurrency_key", "cache_ttl", "priority", "dedicated_worker",
    "envs", "restart_unless_cancelled", "delete_after_secs", "delete_after_use", "debounce_key", "debounce_delay_s",
    "debounce_args_to_accumulate", "max_total_debouncing_time", "max_total_debounces_amount",
)  # fmt: skip


class PythonFiles(msgspec.Struct, frozen=True):
    """The Python of a workspace by path without suffix: scripts, files without a `main`, and files that are wrong."""

    scripts: dict[str, Script]
    modules: set[str]
    broken: set[str]


def read_scripts(texts: Mapping[str, str], problems: Problems) -> PythonFiles:
    """Every script of the folder, each with the modules that it imports."""
    parsed = {file: _parse(file, text, problems) for file, text in texts.items() if file.endswith(SOURCE)}
    scripts: dict[str, Script] = {}
    modules: set[str] = set()
    broken: set[str] = set()
    for file, module in parsed.items():
        path = file.removesuffix(SOURCE)
        metadata = texts.get(path + METADATA)
        timeout_s = None if metadata is None else _timeout(path + METADATA, metadata, problems)
        if module.tree is None:
            broken.add(path)
        elif not _defines(module.tree, ENTRY_POINT):
            modules.add(path)
        else:
            scripts[path] = Script(
                path=path,
                language="python3",
                entry=file,
                modules=closure(file, parsed),
                has_preprocessor=_defines(module.tree, PREPROCESSOR),
                timeout_s=timeout_s,
            )
    return PythonFiles(scripts, modules, broken)


def _parse(file: str, text: str, problems: Problems) -> Module:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Python says about the style of a script is the author's business
            return Module(text, ast.parse(text, file))
    except SyntaxError as error:
        problems.error(file, error.lineno or 0, "", f"{error.msg} (Python {version})", (error.text or "").strip())
    except (ValueError, RecursionError, MemoryError) as error:
        problems.error(file, 0, "", f"Python {version} cannot read it: {error}")
    return Module(text, None)


def _timeout(file: str, text: str, problems: Problems) -> int | None:
    if (table := read_yaml(file, text, problems)) is None:
        return None
    timeout_s = table.integer("timeout", 1, MAX_TIMEOUT_S)
    table.allow(*_NOTHING_TO_DO)
    table.not_yet(*_NOT_YET)
    table.close()
    return timeout_s


def _defines(tree: ast.Module, name: str) -> bool:
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
