"""Every setting of Headrace, in one tree.

The tree is parser, checker and reference page at once: a field's type holds its range and its description, and
`docs/reference/configuration.md` is rendered from it. Sections hold keys, and keys only.

Where values come from, `config_sources` says.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shared.config_keys import is_loopback, keys_of
from shared.errors import ConfigError

MIB = 1024 * 1024


class LogSettings(msgspec.Struct, frozen=True):
    """What is written to stderr."""

    format: Annotated[Literal["console", "json"], Meta(description="For people, or one JSON object per line.")] = (
        "console"
    )
    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least important events that are shown.")
    ] = "info"
    runs: Annotated[bool, Meta(description="Show a line for each finished run, whatever the level.")] = False


class IngestSettings(msgspec.Struct, frozen=True):
    """The process that holds the MQTT sessions. A trigger may override what it names itself."""

    max_payload: Annotated[
        int,
        Meta(ge=1, le=64 * MIB, description="Largest payload in bytes; a larger one goes to the dead letters."),
    ] = 16 * MIB
    receive_maximum: Annotated[
        int, Meta(ge=1, le=65_535, description="QoS 1 and 2 messages that a broker may send ahead of our answers.")
    ] = 1000
    keep_alive_s: Annotated[
        int, Meta(ge=1, le=65_535, description="Seconds of silence after which broker and session check each other.")
    ] = 60
    connect_timeout_s: Annotated[
        float, Meta(gt=0, description="Seconds that a broker has to accept a connection and answer CONNECT.")
    ] = 10.0
    lease_ttl_ms: Annotated[
        int,
        Meta(ge=500, description="Milliseconds after which a session whose process has died may be taken over."),
    ] = 6000
    max_batches_in_flight: Annotated[
        int, Meta(ge=1, description="Batches of one session that may be on their way to Redis at once.")
    ] = 8
    max_buffered_bytes: Annotated[
        int, Meta(ge=1, description="Bytes of one session not yet stored in Redis, above which reading pauses.")
    ] = 32 * MIB
    max_inbox: Annotated[
        int, Meta(ge=1, description="Messages stored and not yet dispatched, above which reading pauses.")
    ] = 1_000_000
    reconnect_initial_s: Annotated[
        float, Meta(gt=0, description="Longest wait in seconds before the first try to reconnect; it then doubles.")
    ] = 0.5
    reconnect_max_s: Annotated[
        float, Meta(gt=0, description="Longest wait in seconds between two tries to reconnect.")
    ] = 60.0
    refused_min_s: Annotated[
        float, Meta(gt=0, description="Shortest wait in seconds after a refusal that a person has to mend.")
    ] = 60.0
    refused_max_s: Annotated[
        float, Meta(gt=0, description="Longest wait in seconds after a refusal that a person has to mend.")
    ] = 300.0
    watch_brokers: Annotated[
        bool,
        Meta(description="Listen to what brokers tell of their queues ($SYS), on a connection of its own each."),
    ] = True
    drain_timeout_s: Annotated[
        float, Meta(gt=0, description="Seconds that hand-offs under way have to finish when the process is stopped.")
    ] = 10.0

    def __post_init__(self) -> None:
        _check_order("ingest", self, "reconnect_initial_s", "reconnect_max_s")
        _check_order("ingest", self, "refused_min_s", "refused_max_s")


class DispatchSettings(msgspec.Struct, frozen=True):
    """The process that turns stored messages into runs."""

    batch: Annotated[int, Meta(ge=1, le=10_000, description="Messages that are read and placed at once.")] = 512
    block_ms: Annotated[
        int, Meta(ge=1, description="Milliseconds that an idle dispatcher waits for a message before it looks round.")
    ] = 500
    claim_idle_ms: Annotated[
        int, Meta(ge=1, description="Milliseconds after which a message that a dispatcher left lying is taken over.")
    ] = 5000


class WorkerSettings(msgspec.Struct, frozen=True):
    """The process that runs the code."""

    batch_max: Annotated[int, Meta(ge=1, le=10_000, description="Most runs that are claimed at once.")] = 64
    batch_target_ms: Annotated[
        float,
        Meta(gt=0, description="Milliseconds of work that a worker has in hand; slow code is claimed one by one."),
    ] = 15.0
    lease_ttl_ms: Annotated[
        int, Meta(ge=500, description="Milliseconds after which the runs of a worker that has died are dealt with.")
    ] = 6000
    default_timeout_s: Annotated[
        float, Meta(gt=0, description="Seconds that code may run where the script does not say.")
    ] = 300.0
    max_crashes: Annotated[
        int, Meta(ge=1, description="Starts of a QoS 1 run that ended in a crash before it goes to the dead letters.")
    ] = 3
    poll_ms: Annotated[
        int, Meta(ge=1, description="Milliseconds that an idle worker waits for a run before it looks for due retries.")
    ] = 500
    runners_max: Annotated[
        int, Meta(ge=1, description="Warm interpreters: one for each script and step of a flow.")
    ] = 32
    expression_ms: Annotated[
        int,
        Meta(
            ge=10,
            le=5000,
            description="Milliseconds of processor time that an expression of a flow may take.",
        ),
    ] = 1000
    runner_memory_mib: Annotated[
        int, Meta(ge=0, description="Memory in MiB that a runner may use; 0 means no limit.")
    ] = 0
    python: Annotated[
        str,
        Meta(
            min_length=1,
            description="The interpreter that runs Python scripts.",
            examples=["/usr/bin/python3.12"],
            extra={"default": "the interpreter that runs Headrace"},
        ),
    ] = msgspec.field(default_factory=lambda: sys.executable)


class ConsoleSettings(msgspec.Struct, frozen=True):
    """The process that serves HTTP: to people, to tools, and to the `wmill` client of scripts that run."""

    host: Annotated[
        str,
        Meta(
            min_length=1,
            description="Address to listen on; one that others reach needs a token first.",
            examples=["127.0.0.1", "192.0.2.7"],
        ),
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65_535, description="Port to listen on.")] = 18080
    url: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^/]+)?$",
            description="Where scripts and browsers reach the console; scripts are told in BASE_INTERNAL_URL.",
            examples=["https://headrace.example"],
            extra={"default": "made of host and port"},
        ),
    ] = ""
    session_s: Annotated[float, Meta(ge=60, description="Seconds after which a browser has to log in again.")] = (
        43_200.0
    )

    def __post_init__(self) -> None:
        if not self.url:
            host = f"[{self.host}]" if ":" in self.host else self.host
            msgspec.structs.force_setattr(self, "url", f"http://{host}:{self.port}")


class MetricsSettings(msgspec.Struct, frozen=True):
    """What processes tell of themselves over HTTP: /metrics, /healthz, /readyz. The console serves them at its port."""

    host: Annotated[
        str,
        Meta(
            min_length=1,
            description="Address to listen on; one that others can reach asks for a token.",
            examples=["127.0.0.1"],
        ),
    ] = "127.0.0.1"
    port: Annotated[
        int,
        Meta(
            ge=0,
            le=65_000,
            description="First port: of ingest; dispatch has those from 100 on, worker from 200 on. The first process"
            " of a kind takes the first that is free, the next the next. 0 turns it off.",
        ),
    ] = 18100
    token: Annotated[
        str,
        Meta(
            description="What has to come with a request for /metrics, the console's too, as Authorization: Bearer …;"
            " empty: nothing.",
            examples=["a long random text"],
            extra={"default": "none"},
        ),
    ] = ""

    def __post_init__(self) -> None:
        if self.port and not self.token and not is_loopback(self.host):
            raise ConfigError(
                f"metrics.host is {self.host!r}, which others can reach, and metrics.token is not set",
                hint="set HEADRACE_METRICS__TOKEN to a long random text, or the host to 127.0.0.1",
            )

    def url(self, port: int) -> str:
        """Where a process that has this port is reached."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{port}"


