"""`headrace broker`: Mosquitto where it is installed, otherwise amqtt, a broker in Python."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from pathlib import Path

from shared.errors import ConfigError, UserError
from shared.events import emit
from shared.services.foreground import Server, run_in_foreground, signalled
from shared.services.place import HOST, accepts, becomes_free, local_port, sole_user

_ELSEWHERE = "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"
"""Where packages put mosquitto, and where the PATH of a plain user does not look."""

# A kill -9 of Mosquitto loses what it has not saved, so it saves every second: that costs nothing while sessions are
# drained, and 0.15 s for each 100 000 messages that wait. Its queues are long because it drops what exceeds them, and
# not unlimited because 0 means "drop all" in some releases. As root it would drop to a user who cannot write here.
_CONFIG = """\
# Written by `headrace broker` at each start.
listener {port} {host}
allow_anonymous true
set_tcp_nodelay true
persistence true
persistence_location {folder}/
autosave_interval 1
max_queued_messages 1000000
max_inflight_messages 100
connection_messages false
log_dest stderr
log_timestamp_format %Y-%m-%dT%H:%M:%S
log_type error
log_type warning
log_type notice
{user}"""


def run_broker(url: str, data: Path) -> int:
    """Serve MQTT on the port that the URL names until SIGTERM or SIGINT. 0 for an orderly stop.

    Mosquitto keeps sessions, queues and retained messages in `data`/broker. amqtt keeps nothing on disk, and warns that
    QoS 1 and 2 hold only while it lives. HEADRACE_MOSQUITTO names the mosquitto program; `none` asks for amqtt.
    Raises ConfigError for an address that it cannot serve, UserError where the port or the folder is taken or the
    server ends by itself.
    """
    port = local_port(url, "HEADRACE_BROKER", scheme="mqtt", default=1883)
    program = find_mosquitto()
    folder = data.resolve() / "broker"
    with sole_user(folder):
        if not becomes_free(port):
            raise UserError(
                f"port {port} is taken, perhaps by another broker",
                hint="to use that one, leave this process out; otherwise put another port into HEADRACE_BROKER",
            )
        if program is None:
            return asyncio.run(_serve_amqtt(port))
        return run_in_foreground(_mosquitto(program, port, folder))


def find_mosquitto() -> str | None:
    """Path of the mosquitto program; None where there is none, or where HEADRACE_MOSQUITTO says none.

    Raises ConfigError when HEADRACE_MOSQUITTO names something that cannot be run.
    """
    wanted = os.environ.get("HEADRACE_MOSQUITTO", "")
    if wanted == "none":
        return None
    if wanted and shutil.which(wanted) is None:
        raise ConfigError(
            f"HEADRACE_MOSQUITTO names {wanted!r}, which cannot be run",
            hint="give the path of mosquitto, or none for the broker in Python, or unset it",
        )
    return shutil.which(wanted or "mosquitto") or shutil.which("mosquitto", path=_ELSEWHERE)


def _mosquitto(program: str, port: int, folder: Path) -> Server:
    config = folder / "mosquitto.conf"
    user = "user root\n" if os.geteuid() == 0 else ""
    config.write_text(_CONFIG.format(port=port, host=HOST, folder=folder, user=user), encoding="utf-8")
    return Server(
        process="broker",
        argv=[program, "-c", str(config)],
        log=folder / "mosquitto.log",
        is_ready=lambda: accepts(port),
        ready_fields={"name": "Mosquitto", "broker": f"mqtt://{HOST}:{port}", "durability": "full"},
        is_problem=bool,
        orphan_signal=signal.SIGTERM,
    )


async def _serve_amqtt(port: int) -> int:
    from amqtt.broker import Broker
    from amqtt.errors import BrokerError

    stop = signalled()
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"{HOST}:{port}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    try:
        await broker.start()
    except BrokerError as error:
        raise UserError(f"the embedded broker cannot start: {error}", hint="is the port free?") from error
    address = f"mqtt://{HOST}:{port}"
    emit(
        "durability.reduced",
        what="the broker is amqtt, which keeps no session: QoS 1 and 2 hold only while it lives",
        fix="install Mosquitto, for example with apt-get install mosquitto, and start again",
        broker=address,
    )
    emit("process.ready", process="broker", name="amqtt", broker=address, durability="reduced")
    await stop.wait()
    emit("process.stopping", process="broker", reason="signal")
    await broker.shutdown()
    emit("process.stopped", process="broker")
    return 0
