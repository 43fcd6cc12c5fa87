"""What is deployed, as the sessions that ingest has to keep. Followed from Redis; only what changed is read."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ingest.assignment import Assignment
from shared import keys
from shared.definitions import Broker, Kind, Record, Trigger, Variable, decode_definition
from shared.deployment import NUMBER, TABLE, Deployed, read_deployed, read_number
from shared.errors import InternalError
from shared.events import emit
from shared.left import LEFT, Left, address_of, decode_left
from shared.store import AsyncStore
from shared.values import broker_references


class Deployments:
    """The newest deployment, as it is for this process."""

    def __init__(self, store: AsyncStore) -> None:
        self.number = -1
        self.assignments: dict[str, Assignment] = {}
        """By session: of the triggers that are enabled, and of sessions that are to be drained or ended."""
        self.triggers = 0
        """How many of them are triggers'."""
        self._store = store
        self._triggers: dict[str, Trigger] = {}
        self._brokers: dict[str, Broker] = {}
        self._variables: dict[str, Variable] = {}
        self._left: dict[bytes, bytes] = {}
        self._versions: dict[str, str] = {}
        self._paths: dict[str, str] = {}
        self._by_path: dict[str, Variable] = {}

    async def refresh(self) -> bool:
        """Look whether there is a new one, or a session that was left is asked for; if so, `assignments` follow.

        Raises StoreUnavailable.
        """
        number, left = await self._store.commands([NUMBER, LEFT])
        if read_number(number) == self.number and left == self._left:
            return False
        # The number is read before the table: if a deployment comes between, the next look finds its number.
        deployed = read_deployed(number, await self._store.command(*TABLE))
        self._triggers = await self._read(deployed, "trigger", Trigger, self._triggers)
        self._brokers = await self._read(deployed, "broker", Broker, self._brokers)
        self._variables = await self._read(deployed, "variable", Variable, self._variables)
        self._versions, self._by_path = deployed.of_kind("broker"), variables_by_path(deployed, self._variables)
        self._paths = deployed.of_kind("trigger")
        kept = assignments(deployed, self._triggers, self._brokers, self._variables)
        self.assignments = await self._asked_for(_wishes(left), deployed) | kept
        self.triggers = len(kept)
        self.number, self._left = deployed.number, left
        return True

    def done(self, session: str, assignment: Assignment) -> None:
        """What was asked of a session that was left is done, for all that is known here."""
        if assignment.wish is not None and self.assignments.get(session) is assignment:
            del self.assignments[session]

    def trigger(self, path: str) -> Trigger | None:
        """The trigger that is deployed at this path."""
        return self._triggers.get(self._paths.get(path, ""))

    def broker(self, path: str) -> tuple[Broker, dict[str, Variable]] | None:
        """The broker that is deployed at this path, and those of the variables that it names which are there."""
        broker = self._brokers.get(self._versions.get(path, ""))
        return None if broker is None else (broker, named_by(broker, self._by_path))

    async def _asked_for(self, wishes: Mapping[str, Left], deployed: Deployed) -> dict[str, Assignment]:
        """The sessions that are to be drained or ended, with the newest credentials for their broker."""
        if not wishes:
            return {}
        variables, brokers = variables_by_path(deployed, self._variables), deployed.of_kind("broker")
        homes = await self._store.commands([("HGET", keys.session(session), "broker") for session in wishes])
        found: dict[str, Assignment] = {}
        for (session, left), home in zip(wishes.items(), homes, strict=True):
            version = home.decode() if home else left.broker_version
            blobs = await self._store.command("HMGET", keys.DEFINITIONS, left.trigger_version, version)
            try:
                trigger = decode_definition(blobs[0] or b"", Trigger)
                broker = decode_definition(blobs[1] or b"", Broker)
            except InternalError as error:
                emit("library.error", logger="ingest", text=f"the session {session} cannot be ended", error=error)
                continue
            newer = self._brokers.get(brokers.get(broker.path, ""))
            if newer is not None and address_of(newer) == address_of(broker):
                broker, version = newer, brokers[broker.path]
            own = msgspec.structs.replace(trigger, session=session, client_id=left.client_id)
            named = named_by(broker, await self._of_then(left.variables) | variables)
            found[session] = Assignment(own, left.trigger_version, broker, named, version, left.wish, deployed.number)
        return found

    async def _of_then(self, versions: Mapping[str, str]) -> dict[str, Variable]:
        """Variables by path, as they were when a session was left; one that cannot be read is reported and left out."""
        then = Deployed(0, {f"variable:{path}": version for path, version in versions.items()})
        read = await self._read(then, "variable", Variable, self._variables)
        return variables_by_path(then, read)

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
    by_path = variables_by_path(deployed, variables)
    for version in deployed.of_kind("trigger").values():
        trigger = triggers.get(version)
        if trigger is None or not trigger.enabled:
            continue
        broker_version = broker_versions.get(trigger.broker, "")
        broker = brokers.get(broker_version)
        if broker is None:
            emit("session.refused", trigger=trigger.path, reason=f"the broker {trigger.broker} is not deployed")
        else:
            named = named_by(broker, by_path)
            found[trigger.session] = Assignment(
                trigger, version, broker, named, broker_version, deployment=deployed.number
            )
    return found


def variables_by_path(deployed: Deployed, variables: Mapping[str, Variable]) -> dict[str, Variable]:
    """What is deployed of these variables, which are given by version."""
    return {path: variables[key] for path, key in deployed.of_kind("variable").items() if key in variables}


def named_by(broker: Broker, variables: Mapping[str, Variable]) -> dict[str, Variable]:
    """Those variables that the broker names."""
    return {path: variables[path] for _, path in broker_references(broker) if path in variables}


def _wishes(left: Mapping[bytes, bytes]) -> dict[str, Left]:
    """The sessions that somebody wants drained or ended. A record that cannot be read is reported and left out."""
    found: dict[str, Left] = {}
    for session, blob in left.items():
        try:
            record = decode_left(blob)
        except InternalError as error:
            emit("library.error", logger="ingest", text=f"session {session.decode()} is left out", error=error)
            continue
        if record.wish is not None:
            found[session.decode()] = record
    return found
