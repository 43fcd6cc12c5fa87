"""Fixtures that several tests of this folder share; a test that needs another console or store defines its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.store import Store
from tests.support.console import Console
from tests.support.flows import Tally
from tests.support.mosquitto import Mosquitto
from tests.support.processes import HeadraceProcess
from tests.support.valkey import ValkeyServer
from tests.support.windmill_plant import WindmillPlant
from tests.support.workers import FAST


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory, valkey: ValkeyServer) -> Iterator[Console]:
    """A console on the shared Redis, with nothing in it yet, which is ready: it serves all tests of a module, whatever
    they empty.
    """
    with valkey.client() as client:
        client.flushall()
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


@pytest.fixture(scope="module")
def plant(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WindmillPlant]:
    """All processes, with the `SCRIPTS` of the module, for all its tests."""
    folder = tmp_path_factory.mktemp("plant")
    with ValkeyServer(folder / "valkey") as valkey, Mosquitto(folder / "mosquitto") as broker:
        plant = WindmillPlant(folder, valkey.start().url, broker.start(), request.module.SCRIPTS)
        yield plant
        plant.close()


@pytest.fixture
def tally(tmp_path: Path) -> Tally:
    """What the steps of a test execute."""
    return Tally(tmp_path)


@pytest.fixture
def start_worker(headrace: Callable[..., HeadraceProcess], redis_url: str) -> Callable[[], HeadraceProcess]:
    """Starts a worker that notices the death of others soon."""
    return lambda: headrace("worker", REDIS_URL=redis_url, **FAST).wait_ready()
