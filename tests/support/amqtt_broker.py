"""amqtt as `headrace broker` serves it: MQTT 3.1.1, and lax about it. No oracle for sessions and QoS 2."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from tests.support.ports import HOST, free_port
from tests.support.processes import HeadraceProcess


class AmqttBroker(HeadraceProcess):
    """The embedded broker where Mosquitto is not installed. It forgets everything when it ends."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"mqtt://{HOST}:{self.port}"
        super().__init__("broker", folder=folder, env={"HEADRACE_MOSQUITTO": "none", "HEADRACE_BROKER": self.url})

    def start(self) -> Self:
        """Start it and wait until it accepts connections."""
        return super().start().wait_ready()
