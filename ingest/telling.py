"""Tells of dead letters by MQTT, where the workspace asks for it: each becomes a message in an outbox, once."""

from __future__ import annotations

from ingest.deployments import Deployments
from ingest.obituary import of_letter, of_run
from shared import keys
from shared.dead import decode_letter
from shared.definitions import DeadTopic
from shared.errors import EnvelopeError
from shared.history import make_details
from shared.outgoing import Outgoing, encode_outgoing
from shared.run_record import FIELDS, is_run_id, iso_ms, read_head
from shared.scripts.call import Arg, Call
from shared.scripts.outgoing import tell_dead
from shared.store import AsyncStore

AT_ONCE = 50


class Telling:
    """Any number of processes may do it at once."""

    def __init__(self, store: AsyncStore, deployments: Deployments) -> None:
        self._store = store
        self._deployments = deployments

    async def round(self) -> bool:
        """Tell of some; True when there may be more. Raises StoreUnavailable."""
        ids = [each.decode() for each in await self._store.command("LRANGE", keys.DEAD_UNTOLD, 0, AT_ONCE - 1)]
        calls: list[Call[bool]] = []
        for dead_id in ids:
            message = await (self._of_run(dead_id) if is_run_id(dead_id) else self._of_letter(dead_id))
            if message is None:
                calls.append(tell_dead(dead_id))
            else:
                calls.append(tell_dead(dead_id, message.broker, message.trigger, encode_outgoing(message)))
        if calls:
            await self._store.run_many(calls)
        return len(ids) == AT_ONCE

    async def _of_run(self, run_id: str) -> Outgoing | None:
        job = keys.job(run_id)
        commands: list[tuple[Arg, ...]] = [
            ("HMGET", job, *FIELDS),
            ("HGET", job, "data"),
            ("XREVRANGE", keys.results(run_id), "+", "-", "COUNT", 1),
            ("ZSCORE", keys.DEAD, run_id),
        ]
        values, data, entries, score = await self._store.commands(commands)
        head = read_head(run_id, values, len(data or b""))
        if head is None or score is None or (topic := self._topic(head.fields["trigger"])) is None:
            return None
        return of_run(topic, make_details(head, data, entries), iso_ms(int(float(score))))

    async def _of_letter(self, dead_id: str) -> Outgoing | None:
        commands: list[tuple[Arg, ...]] = [("HGET", keys.DEAD_LETTERS, dead_id), ("ZSCORE", keys.DEAD, dead_id)]
        blob, score = await self._store.commands(commands)
        try:
            letter = None if blob is None or score is None else decode_letter(blob)
        except EnvelopeError:  # it stays where it is, to be looked at
            return None
        if letter is None or (topic := self._topic(letter.trigger)) is None:
            return None
        return of_letter(topic, dead_id, letter, iso_ms(int(float(score))))

    def _topic(self, trigger: str) -> DeadTopic | None:
        deployed = self._deployments.trigger(trigger)
        return None if deployed is None else deployed.dead_topic