class AlertsSettings(msgspec.Struct, frozen=True):
    """How alerts of the workspace are looked after; what is told, and to whom, is in its `headrace.yaml`."""

    every_s: Annotated[
        float, Meta(gt=0, description="Seconds from one look for what is wrong to the next. One process looks.")
    ] = 5.0


class RetentionSettings(msgspec.Struct, frozen=True):
    """How long ended runs, dead letters and the list of deployments are kept. Counters are not affected."""

    runs_max: Annotated[int, Meta(ge=0, description="Ended runs that are kept; the oldest go first.")] = 100_000
    runs_max_age_s: Annotated[float, Meta(gt=0, description="Seconds that an ended run is kept.")] = 604_800.0
    runs_max_per_trigger: Annotated[
        int, Meta(ge=0, description="Runs that are kept of one trigger, the oldest ended go first; 0 means no limit.")
    ] = 0
    dead_max: Annotated[int, Meta(ge=0, description="Dead letters that are kept; the oldest go first.")] = 10_000
    dead_max_age_s: Annotated[float, Meta(gt=0, description="Seconds that a dead letter is kept.")] = 604_800.0
    prune_step: Annotated[
        int, Meta(ge=1, description="Runs that are removed in one step; Redis answers nobody else meanwhile.")
    ] = 100
    deployments_max: Annotated[
        int, Meta(ge=1, description="Deployments that are listed and can be gone back to; the oldest go first.")
    ] = 200
    audit_max: Annotated[
        int, Meta(ge=1, description="Entries of the audit log that are kept, or some more; the oldest go first.")
    ] = 10_000


