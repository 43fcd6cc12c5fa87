"""The blocking store against a real server: what becomes of verbs when their connection breaks."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from shared import keys
from shared.errors import ScriptError, StoreUnavailable
from shared.scripts import worker as verbs
from shared.store import Store
from tests.support.ports import HOST
from tests.support.proxy import CuttingProxy
from tests.support.valkey import ValkeyServer

LEASE_MS = 60_000


def test_after_a_lost_reply_the_next_verb_gets_its_own_answer(own_valkey: ValkeyServer) -> None:
    """The verb may have been carried out, and was; what comes late is nobody's."""
    with CuttingProxy(own_valkey.port) as proxy:
        store = Store.connect(f"redis://{HOST}:{proxy.port}/0")
        assert store.run(verbs.beat("w1", LEASE_MS)) is False
        proxy.cut_replies(1, after=b"EVALSHA")
        with pytest.raises(StoreUnavailable):
            store.run_many([verbs.beat("w2", LEASE_MS), verbs.beat("w3", LEASE_MS)])
        assert store.run(verbs.read_claims("w1")) == []
        assert store.run_many([verbs.beat("w1", LEASE_MS), verbs.beat("w4", LEASE_MS)]) == [True, False]
        store.close()
    with own_valkey.client() as client:
        assert client.exists(keys.worker("w2")) == 1


def test_verbs_that_redis_has_forgotten_are_loaded_again_by_the_blocking_store(own_valkey: ValkeyServer) -> None:
    """Told to forget them, or killed and restarted: the connection is a new one then."""
    store = Store.connect(own_valkey.url)
    assert store.run(verbs.beat("w1", LEASE_MS)) is False
    store.command("SCRIPT", "FLUSH")
    assert store.run_many([verbs.beat("w1", LEASE_MS), verbs.read_claims("w1")]) == [True, []]
    own_valkey.kill9()
    with pytest.raises(StoreUnavailable):
        store.run(verbs.beat("w1", LEASE_MS))
    own_valkey.start()
    assert store.run_many([verbs.beat("w1", LEASE_MS), verbs.beat("w1", LEASE_MS)])[1] is True
    store.close()


def test_an_error_of_one_verb_leaves_the_connection_in_step(own_valkey: ValkeyServer) -> None:
    """The replies behind it have been read."""
    store = Store.connect(own_valkey.url)
    store.command("SET", keys.claims("bad"), "text")
    with pytest.raises(ScriptError, match="WRONGTYPE"):
        store.run_many([verbs.read_claims("bad"), verbs.beat("w1", LEASE_MS)])
    assert store.run(verbs.beat("w1", LEASE_MS)) is True
    store.close()


@pytest.mark.parametrize("scheme", ["redis", "unix"])
def test_the_blocking_store_takes_password_and_database_from_the_address(tmp_path: Path, scheme: str) -> None:
    """On TCP and on a Unix socket."""
    with ValkeyServer(tmp_path / "valkey", {"requirepass": "s3cret", "unixsocket": str(tmp_path / "s")}) as valkey:
        valkey.url = tcp = f"redis://:s3cret@{HOST}:{valkey.port}"
        valkey.start()
        store = Store.connect(f"{tcp}/3" if scheme == "redis" else f"unix://:s3cret@{tmp_path / 's'}?db=3")
        store.run(verbs.beat("w1", LEASE_MS))
        store.close()
        with pytest.raises(StoreUnavailable, match=r"refuses us|not available"):
            Store.connect(tcp.replace("s3cret", "wrong")).run(verbs.beat("w2", LEASE_MS))
        with redis.Redis.from_url(tcp, db=3) as client:
            assert client.exists(keys.worker("w1")) == 1
