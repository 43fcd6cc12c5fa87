"""Deployed scripts, by version, on this machine's disk."""

from __future__ import annotations

from pathlib import Path

from shared.definitions import Script
from shared.deployment import definition_command, read_definition
from shared.errors import HeadraceError
from worker.runners.base import RunErrorInfo, ScriptFiles
from worker.runners.materialise import materialise
from worker.uplink import Uplink


class Scripts:
    """Fetches a version once: it is named after its content and never changes."""

    def __init__(self, uplink: Uplink, cache_dir: Path) -> None:
        self._uplink = uplink
        self._cache_dir = cache_dir
        self._files: dict[str, ScriptFiles] = {}

    def files(self, path: str, version: str) -> ScriptFiles | RunErrorInfo | None:
        """Where the script lies, or why it cannot be executed. Waits while Redis is away; None if told to stop then."""
        if (known := self._files.get(version)) is not None:
            return known
        answer = self._uplink.insist(lambda store: store.commands([definition_command(version)]))
        if answer is None:
            return None
        try:
            script = read_definition(answer[0], Script)
            if script is None:
                return RunErrorInfo(
                    "ScriptMissing", f"nothing was executed: version {version} of {path} was never deployed"
                )
            files = materialise(
                self._cache_dir, version, script.modules, script.entry, has_preprocessor=script.has_preprocessor
            )
        except (HeadraceError, OSError) as error:
            return RunErrorInfo("ScriptUnusable", f"nothing was executed: {path} cannot be used: {error}")
        self._files[version] = files
        return files
