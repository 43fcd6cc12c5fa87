"""`headrace ingest`, `headrace publish`, `headrace demo`: the commands that speak MQTT."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from shared.config import Settings
from shared.config_sources import load_settings
from shared.errors import TopicError
from shared.topics import validate_topic

if TYPE_CHECKING:
    from ingest.codec import Protocol
    from ingest.publisher import Message
    from shared.definitions import Broker

_VERSIONS = {"3": 4, "5": 5}
_LONGEST_TEXT = 65_535


@click.command()
def ingest() -> int:
    """Hold the MQTT sessions of the deployed triggers.

    Every message is stored in Redis before the broker gets its acknowledgement. Start as many as you like: they share
    the triggers, and when one dies the others take over its sessions within seconds.
    """
    from ingest.app import run_ingest
    from shared import logs

    settings = _settings()
    logs.configure(settings.log, "ingest")
    return run_ingest(settings)


def _topic(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    try:
        validate_topic(value)
    except TopicError as error:
        raise click.BadParameter(f"{error.message}; {error.hint}") from error
    return value


def _property(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> list[tuple[str, str]]:
    pairs = [value.partition("=") for value in values]
    if wrong := [value for value, (_, sign, _) in zip(values, pairs, strict=True) if not sign]:
        raise click.BadParameter(f"{wrong[0]!r} is not of the form name=value")
    if not all(_fits(text) for name, _, value in pairs for text in (name, value)):
        raise click.BadParameter(f"name and value are each at most {_LONGEST_TEXT} bytes of UTF-8")
    return [(name, text) for name, _, text in pairs]


def _fits(argument: str) -> bool:
    """Whether MQTT can say it (MQTT 5 §1.5.4): bytes of an argument that are no UTF-8 come as half surrogate pairs."""
    try:
        return len(argument.encode()) <= _LONGEST_TEXT
    except UnicodeEncodeError:
        return False


@click.command()
@click.argument("topic", callback=_topic)
@click.argument("payload", required=False)
@click.option("-f", "--file", type=click.File("rb"), help="Take the payload from a file; - is standard input.")
@click.option("--qos", type=click.IntRange(0, 2), default=1, show_default=True, help="Quality of service.")
@click.option("--retain", is_flag=True, help="The broker keeps it for later subscribers.")
@click.option("--property", "properties", multiple=True, metavar="NAME=VALUE", callback=_property,
              help="A user property (MQTT 5); may be given again.")  # fmt: skip
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True, help="Publish it so many times.")
@click.option("--broker", "url", metavar="URL",
              help="mqtt://, mqtts://, ws:// or wss://[user:pw@]host[:port]; else the setting broker.")  # fmt: skip
@click.option("--protocol", type=click.Choice(list(_VERSIONS)), help="MQTT version; else 5, or 3.1.1 if need be.")
def publish(topic: str, payload: str | None, file: BinaryIO | None, url: str | None, **options: Any) -> None:
    """Publish PAYLOAD on TOPIC and wait until the broker has it.

    At QoS 0 the broker does not confirm: the command then only knows that it was sent.
    """
    from ingest.codec import Protocol
    from ingest.publisher import Message
    from ingest.transport import parse_broker_url

    if (payload is None) == (file is None):
        raise click.UsageError("give either PAYLOAD or --file")
    settings = _settings()
    broker = parse_broker_url(url or settings.broker)
    body = file.read() if file is not None else os.fsencode(payload or "")
    message = Message(topic, body, options["qos"], options["retain"], options["properties"])
    version = options["protocol"]
    protocol = Protocol(_VERSIONS[version]) if version else None
    click.echo(asyncio.run(_publish(broker, protocol, message, options["count"], settings.ingest.connect_timeout_s)))


async def _publish(broker: Broker, protocol: Protocol | None, message: Message, count: int, timeout_s: float) -> str:
    from ingest.publisher import Publisher, had_no_subscribers
    from ingest.transport import broker_url

    publisher = await Publisher.connect(broker, protocol, timeout_s)
    try:
        sent = [await publisher.publish(message) for _ in range(count)]
        reasons = await asyncio.gather(*sent)
    finally:
        await publisher.close()
    what = f"{count} messages" if count > 1 else f"{len(message.payload)} bytes"
    outcome = "the broker has it" if message.qos else "sent, which QoS 0 does not confirm"
    if any(map(had_no_subscribers, reasons)):
        outcome += ", but nobody has subscribed to the topic"
    version = "5" if publisher.protocol == _VERSIONS["5"] else "3.1.1"
    return f"{message.topic}: {what} at QoS {message.qos} to {broker_url(broker)} (MQTT {version}): {outcome}"


@click.command()
@click.option("--broker", "url", metavar="URL", help="Where to publish; else the setting broker.")
def demo(url: str | None) -> int:
    """Publish made-up readings for the example workspace until interrupted.

    demo/hello at QoS 2 every two seconds, demo/ROOM/temperature at QoS 1 twice a second.
    """
    from ingest.demo import run_demo
    from ingest.transport import parse_broker_url
    from shared import logs

    settings = _settings()
    logs.configure(settings.log, "demo")
    broker = parse_broker_url(url or settings.broker)
    asyncio.run(_until_stopped(run_demo(broker, settings.ingest.connect_timeout_s)))
    return 0


async def _until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run it until SIGTERM or SIGINT, which end it quietly."""
    task = asyncio.create_task(work)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task


def _settings() -> Settings:
    return load_settings(os.environ, Path.cwd())
