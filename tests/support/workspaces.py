"""Workspace folders for tests, written as a user would write them."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

RECORDER = """\
import time

import headrace


def main(payload: bytes):
    if payload.startswith(b"hold "):
        time.sleep(float(payload[5:]))
    line = f"{headrace.run.id} {headrace.run.idempotency_key} {payload.decode()}\\n"
    with open("@LOG@", "a") as log:
        log.write(line)
    return payload.decode()
"""
"""Appends a line per execution, in one write: what really ran, whatever Redis says. "hold 3" takes 3 seconds."""


def write_workspace(folder: Path, port: int, triggers: dict[str, str], scripts: dict[str, str]) -> Path:
    """A workspace with a broker on this port; triggers and scripts by their name in the folder f/t."""
    base = folder / "f" / "t"
    base.mkdir(parents=True, exist_ok=True)
    resource = f"resource_type: mqtt\nvalue:\n  broker: 127.0.0.1\n  port: {port}\n"
    (base / "broker.resource.yaml").write_text(resource)
    for name, text in triggers.items():
        (base / f"{name}.mqtt_trigger.yaml").write_text(dedent(text))
    for name, text in scripts.items():
        (base / f"{name}.py").write_text(dedent(text))
    return folder


def trigger_yaml(script: str, *topics: tuple[str, int], version: str = "v5", extra: str = "") -> str:
    """A trigger for these topics with their QoS."""
    entries = "".join(f"  - topic: '{topic}'\n    qos: qos{qos}\n" for topic, qos in topics)
    return (
        f"script_path: f/t/{script}\nis_flow: false\nmqtt_resource_path: f/t/broker\nclient_version: {version}\n"
        f"subscribe_topics:\n{entries}{extra}"
    )
