"""`headrace trigger test` and `headrace capture`: what tries a trigger at its broker, beside its deployed session."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from shared.cli_common import as_json, connected, settings
from shared.errors import UserError
from shared.tables import printable, size

if TYPE_CHECKING:
    from ingest.trying import Captured, Tried
    from shared.asking import Report

_SHOWN = 4096
_CLIENT_ID = click.option("--client-id", metavar="ID",
                          help="Connect with this client id, where the broker asks for a certain one.")  # fmt: skip


@click.command("test")
@click.argument("path")
@_CLIENT_ID
@click.option("--json", "json_output", is_flag=True, help="Print one JSON object.")
def test_trigger(path: str, *, client_id: str | None, json_output: bool) -> int:
    """Connect as this trigger would, subscribe each of its topics, and tell what the broker answers.

    With a client id and a clean session of its own: the deployed session is not touched, and no share group joined.
    Exit status 0 if the broker accepts everything as it is asked for, 1 if not.
    """
    from ingest.trying import examine

    report = asyncio.run(examine(_look_up(path, client_id)))
    click.echo(as_json(report) if json_output else "\n".join(_page(report)))
    return 0 if report.ok else 1


@click.command()
@click.argument("path")
@click.option("--count", type=click.IntRange(min=1), help="Stop after so many.  [default: with --save 1]")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Stop after so long.")
@click.option("--save", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the last one as JSON, for headrace run --event.")  # fmt: skip
@_CLIENT_ID
@click.option("--json", "json_output", is_flag=True, help="One JSON object a line.")
def capture(
    path: str, *, count: int | None, timeout: float | None, save: Path | None, client_id: str | None, json_output: bool
) -> int:
    """Show live messages as the code of this trigger would get them, until interrupted.

    With a client id and a clean session of its own: the deployed session loses nothing. The QoS is the trigger's, as
    far as the broker grants it. The trigger's filters are not applied. Exit status 1 if nothing came, or fewer than
    --count.
    """
    wanted = count or (1 if save else None)
    tried = _look_up(path, client_id)
    if tried.trigger.filters:
        click.echo("note: the filters of the trigger are not applied here", err=True)
    seen = asyncio.run(_capture(tried, wanted, timeout, save, json_output=json_output))
    return 0 if seen >= (wanted or 1) else 1


async def _capture(
    tried: Tried, count: int | None, timeout_s: float | None, save: Path | None, *, json_output: bool
) -> int:
    from ingest import trying

    seen = 0
    try:
        async with asyncio.timeout(timeout_s), aclosing(trying.capture(tried)) as messages:  # type: ignore[type-var]
            async for message in messages:
                seen += 1
                click.echo(as_json(message) if json_output else "\n".join(_message_page(message)))
                if save is not None:
                    _save(message, save)
                if seen == count:
                    break
    except TimeoutError:
        click.echo(f"{seen} messages in {timeout_s:g} s", err=True)
    return seen


def _look_up(path: str, client_id: str | None) -> Tried:
    from ingest.trying import look_up

    given = settings()
    with connected(given.redis_url) as store:
        return look_up(store, given, path, client_id)


def _save(message: Captured, file: Path) -> None:
    try:
        file.write_bytes(msgspec.json.format(msgspec.json.encode(message), indent=2) + b"\n")
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}") from error


def _page(report: Report) -> Iterator[str]:
    yield f"{printable(report.trigger)} at {report.broker}, client id {report.client_id}"
    if not report.connected:
        yield f"  CONNACK  {printable(report.problem or '')}"
        return
    yield f"  CONNACK  accepted, MQTT {report.protocol}"
    for topic in report.topics:
        said = f"granted QoS {topic.granted}" if topic.granted is not None else ""
        problem = printable(topic.problem or "")
        yield f"  SUBACK   {printable(topic.topic)}  QoS {topic.qos}: {said}{'; ' if said and problem else ''}{problem}"
    for name, value in (report.limits or {}).items():
        yield f"  limit    {name.replace('_', ' ')}: {_limit(name, value)}"
    if report.limits is None:
        yield "  limits   MQTT 3.1.1 does not tell them"
    if "version" in report.says:
        yield f"  $SYS     {printable(report.says['version'])}"
    if "dropped" in report.says:
        yield f"  $SYS     {printable(report.says['dropped'])} messages dropped since it started, for any client"


def _limit(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "ours" if name == "server_keep_alive_s" else "none"
    return size(value) if name == "maximum_packet_size" and isinstance(value, int) else str(value)


def _message_page(message: Captured) -> Iterator[str]:
    event = message.event
    yield f"{message.received_at}  {printable(event['topic'])}  QoS {event['qos']}" + ("  retained" * event["retain"])
    for run in message.runs:
        named = " ".join(f"{name}={value}" for name, value in run["captures"].items())
        gets = "preprocessor(event)" if run["preprocessor"] else "main(payload)"
        yield f"  {printable(run['runnable'])}: {gets}" + (f"  {printable(named)}" if named else "")
    main = as_json(message.main) if message.main is not None else "not what the trigger's payload setting asks for"
    yield f"  main   {printable(main[:_SHOWN])}"
    yield f"  event  {printable(as_json(event)[:_SHOWN])}"
