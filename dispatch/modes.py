"""What becomes of messages while their trigger is suspended: the mode of the moment of placing counts.

An envelope is routed by the version of its trigger that admitted it, but whether its runs wait is asked of the trigger
as it is deployed when they are made: who suspends a trigger wants nothing more of it to run, whatever is on its way;
who resumes it wants nothing to be left waiting. `place` refuses to work by another deployment than the current one, so
there is no moment in between. Of a trigger that is disabled or deleted by now, the version that admitted counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from shared.definitions import Mode, Trigger
from shared.deployment import NUMBER, TABLE, read_all, read_deployed
from shared.scripts.dispatch import Placement
from shared.store import Store


class Modes:
    """The modes of all triggers in deployment `number`."""

    def __init__(self, store: Store) -> None:
        self.number = 0
        self._store = store
        self._versions: dict[str, str] = {}
        self._modes: dict[str, Mode] = {}

    def follow(self) -> None:
        """Read what is deployed now. Raises StoreUnavailable."""
        # The number is read before the table: if a deployment comes between, `place` asks again.
        deployed = read_deployed(*self._store.commands([NUMBER, TABLE]))
        versions = deployed.of_kind("trigger")
        changed = {path: version for path, version in versions.items() if self._versions.get(path) != version}
        read = {path: trigger.mode for path, trigger in read_all(self._store, changed, Trigger).items()}
        known = {path: mode for path, mode in self._modes.items() if path in versions and path not in changed}
        self._modes = known | read
        self._versions = versions
        self.number = deployed.number

    def applied(self, placements: Sequence[Placement]) -> list[Placement]:
        """The placements by the modes of now."""
        return [self._applied(each) for each in placements]

    def _applied(self, placement: Placement) -> Placement:
        mode = self._modes.get(placement.trigger)
        if placement.verdict == "run" and mode == "suspended":
            return msgspec.structs.replace(placement, verdict="suspended")
        if placement.verdict == "suspended" and mode == "enabled":
            return msgspec.structs.replace(placement, verdict="run")
        return placement
