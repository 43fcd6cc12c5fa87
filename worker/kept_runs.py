"""How many runs of each trigger are kept, and for how long: what it says, else its workspace, else the settings."""

from __future__ import annotations

import math
from collections.abc import Iterable

from shared.config import RetentionSettings
from shared.definitions import File, Retention, Trigger
from shared.deployment import NUMBER, TABLE, Deployed, read_all, read_deployed, read_number
from shared.scripts.history import Kept
from shared.store import Store
from shared.workspace.layout import DEFAULTS

_US_PER_S = 1_000_000
NOTHING = Retention()


class KeptRuns:
    """Follows the deployment. A trigger that is not deployed any more has what the workspace says."""

    def __init__(self, settings: RetentionSettings) -> None:
        self._settings = settings
        self._number: int | None = None
        self._own: dict[str, Retention] = {}
        self._default = NOTHING

    def follow(self, store: Store) -> None:
        """Know what is deployed now. Raises StoreUnavailable."""
        if read_number(store.command(*NUMBER)) == self._number:
            return
        deployed = read_deployed(*store.commands([NUMBER, TABLE]))
        triggers = read_all(store, deployed.of_kind("trigger"), Trigger)
        self._own = {path: trigger.retention for path, trigger in triggers.items() if trigger.retention is not None}
        self._default = _default(store, deployed)
        self._number = deployed.number

    def of(self, trigger: str, now_us: int) -> Kept:
        """What may be kept of its runs at this time (epoch µs)."""
        own = self._own.get(trigger, NOTHING)
        runs_max = _first(own.runs_max, self._default.runs_max, self._settings.runs_max_per_trigger or None)
        age_s = _first(own.runs_max_age_s, self._default.runs_max_age_s)
        return Kept(runs_max, None if age_s is None else now_us - math.ceil(age_s * _US_PER_S))


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def _default(store: Store, deployed: Deployed) -> Retention:
    from shared.workspace.defaults import read_defaults  # noqa: PLC0415 - YAML, only where there is such a file
    from shared.workspace.problems import Problems  # noqa: PLC0415

    files = deployed.of_kind("file")
    texts: Iterable[File] = read_all(store, {name: files[name] for name in (DEFAULTS,) if name in files}, File).values()
    found = [read_defaults(file.text, Problems()).retention for file in texts]
    return next((each for each in found if each is not None), NOTHING)
