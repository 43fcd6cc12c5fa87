"""What is deployed, as the sessions that ingest has to keep. Followed from Redis; only what changed is read."""

from __future__ import annotations

from collections.abc import Mapping

from ingest.assignment import Assignment, references
from shared import keys
from shared.definitions import Broker, Kind, Record, Trigger, Variable, decode_definition
from shared.deployment import NUMBER, TABLE, Deployed, read_deployed, read_number
from shared.errors import InternalError
from shared.events import emit
from shared.store import AsyncStore


class Deployments:
    """The newest deployment, as it is for this process."""

    def __init__(self, store: AsyncStore) -> None:
        self.number = -1
        self.assignments: dict[str, Assignment] = {}
        """By session, of the triggers that are enabled."""
        self._store = store
        self._triggers: dict[str, Trigger] = {}
        self._brokers: dict[str, Broker] = {}
        self._variables: dict[str, Variable] = {}

    async def refresh(self) -> bool:
        """Look whether there is a new one; if so, `assignments` follow it. Raises StoreUnavailable."""
        number = await self._store.command(*NUMBER)
        if read_number(number) == self.number:
            return False
        # The number is read before the table: if a deployment comes between, the next look finds its number.
        deployed = read_deployed(number, await self._store.command(*TABLE))
        self._triggers = await self._read(deployed, "trigger", Trigger, self._triggers)
        self._brokers = await self._read(deployed, "broker", Broker, self._brokers)
        self._variables = await self._read(deployed, "variable", Variable, self._variables)
        self.assignments = assignments(deployed, self._triggers, self._brokers, self._variables)
        self.number = deployed.number
        return True

    async def _read(
        self, deployed: Deployed, kind: Kind, record: type[Record], known: Mapping[str, Record]
    ) -> dict[str, Record]:
        """Records by version. One that cannot be read is reported and left out: the others go on."""
        wanted = deployed.of_kind(kind)
        records = {version: known[version] for version in wanted.values() if version in known}
        missing = {path: version for path, version in wanted.items() if version not in known}
        blobs = await self._store.command("HMGET", keys.DEFINITIONS, *missing.values()) if missing else []
        for (path, version), blob in zip(missing.items(), blobs, strict=True):
            try:
                records[version] = decode_definition(blob or b"", record)
            except InternalError as error:
                emit("library.error", logger="ingest", text=f"{kind} {path} is left out", error=error)
        return records


def assignments(
    deployed: Deployed,
    triggers: Mapping[str, Trigger],
    brokers: Mapping[str, Broker],
    variables: Mapping[str, Variable],
) -> dict[str, Assignment]:
    """What is to be kept connected, by session. Records are given by version."""
    found: dict[str, Assignment] = {}
    broker_versions = deployed.of_kind("broker")
    by_path = {path: variables[key] for path, key in deployed.of_kind("variable").items() if key in variables}
    for version in deployed.of_kind("trigger").values():
        trigger = triggers.get(version)
        if trigger is None or not trigger.enabled:
            continue
        broker = brokers.get(broker_versions.get(trigger.broker, ""))
        if broker is None:
            emit("session.refused", trigger=trigger.path, reason=f"the broker {trigger.broker} is not deployed")
        else:
            named = {path: by_path[path] for _, path in references(broker) if path in by_path}
            found[trigger.session] = Assignment(trigger, version, broker, named)
    return found
