"""The only door to Redis: connects, runs verbs, translates errors.

A call is carried out at most once by the door itself: redis-py's own retries are off, because a lost reply does not
tell whether the request was carried out. Callers repeat only verbs that are idempotent (each stub says so).
"""

from shared.store.asynchronous import AsyncStore
from shared.store.blocking import Store, Underway
from shared.store.connecting import rq_connection

__all__ = ["AsyncStore", "Store", "Underway", "rq_connection"]
