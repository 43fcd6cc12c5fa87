"""An MQTT 5 broker that pip installs, for smoke tests where Mosquitto cannot be had."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Self

from tests.support.eventually import eventually
from tests.support.ports import HOST, accepts, free_port
from tests.support.processes import Child

_LISTENER = """
[{protocol}.1]
name = "{protocol}"
listen = "{host}:{port}"
next_connection_delay_ms = 1
[{protocol}.1.connections]
connection_timeout_ms = 60000
max_payload_size = 268435455
max_inflight_count = 100
dynamic_filters = true
"""
_ROUTER = """\
id = 0
[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
"""


class IotcoreBroker(Child):
    """rumqttd inside the package iotcore: MQTT 5 on `port`, 3.1.1 on `port_v311`.

    Known to be lax: session expiry and Receive Maximum are ignored, DUP is never set, nothing outlives it, and a client
    that connects with keep-alive 0 is never served.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self.port_v311 = free_port(), free_port()
        self.url = f"mqtt://{HOST}:{self.port}"
        config = folder / "rumqttd.toml"
        listeners = [("v4", self.port_v311), ("v5", self.port)]
        config.write_text(
            _ROUTER + "".join(_LISTENER.format(protocol=name, host=HOST, port=port) for name, port in listeners)
        )
        argv = [sys.executable, "-m", "iotcore", "--config", str(config), "--log-level", "WARNING"]
        super().__init__(argv, folder / "iotcore.log", cwd=folder)

    def start(self) -> Self:
        """Start it and wait until it accepts connections."""
        super().start()
        eventually(lambda: not self.running or (accepts(self.port) and accepts(self.port_v311)))
        if not self.running:
            raise AssertionError(f"iotcore did not start:\n{self.output}")
        return self
