"""From what scripts ask for to their locks, at a push: as much as possible from what is deployed, the rest from uv."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

from shared.config import Settings
from shared.definitions import Script
from shared.dependencies.environments import Environments
from shared.dependencies.interpreter import Interpreter, probe
from shared.dependencies.needs import Need, find_needs
from shared.dependencies.uv import UvFailed, resolve
from shared.errors import WorkspaceError
from shared.workspace import Workspace
from shared.workspace.flows import code_key
from shared.workspace.problems import Problems

AT_ONCE = 4
"""Resolutions that wait for the network side by side."""

_SHOWN = 8
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})
_Key = tuple[tuple[str, ...], str]


class Dependencies:
    """How a push gets the locks of scripts, and whether it installs them.

    `environments` None: the scripts run on another machine. With `upgrade` nothing that is deployed is taken over. An
    edit of what is deployed (`keeps`) takes locks over whatever version of Python they were made for.
    """

    def __init__(
        self,
        python: str,
        environments: Path | None = None,
        *,
        upgrade: bool = False,
        keeps: bool = False,
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._python = python
        self._environments = environments
        self._upgrade = upgrade
        self._keeps = keeps
        self._say = say
        self._resolved: dict[_Key, str | UvFailed] = {}

    @classmethod
    def of(cls, settings: Settings, **options: Any) -> Self:
        """As these settings want it. Who reaches Redis on this machine is taken to run the scripts here too."""
        address = urlsplit(settings.redis_url)
        here = address.scheme == "unix" or address.hostname in _HERE
        return cls(settings.worker.python, settings.environments if here else None, **options)

    def lock(self, workspace: Workspace, deployed: Mapping[str, Script]) -> Workspace:
        """The workspace with the locks of its Python scripts, and of those that its flows hold themselves.

        Asks nobody where nothing has changed since `deployed`, which holds both by their keys (`all_scripts`). Raises
        WorkspaceError for what cannot be resolved, ConfigError for an interpreter that cannot be run.
        """
        scripts = all_scripts(workspace)
        python = {key: each for key, each in scripts.items() if each.language == "python3" and not each.lock}
        if not python:
            return workspace
        interpreter = probe(self._python)
        known = (
            {} if self._upgrade else {self._key(each.requirements, each.python): each.lock for each in _own(deployed)}
        )
        problems = Problems()
        asked: dict[str, list[Need]] = {}
        for name, script in python.items():
            if (kept := self._unchanged(script, deployed.get(name), interpreter)) is not None:
                scripts[name] = kept
            elif needs := find_needs(script, interpreter, problems):
                asked[name] = needs
        problems.check("what scripts need")
        keys = {path: self._key([need.text for need in needs], interpreter.version) for path, needs in asked.items()}
        self._resolve({key for key in keys.values() if key not in known})
        for path, key in keys.items():
            lock = known.get(key) or self._resolved[key]
            if isinstance(lock, UvFailed):
                _blame(asked[path], lock, problems)
            else:
                replaced = {"requirements": list(key[0]), "python": interpreter.version, "lock": lock}
                scripts[path] = msgspec.structs.replace(scripts[path], **replaced)
        problems.check("what scripts need")
        locked = with_scripts(workspace, scripts)
        return msgspec.structs.replace(locked, warnings=[*workspace.warnings, *problems.warnings])

    def install(self, scripts: Iterable[Script]) -> None:
        """Make the environments of these scripts. Raises WorkspaceError that names those for which it failed."""
        locks: dict[str, str] = {}
        for script in scripts:
            if script.language == "python3" and script.lock:
                locks.setdefault(script.lock, script.entry)
        if not locks or self._environments is None:
            return
        environments = Environments(self._environments, self._python)
        problems = Problems()
        for lock, file in locks.items():
            try:
                if environments.find(lock) is None:
                    self._say(f"installing the packages of {file}")
                    environments.prepare(lock)
            except WorkspaceError as error:
                problems.error(file, 0, "", error.message, error.hint)
        problems.check("what scripts need")

    def _key(self, requirements: Iterable[str], python: str) -> _Key:
        return tuple(requirements), "" if self._keeps else python

    def _unchanged(self, script: Script, before: Script | None, interpreter: Interpreter) -> Script | None:
        """The script with the deployed lock, where its code says that nothing can have changed."""
        if self._upgrade or before is None or (before.entry, before.modules) != (script.entry, script.modules):
            return None
        if before.requirements and not self._keeps and before.python != interpreter.version:
            return None
        if before.lock and not before.requirements:  # came from a file that is gone
            return None
        replaced = {"requirements": before.requirements, "python": before.python, "lock": before.lock}
        return msgspec.structs.replace(script, **replaced)

    def _resolve(self, keys: set[_Key]) -> None:
        """Fill `_resolved`: what was resolved once is kept for when the push has to be planned again."""

        def attempt(key: _Key) -> str | UvFailed:
            try:
                return resolve(key[0], self._python)
            except UvFailed as error:
                return error

        wanted = sorted(keys - self._resolved.keys())
        if wanted:
            self._say(f"resolving packages: {_few([name for key in wanted for name in key[0]])}")
            with ThreadPoolExecutor(min(AT_ONCE, len(wanted))) as pool:
                self._resolved.update(zip(wanted, pool.map(attempt, wanted), strict=True))


def all_scripts(workspace: Workspace) -> dict[str, Script]:
    """The scripts by path, and those that flows hold themselves by `code_key`."""
    code = {
        code_key(path, step): script for path, flow in workspace.flows.items() for step, script in flow.code.items()
    }
    return {**workspace.scripts, **code}


def with_scripts(workspace: Workspace, scripts: Mapping[str, Script]) -> Workspace:
    """The workspace with these scripts instead of its own, by the same keys."""
    flows = {
        path: msgspec.structs.replace(flow, code={step: scripts[code_key(path, step)] for step in flow.code})
        for path, flow in workspace.flows.items()
    }
    return msgspec.structs.replace(workspace, scripts={path: scripts[path] for path in workspace.scripts}, flows=flows)


def _own(deployed: Mapping[str, Script]) -> Iterable[Script]:
    """Those whose lock a push has resolved."""
    return (script for script in deployed.values() if script.requirements and script.lock)


def _few(names: list[str]) -> str:
    names = sorted(set(names))
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _blame(needs: list[Need], error: UvFailed, problems: Problems) -> None:
    """Tell the failure where the requirement stands that uv names; at the first one if it names none."""
    named = [
        need for need in needs if re.search(rf"(?<![\w-]){re.escape(_name(need.text))}(?![\w-])", _plain(error.message))
    ]
    need = (named or needs)[0]
    problems.error(need.file, need.line, need.text, error.message, error.hint)


def _name(requirement: str) -> str:
    match = re.match(r"[\w.-]+", requirement)
    return _plain(match[0]) if match else requirement


def _plain(text: str) -> str:
    """Names of packages are equal by PEP 503."""
    return re.sub(r"[._-]+", "-", text).lower()
