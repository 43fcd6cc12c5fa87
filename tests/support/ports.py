"""Free ports of this machine."""

from __future__ import annotations

import random
import socket

HOST = "127.0.0.1"
# Below the range from which the kernel takes the ports of outgoing connections (ip_local_port_range).
_FIRST, _LAST = 20_000, 32_000


def free_port() -> int:
    """A port that nothing listens on, picked at random so that test runs side by side do not meet."""
    while True:
        port = random.randint(_FIRST, _LAST)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port


def accepts(port: int) -> bool:
    """Whether something accepts connections on the port."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
