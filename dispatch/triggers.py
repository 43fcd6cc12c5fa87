"""Trigger versions that envelopes name, compiled once each. A version never changes, so nothing here goes stale."""

from __future__ import annotations

from collections.abc import Iterable

from dispatch.router import CompiledTrigger
from shared import keys
from shared.definitions import Trigger
from shared.deployment import definition_command, read_definition
from shared.store import Store

KEPT = 10_000


class TriggerVersions:
    """Looks versions up in Redis and keeps the newest KEPT of them. Raises StoreUnavailable."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._compiled: dict[str, CompiledTrigger] = {}

    def __call__(self, version: str) -> CompiledTrigger | None:
        """The compiled trigger; None where no such version was deployed."""
        found = self._compiled.get(version)
        return found if found is not None else self._load(version)

    def owner(self, session: str) -> str | None:
        """The trigger that a session is for."""
        found: bytes | None = self._store.command("HGET", keys.session(session), "trigger")
        return found.decode() if found else None

    def _load(self, version: str) -> CompiledTrigger | None:
        trigger = read_definition(self._store.command(*definition_command(version)), Trigger)
        if trigger is None:
            return None
        if len(self._compiled) >= KEPT:
            self._forget(list(self._compiled)[: KEPT // 10])
        self._compiled[version] = compiled = CompiledTrigger(trigger)
        return compiled

    def _forget(self, versions: Iterable[str]) -> None:
        for version in versions:
            del self._compiled[version]
