"""The samples for the charts, on a real server."""

from __future__ import annotations

from console.sampling import _step
from shared import keys, samples
from shared.store import Store


def test_one_process_takes_the_samples_and_another_follows_when_it_is_gone(redis_url: str) -> None:
    """Whoever has lost the lease notices before it notes anything."""
    store = Store.connect(redis_url)

    assert _step(store, redis_url, "a", is_ours=False)
    assert not _step(store, redis_url, "b", is_ours=False)
    assert _step(store, redis_url, "a", is_ours=True)
    assert len(samples.read_samples(store.command(*samples.samples_command(0)))) == 2

    store.command("DEL", keys.SAMPLER)
    assert _step(store, redis_url, "b", is_ours=False)
    assert not _step(store, redis_url, "a", is_ours=True)
    assert 0 < store.command("TTL", keys.SAMPLER) <= samples.LEASE_S
    assert len(samples.read_samples(store.command(*samples.samples_command(0)))) == 3
