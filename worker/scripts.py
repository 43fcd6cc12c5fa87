"""What is deployed, by version: scripts on this machine's disk, and what triggers say about payloads."""

from __future__ import annotations

from pathlib import Path

import msgspec

from shared.definitions import Script, Trigger
from shared.deployment import definition_command, read_definition
from shared.errors import HeadraceError, StoreUnavailable, WorkspaceError
from shared.retry_policy import Retry
from worker.environments import ScriptEnvironments
from worker.runners.base import Form, RunErrorInfo, ScriptFiles
from worker.runners.materialise import materialise
from worker.uplink import Uplink


class Scripts:
    """Fetches a version once: it is named after its content and never changes."""

    def __init__(self, uplink: Uplink, cache_dir: Path, environments: ScriptEnvironments) -> None:
        self._uplink = uplink
        self._cache_dir = cache_dir
        self._environments = environments
        self._files: dict[str, ScriptFiles] = {}
        self._retries: dict[str, Retry | None] = {}

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
            files = on_disk(self._cache_dir, version, script)
        except (HeadraceError, OSError) as error:
            return RunErrorInfo("ScriptUnusable", f"nothing was executed: {path} cannot be used: {error}")
        self._files[version] = files
        self._retries[version] = script.retry
        return files

    def retry(self, version: str) -> Retry | None:
        """What a script that was executed says about retries."""
        return self._retries.get(version)

    def installed(self, files: ScriptFiles, wait_s: float) -> ScriptFiles | RunErrorInfo | None:
        """The script with its packages, or why they cannot be had; None if they are not there after this time."""
        if not files.lock:
            return files
        try:
            packages = self._environments.get(files.lock, files.path, wait_s)
        except WorkspaceError as error:
            return RunErrorInfo("PackagesMissing", f"nothing was executed: {error.message}")
        return None if packages is None else msgspec.structs.replace(files, dependencies=(str(packages),))


def on_disk(cache_dir: Path, version: str, script: Script) -> ScriptFiles:
    """The script with its modules as files. Raises WorkspaceError, OSError."""
    files = materialise(cache_dir, version, script.modules, script.entry, has_preprocessor=script.has_preprocessor)
    return msgspec.structs.replace(
        files,
        path=script.path,
        language=script.language,
        isolation=script.isolation,
        memory_mib=script.memory_mib,
        output_bytes=script.output_bytes,
        parameters=tuple(script.parameters),
        function=script.function,
        lock=script.lock if script.language == "python3" else "",
    )


class Triggers:
    """Trigger versions; fetched once, as they never change."""

    def __init__(self, uplink: Uplink) -> None:
        self._uplink = uplink
        self._forms: dict[str, Form] = {}
        self._triggers: dict[str, Trigger | None] = {}

    def form(self, trigger_version: str) -> Form:
        """In which form payloads are handed over: Windmill's where the trigger does not say.

        Raises StoreUnavailable when told to stop while Redis is away.
        """
        if (known := self._forms.get(trigger_version)) is not None:
            return known
        trigger = self.trigger(trigger_version)
        form: Form = trigger.payload if trigger else "windmill"
        self._forms[trigger_version] = form
        return form

    def trigger(self, version: str) -> Trigger | None:
        """None where there is no such version. Raises StoreUnavailable when told to stop while Redis is away."""
        if version not in self._triggers:
            answer = self._uplink.insist(lambda store: store.commands([definition_command(version)]))
            if answer is None:
                raise StoreUnavailable("the trigger could not be read: Redis is away")
            self._triggers[version] = read_definition(answer[0], Trigger)
        return self._triggers[version]