class Settings(msgspec.Struct, frozen=True):
    """Where the parts find each other."""

    redis_url: Annotated[
        str,
        Meta(
            pattern=r"^(redis|rediss|unix)://",
            description="The Redis (7.0 or later) or Valkey that holds all state. REDIS_URL is read too.",
            examples=["redis://user:password@redis.example:6379/0", "unix:///run/redis.sock"],
        ),
    ] = "redis://127.0.0.1:16379/0"
    broker: Annotated[
        str,
        Meta(
            pattern=r"^(mqtt|mqtts|ws|wss)://",
            description="The broker that `headrace broker` serves and `headrace publish` speaks to.",
            examples=["mqtt://127.0.0.1:1883", "mqtts://user:password@mqtt.example:8883"],
        ),
    ] = "mqtt://127.0.0.1:11883"
    data: Annotated[
        Path,
        Meta(
            description="Folder for what the embedded Redis and broker keep and for caches;"
            " a relative one starts where the process does.",
        ),
    ] = Path(".headrace")
    secret_key_file: Annotated[
        Path,
        Meta(
            description="File with the key of secret variables where HEADRACE_SECRET_KEY is not set; it is made when"
            " the first one is deployed. A relative one is in `data`."
        ),
    ] = Path("secret.key")
    workspace: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9_-]+$",
            description="Name of the workspace, as scripts see it in WM_WORKSPACE and clients write it into addresses.",
            examples=["plant"],
        ),
    ] = "headrace"
    log: LogSettings = msgspec.field(default_factory=LogSettings)
    ingest: IngestSettings = msgspec.field(default_factory=IngestSettings)
    dispatch: DispatchSettings = msgspec.field(default_factory=DispatchSettings)
    worker: WorkerSettings = msgspec.field(default_factory=WorkerSettings)
    console: ConsoleSettings = msgspec.field(default_factory=ConsoleSettings)
    metrics: MetricsSettings = msgspec.field(default_factory=MetricsSettings)
    retention: RetentionSettings = msgspec.field(default_factory=RetentionSettings)
    alerts: AlertsSettings = msgspec.field(default_factory=AlertsSettings)

    @property
    def cache(self) -> Path:
        """Folder for what can be made again: unpacked scripts and their environments."""
        return self.data / "cache"

    @property
    def environments(self) -> Path:
        """Folder for the packages of scripts."""
        return self.cache / "envs"


KEYS = keys_of(Settings)


def _check_order(section: str, settings: msgspec.Struct, low: str, high: str) -> None:
    lowest, highest = getattr(settings, low), getattr(settings, high)
    if lowest > highest:
        message = f"{section}.{low} is {lowest:g}, more than {section}.{high}, which is {highest:g}"
        raise ConfigError(message, hint=f"raise {high} or lower {low}")
