"""Fixtures that several tests of this folder share; a test that needs another console or store defines its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.store import Store
from tests.support.console import Console
from tests.support.valkey import ValkeyServer


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory, valkey: ValkeyServer) -> Iterator[Console]:
    """A console on the shared Redis, which is ready: it serves all tests of a module, whatever they empty."""
    console = Console(tmp_path_factory.mktemp("console"), valkey.url)
    with console.process:
        console.process.start().wait_ready(60)
        yield console


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    """The shared Redis, with nothing in it."""
    store = Store.connect(redis_url)
    yield store
    store.close()
