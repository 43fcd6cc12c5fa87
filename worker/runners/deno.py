"""The TypeScript and JavaScript runner: Deno, from the package `deno` or the PATH."""

from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import msgspec

from shared.errors import ConfigError
from shared.workspace import javascript
from shared.workspace.layout import LANGUAGES
from shared.workspace.scripts import PREPROCESSOR
from worker.runners.base import MIB, RunnerLimits, RunnerSettings, ScriptFiles
from worker.runners.program import CHILD_FOLDER, ProgramRunner

HELPER = "headrace"

_HARNESS = CHILD_FOLDER / "deno_child.js"
_HELPER_FILE = CHILD_FOLDER / "headrace.js"
_EXTENSIONS = tuple(extension for extension, language in LANGUAGES.items() if language == "deno")
_BARE = re.compile(r"@?\w[^:]*")
_OPTIONS = (
    "run", "--quiet", "--no-prompt", "--no-config", "--no-lock", "--no-check", "--node-modules-dir=none",
    "--allow-net", "--allow-env", "--allow-sys",
)  # fmt: skip
_ENVIRONMENT = {"NO_COLOR": "1", "DENO_NO_UPDATE_CHECK": "1", "DENO_TLS_CA_STORE": "system,mozilla"}
_NODE = frozenset((
    "assert", "async_hooks", "buffer", "child_process", "cluster", "console", "constants", "crypto", "dgram",
    "diagnostics_channel", "dns", "domain", "events", "fs", "http", "http2", "https", "inspector", "module", "net",
    "os", "path", "perf_hooks", "process", "punycode", "querystring", "readline", "repl", "stream",
    "string_decoder", "sys", "timers", "tls", "tty", "url", "util", "v8", "vm", "wasi", "worker_threads", "zlib",
))  # fmt: skip


class DenoRunner(ProgramRunner):
    """A warm Deno for one version of a script in TypeScript or JavaScript: a `worker.runners.base.Runner`.

    The script may use the network, read and write its scratch folder, and read its own modules and Deno's cache. It may
    start no programs. `memory_bytes` bounds the heap of JavaScript; buffers lie outside of it.
    """

    def __init__(self, script: ScriptFiles, limits: RunnerLimits, settings: RunnerSettings | None = None) -> None:
        """Raise ConfigError when there is no Deno."""
        given = settings or RunnerSettings(interpreter="")
        cache = str(Path(given.cache) / "deno") if given.cache else ".deno"
        environment = {**_ENVIRONMENT, "DENO_DIR": cache, **given.environment}
        root, entry = Path(script.root), Path(script.entry)
        sources = {str(path.relative_to(root)): path.read_text("utf-8") for path in root.rglob("*.[tj]s")}
        names = {name for text in sources.values() for name in javascript.imported(text)}
        told = {
            "command": [find_deno(), *_OPTIONS, *_allowed(script, cache), *_limited(limits)],
            "harness": str(_HARNESS),
            "imports": import_map(root, sources, names),
            "entry": entry.as_uri(),
            "root": f"{root.as_uri()}/",
            "function": script.function,
            "event_parameters": javascript.parameters(entry.read_text("utf-8"), PREPROCESSOR) or [],
            "clients": sorted(name for name in names if "windmill" in name and not name.startswith((".", "/"))),
        }
        script = msgspec.structs.replace(script, language="deno")
        super().__init__(script, limits, msgspec.structs.replace(given, environment=environment), told)


def find_deno() -> str:
    """Deno's path, of the package `deno` if it is installed. Raises ConfigError when there is none."""
    try:
        return str(importlib.import_module("deno").find_deno_bin())
    except (ImportError, AttributeError, FileNotFoundError):
        found = shutil.which("deno")
    if found is None:
        raise ConfigError(
            "this worker has no Deno for TypeScript and JavaScript: run `pip install 'headrace[deno]'` where it runs, "
            "or put deno on its PATH"
        )
    return found


def import_map(root: Path, sources: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    """Where imports lead that Deno does not find by itself: `headrace`, the workspace's files by their path from its
    root and without their extension, Node's modules, and by its bare name a package of npm.
    """
    places = {HELPER: _HELPER_FILE.as_uri()}
    for path in sources:
        file = (root / path).as_uri()
        stem = next(extension for extension in _EXTENSIONS if path.endswith(extension))
        places[f"/{path}"] = places[f"/{path.removesuffix(stem)}"] = places[file.removesuffix(stem)] = file
    for name in names:
        if name != HELPER and _BARE.fullmatch(name):
            places[name] = f"node:{name}" if name.partition("/")[0] in _NODE else f"npm:{name}"
    return places


def _allowed(script: ScriptFiles, cache: str) -> list[str]:
    readable = [".", script.root, str(CHILD_FOLDER), cache]
    return [f"--allow-read={','.join(path.replace(',', ',,') for path in readable)}", "--allow-write=."]


def _limited(limits: RunnerLimits) -> list[str]:
    if limits.memory_bytes is None:
        return []
    return [f"--v8-flags=--max-old-space-size={max(1, limits.memory_bytes // MIB)}"]
