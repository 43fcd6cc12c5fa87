"""`headrace redis` and `headrace broker`: the servers that Headrace brings along for one machine."""

from __future__ import annotations

import os
from pathlib import Path

import click

from shared import logs
from shared.config import Settings
from shared.config_sources import load_settings
from shared.services.broker import run_broker
from shared.services.redis_server import run_redis


@click.command()
def redis() -> int:
    """Serve an embedded Redis (Valkey) at the address that REDIS_URL names.

    Every write reaches the disk before it is answered. What it holds lies in the data folder and outlives it.
    """
    settings = _settings("redis")
    return run_redis(settings.redis_url, settings.data)


@click.command()
def broker() -> int:
    """Serve an MQTT broker on this machine, at the address of the setting `broker`.

    It is Mosquitto, with persistence, where Mosquitto is installed. Otherwise it is a broker in Python that speaks MQTT
    3.1.1 and forgets its sessions when it ends: QoS 1 and 2 then hold only while it lives.
    """
    settings = _settings("broker")
    return run_broker(settings.broker, settings.data)


def _settings(process: str) -> Settings:
    settings = load_settings(os.environ, Path.cwd())
    logs.configure(settings.log, process)
    return settings
