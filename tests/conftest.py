"""Fixtures that all tests may use. A server that a test wants to kill or to configure is its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.amqtt_broker import AmqttBroker
from tests.support.iotcore_broker import IotcoreBroker
from tests.support.mosquitto import Mosquitto, mosquitto_version
from tests.support.processes import HeadraceProcess
from tests.support.valkey import ValkeyServer
from tests.support.wmill_cli import PROGRAM, VERSION

# Nothing of the shell's may reach the tests, but for where a mosquitto is.
for _name in [name for name in os.environ if name == "REDIS_URL" or name.startswith("HEADRACE_")]:
    if _name not in {"HEADRACE_MOSQUITTO", "HEADRACE_WMILL"}:
        del os.environ[_name]


def pytest_report_header() -> list[str]:
    """Say which broker and which of Windmill's tools the tests run against."""
    wmill = VERSION if PROGRAM.exists() else "tests that need it fail: it is not installed (.ci/get_wmill .venv/wmill)"
    return [
        f"broker: {mosquitto_version() or 'iotcore, and tests that need Mosquitto fail: it is not installed'}",
        f"wmill: {wmill}",
    ]


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """The Redis that tests share; one that wants to kill it takes `own_valkey`."""
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server.start()


@pytest.fixture
def redis_url(valkey: ValkeyServer) -> str:
    """The address of the shared Redis, with nothing in it."""
    with valkey.client() as client:
        client.flushall()
        client.script_flush()
    return valkey.url


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A Redis of the test's own, to be killed, frozen and restarted."""
    with ValkeyServer(tmp_path / "valkey") as server:
        yield server.start()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A Mosquitto of the test's own, with persistence."""
    with Mosquitto(tmp_path / "mosquitto") as server:
        yield server.start()


@pytest.fixture
def amqtt(tmp_path: Path) -> Iterator[AmqttBroker]:
    """The embedded broker of the test's own."""
    with AmqttBroker(tmp_path / "amqtt") as server:
        yield server.start()


@pytest.fixture
def broker_v5_fallback(tmp_path: Path) -> Iterator[Mosquitto | IotcoreBroker]:
    """An MQTT 5 broker that can be had everywhere, for tests that ask little of it: Mosquitto, otherwise iotcore."""
    kind = Mosquitto if mosquitto_version() else IotcoreBroker
    with kind(tmp_path / "broker") as server:
        yield server.start()


@pytest.fixture
def headrace(tmp_path: Path) -> Iterator[Callable[..., HeadraceProcess]]:
    """Starts processes of ours in the test's folder: `headrace("ingest", REDIS_URL=…)`. They end with the test."""
    started: list[HeadraceProcess] = []

    def start(name: str, *args: str, **env: str) -> HeadraceProcess:
        started.append(HeadraceProcess(name, *args, folder=tmp_path, env=env))
        return started[-1].start()

    yield start
    for process in started:
        process.close()
