"""All processes with the web console, on servers of their own, and somebody who publishes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tests.support.burst import Publisher
from tests.support.console import Console
from tests.support.mosquitto import Mosquitto
from tests.support.pipeline import Pipeline
from tests.support.valkey import ValkeyServer
from tests.support.workspaces import write_workspace

START_S = 60


class WebLab:
    """A workspace of triggers and scripts is deployed, `files` beside; every trigger is connected."""

    def __init__(
        self, folder: Path, triggers: dict[str, str], scripts: dict[str, str], files: Mapping[str, str] | None = None
    ) -> None:
        self.valkey = ValkeyServer(folder / "valkey").start()
        self.broker = Mosquitto(folder / "broker").start()
        self.console = Console(folder, self.valkey.url)
        self.pipeline = Pipeline(folder, self.valkey.url)
        workspace = write_workspace(folder / "workspace", self.broker.port, triggers, scripts)
        for path, text in (files or {}).items():
            (workspace / path).parent.mkdir(parents=True, exist_ok=True)
            (workspace / path).write_text(text)
        self.pipeline.push(workspace)
        self.pipeline.start("ingest", "dispatch", "worker")
        self.console.process.start().wait_ready(START_S)
        self.pipeline.wait_connected(*[f"f/t/{name}" for name in triggers], timeout_s=START_S)
        self.publisher = Publisher(self.broker.port)
        self.token = self.console.token("admin", "the boss")

    def publish(self, topic: str, reading: object, qos: int = 2) -> None:
        """One message; what is no text goes as JSON."""
        text = reading if isinstance(reading, str) else json.dumps(reading)
        self.publisher.publish(topic, [text], qos)

    def close(self) -> None:
        """End everything."""
        self.publisher.close()
        self.console.process.close()
        self.pipeline.close()
        self.broker.close()
        self.valkey.close()
