"""Variables and resources as they are deployed now: what arguments refer to, and what must not be shown."""

from __future__ import annotations

from typing import Any

from shared.deployment import NUMBER, TABLE, read_deployed, read_number
from shared.errors import SecretError, StoreUnavailable
from shared.events import emit
from shared.secrets import SecretBox
from shared.store import Store
from shared.values import Values, read_values
from worker.masking import Mask
from worker.runners.base import RunEvent
from worker.uplink import Uplink

FOLLOW_EVERY_S = 0.5


class DeployedValues:
    """Follows the deployment. A secret that was replaced stays masked: code that has read it may still hold it."""

    def __init__(self, uplink: Uplink, box: SecretBox) -> None:
        self._uplink = uplink
        self._box = box
        self._number: int | None = None
        self._values = Values({}, {}, box)
        self._mask = Mask()

    def follow(self) -> bool:
        """Read what has been deployed since; to be called now and then. True: at once again, nothing is known yet."""
        self._read(self._uplink.attempt(self._changed))
        return self._number is None

    def resolve(self, value: Any) -> Any:
        """The value with references put in place, by what is deployed at this moment.

        Raises UnknownReference, SecretError; StoreUnavailable when told to stop while Redis is away.
        """
        answer = self._uplink.insist(self._changed)
        if answer is None:
            raise StoreUnavailable("variables and resources could not be read: Redis is away")
        self._read(answer)
        return self._values.resolve(value)

    def sealed(self, value: Any) -> str:
        """A text that stands for the value, which `resolve` gives again. Raises SecretError."""
        return self._values.sealed(value)

    def masked(self, events: list[RunEvent]) -> list[RunEvent]:
        """What runners say, without secrets."""
        return self._mask.events(events)

    def without_secrets(self, document: bytes) -> bytes:
        """A JSON document without secrets: the same object where there is none."""
        return self._mask.json(document) or document

    def growing(self, text: str) -> str:
        """The beginning of a log that goes on, without secrets."""
        return self._mask.growing(text)

    def _changed(self, store: Store) -> tuple[int, Values | None]:
        """The number of the deployment, and its values if it is another one than before."""
        number = read_number(store.commands([NUMBER])[0])
        if number == self._number:
            return number, None
        deployed = read_deployed(*store.commands([NUMBER, TABLE]))
        return deployed.number, read_values(store, deployed, self._box)

    def _read(self, answer: tuple[int, Values | None] | None) -> None:
        if answer is None or (values := answer[1]) is None:
            return
        self._number, self._values = answer[0], values
        try:
            secrets = values.secrets()
        except SecretError as error:
            emit("worker.secrets_unreadable", deployment=self._number, error=error)
        else:
            if not secrets <= self._mask.secrets:
                self._mask = Mask(self._mask.secrets | secrets)
