"""What is deployed, by version: scripts on this machine's disk, and what triggers say about payloads."""

from __future__ import annotations

from pathlib import Path

import msgspec

from shared.definitions import Script, Trigger
from shared.deployment import definition_command, read_definition
from shared.errors import HeadraceError, StoreUnavailable
from worker.runners.base import Form, RunErrorInfo, ScriptFiles
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
            files = self._written(version, script)
        except (HeadraceError, OSError) as error:
            return RunErrorInfo("ScriptUnusable", f"nothing was executed: {path} cannot be used: {error}")
        self._files[version] = files
        return files

    def _written(self, version: str, script: Script) -> ScriptFiles:
        files = materialise(
            self._cache_dir, version, script.modules, script.entry, has_preprocessor=script.has_preprocessor
        )
        return msgspec.structs.replace(
            files,
            path=script.path,
            language=script.language,
            isolation=script.isolation,
            memory_mib=script.memory_mib,
            output_bytes=script.output_bytes,
        )


class Triggers:
    """In which form each trigger version hands over payloads; fetched once, as it never changes."""

    def __init__(self, uplink: Uplink) -> None:
        self._uplink = uplink
        self._forms: dict[str, Form] = {}

    def form(self, trigger_version: str) -> Form:
        """Windmill's where the trigger does not say. Raises StoreUnavailable when told to stop while Redis is away."""
        if (known := self._forms.get(trigger_version)) is not None:
            return known
        answer = self._uplink.insist(lambda store: store.commands([definition_command(trigger_version)]))
        if answer is None:
            raise StoreUnavailable("the trigger could not be read: Redis is away")
        trigger = read_definition(answer[0], Trigger)
        form: Form = trigger.payload if trigger else "windmill"
        self._forms[trigger_version] = form
        return form
