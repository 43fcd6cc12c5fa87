"""The asyncio store against a real server: many verbs on one connection, and what becomes of them when it breaks."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import redis
import uvloop

from shared import keys
from shared.errors import ScriptError, StoreUnavailable
from shared.scripts import ingest
from shared.scripts.call import Call
from shared.scripts.ingest import Admission
from shared.store import AsyncStore
from tests.support.certificates import make_authority, make_identity
from tests.support.factories import NOW_MS, SESSION, TRIGGER
from tests.support.ports import HOST
from tests.support.proxy import CuttingProxy
from tests.support.valkey import ValkeyServer

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine, on each kind of loop."""
    runner: Run = request.param
    return runner


def acquire(holder: str = "test") -> Call[Any]:
    """The session's lease; its token is 1 on an empty server."""
    return ingest.lease_acquire(SESSION, holder, 60_000)


def admit(call: int, *envelopes: bytes) -> Call[int]:
    """A numbered batch under token 1; the reply is the length of the inbox."""
    batch = Admission(received=len(envelopes), envelopes=list(envelopes))
    return ingest.admit(SESSION, 1, call, TRIGGER, NOW_MS, 1000, batch)


def test_verbs_under_way_are_carried_out_in_the_order_asked_on_one_connection(
    run: Run, own_valkey: ValkeyServer
) -> None:
    """No call overtakes another, so that no number is missing, and each gets its own answer."""

    async def main() -> None:
        store = AsyncStore.connect(own_valkey.url)
        await store.run(acquire())
        asked = [store.run(admit(call, b"%d" % call)) for call in range(1, 201)]
        assert await asyncio.gather(*asked) == list(range(1, 201))
        both = [store.run_many([admit(201, b"x"), admit(202, b"y")]), store.run(admit(203))]
        assert await asyncio.gather(*both) == [[201, 202], 202]
        await store.close()

    run(main())
    with own_valkey.client() as client:
        assert [row[1][b"e"] for row in client.xrange(keys.INBOX)][:3] == [b"1", b"2", b"3"]
        assert client.info("stats")["total_connections_received"] < 6


def test_a_lost_reply_fails_all_under_way_and_a_repeat_changes_nothing(run: Run, own_valkey: ValkeyServer) -> None:
    """The first may have been carried out, and was; the next connection is made when it is needed."""

    async def main(proxy: CuttingProxy) -> None:
        store = AsyncStore.connect(f"redis://{HOST}:{proxy.port}/0")
        await store.run(acquire())
        assert await store.run(admit(1, b"a")) == 1
        proxy.cut_replies(1, after=b"EVALSHA")
        calls = [admit(2, b"b"), admit(3, b"c")]
        ended = await asyncio.gather(*(store.run(call) for call in calls), return_exceptions=True)
        assert [type(each) for each in ended] == [StoreUnavailable, StoreUnavailable]
        assert await store.run_many(calls) == [3, 3] or await store.run(admit(4)) == 3
        await store.close()

    with CuttingProxy(own_valkey.port) as proxy:
        run(main(proxy))
    with own_valkey.client() as client:
        assert client.xlen(keys.INBOX) == 3


def test_a_call_that_is_cancelled_ends_whenever_that_is(own_valkey: ValkeyServer) -> None:
    """Also in the moment in which the client has written, which takes a cancellation for the end of writing."""

    async def call(store: AsyncStore) -> None:
        while True:
            await store.command("PING")

    async def main() -> None:
        store = AsyncStore.connect(own_valkey.url)
        for turns in range(400):
            task = asyncio.create_task(call(store))
            for _ in range(turns % 20):
                await asyncio.sleep(0)
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=5)
            assert done, f"it went on, cancelled after {turns % 20} turns"
        await store.close()

    asyncio.run(main())


def test_verbs_that_redis_has_forgotten_are_loaded_again(run: Run, own_valkey: ValkeyServer) -> None:
    """Told to forget them, or killed and restarted: the connection is a new one then, the calls the same."""

    async def main() -> None:
        store = AsyncStore.connect(own_valkey.url)
        await store.run(acquire())
        await store.command("SCRIPT", "FLUSH")
        assert await store.run_many([admit(1, b"a"), admit(2, b"b")]) == [1, 2]
        own_valkey.kill9()
        with pytest.raises(StoreUnavailable):
            await store.run(admit(3, b"c"))
        own_valkey.start()
        assert await store.run_many([admit(3, b"c"), admit(4, b"d")]) == [3, 4]
        await store.close()

    run(main())


def test_what_redis_refuses_is_told_apart(run: Run, own_valkey: ValkeyServer) -> None:
    """For now (it is full), or for good (a key is of another type); the connection goes on."""

    async def main() -> None:
        store = AsyncStore.connect(own_valkey.url)
        await store.run(acquire())
        await store.command("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(StoreUnavailable, match="OOM"):
            await store.run(admit(1, b"a"))
        await store.command("CONFIG", "SET", "maxmemory", "0")
        assert await store.run(admit(1, b"a")) == 1
        await store.command("SET", keys.session("other"), "text")
        with pytest.raises(ScriptError, match="WRONGTYPE"):
            await store.run(ingest.session_report("other", 1, {"state": "x"}))
        assert await store.run(admit(2, b"b")) == 2
        await store.close()

    run(main())


@pytest.mark.parametrize("scheme", ["redis", "unix"])
def test_password_and_database_of_the_address_count(run: Run, tmp_path: Path, scheme: str) -> None:
    """On TCP and on a Unix socket."""
    options = {"requirepass": "s3cret", "unixsocket": str(tmp_path / "s")}
    with ValkeyServer(tmp_path / "valkey", options) as valkey:
        tcp = f"redis://:s3cret@{HOST}:{valkey.port}"
        valkey.url = tcp
        valkey.start()
        url = f"{tcp}/3" if scheme == "redis" else f"unix://:s3cret@{tmp_path / 's'}?db=3"

        async def main() -> None:
            store = AsyncStore.connect(url)
            await store.run(acquire())
            assert await store.run(admit(1, b"a")) == 1
            await store.close()
            stranger = AsyncStore.connect(tcp.replace("s3cret", "wrong"))
            with pytest.raises(StoreUnavailable):
                await stranger.run(admit(2))
            await stranger.close()

        run(main())
        with redis.Redis.from_url(tcp, db=3) as client:
            assert client.xlen(keys.INBOX) == 1


def test_redis_behind_tls_is_reached(run: Run, tmp_path: Path, own_valkey: ValkeyServer) -> None:
    """By an address of rediss, with the authority that it names."""
    authority = make_authority()
    certificate, key = make_identity(authority, "server").write(tmp_path, "server")
    authority_file, _ = authority.write(tmp_path, "authority")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(1 << 16):
            target.write(data)
        target.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_redis, to_redis = await asyncio.open_connection(HOST, own_valkey.port)
        await asyncio.gather(copy(reader, to_redis), copy(from_redis, writer))

    async def main() -> None:
        async with await asyncio.start_server(forward, HOST, 0, ssl=context) as server:
            port = server.sockets[0].getsockname()[1]
            store = AsyncStore.connect(f"rediss://{HOST}:{port}/0?ssl_ca_certs={authority_file}")
            await store.run(acquire())
            blob = b"x" * 300_000
            assert await asyncio.gather(*(store.run(admit(call, blob)) for call in range(1, 6))) == [1, 2, 3, 4, 5]
            await store.close()

    run(main())
