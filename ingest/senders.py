"""Which outboxes this process sends from: each broker's is one process' task at a time."""

from __future__ import annotations

from ingest.deployments import Deployments
from ingest.roles import Roles
from ingest.sender import Sender
from shared import keys
from shared.config import Settings
from shared.store import AsyncStore


class Senders:
    """The senders of one process. `round` is to be called several times within the lease time."""

    def __init__(self, store: AsyncStore, deployments: Deployments, settings: Settings, process: str) -> None:
        self._store = store
        self._roles = Roles(
            store, process, settings.ingest.lease_ttl_ms, keys.sending,
            lambda path: Sender(path, store, deployments, settings).run(),
        )  # fmt: skip

    async def round(self) -> None:
        """Take what nobody sends from, keep what we have, stop where somebody else does. Raises StoreUnavailable."""
        await self._roles.round([each.decode() for each in await self._store.command("SMEMBERS", keys.OUTBOXES)])

    async def stop(self) -> None:
        """Stop sending and give the tasks back. Raises StoreUnavailable."""
        await self._roles.stop()
