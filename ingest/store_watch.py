"""Whether Redis can be reached, as the whole process sees it: one event when it goes, one when it is back."""

from __future__ import annotations

import time

from shared.config_keys import public_url
from shared.errors import StoreUnavailable
from shared.events import emit
from shared.metrics.catalogue import OUTAGES


class StoreWatch:
    """Told by everybody who talks to Redis."""

    def __init__(self, url: str) -> None:
        self.url = public_url(url)
        self.answered_at: float | None = None
        """When Redis has last answered, by the steady clock; None: never yet."""
        self._away_since: float | None = None

    @property
    def is_away(self) -> bool:
        """Redis has not answered since a call brought no answer."""
        return self._away_since is not None

    def failed(self, error: StoreUnavailable) -> None:
        """A call brought no answer."""
        if self._away_since is None:
            self._away_since = time.monotonic()
            OUTAGES.of().add()
            emit("store.unavailable", redis=self.url, error=error)

    def answered(self) -> None:
        """A call was answered."""
        self.answered_at = time.monotonic()
        if self._away_since is not None:
            away_s = time.monotonic() - self._away_since
            self._away_since = None
            emit("store.available", redis=self.url, away_ms=int(away_s * 1000))

    def went_back(self, error: StoreUnavailable) -> None:
        """Redis does not know of calls that it had answered: it died without having kept them."""
        emit(
            "durability.reduced",
            what=f"Redis has lost what it had stored; {error.message}",
            fix="set appendonly yes and appendfsync always",
            redis=self.url,
        )
