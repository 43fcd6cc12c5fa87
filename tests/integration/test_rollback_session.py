"""A deletion that is undone by `headrace rollback`: the broker's session goes on, with what has waited in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import keys
from shared.store import Store
from tests.support.burst import Publisher
from tests.support.eventually import eventually
from tests.support.mosquitto import Mosquitto
from tests.support.pipeline import Pipeline
from tests.support.workspaces import trigger_yaml, write_workspace

SCRIPT = "def main(payload: bytes): ...\n"


@pytest.fixture
def pipeline(tmp_path: Path, redis_url: str) -> Iterator[Pipeline]:
    """An ingest alone."""
    pipeline = Pipeline(tmp_path, redis_url)
    try:
        pipeline.start("ingest")
        yield pipeline
    finally:
        pipeline.close()


def test_what_came_while_a_trigger_was_deleted_arrives_after_a_rollback(
    pipeline: Pipeline, mosquitto: Mosquitto, tmp_path: Path, redis_url: str
) -> None:
    """Each message once: the session is the one of before, in the same epoch."""
    store = Store.connect(redis_url)
    triggers = {"a": trigger_yaml("s", ("x", 2)), "b": trigger_yaml("s", ("y", 2))}
    folder = write_workspace(tmp_path / "ws", mosquitto.port, triggers, {"s": SCRIPT})
    pipeline.push(folder)
    pipeline.wait_connected("f/t/a", "f/t/b")
    before = next(each for each in pipeline.status()["sessions"] if each["trigger"] == "f/t/a")
    publisher = Publisher(mosquitto.port)
    publisher.publish("x", ["1", "2"], 2)
    eventually(lambda: store.command("XLEN", keys.INBOX) == 2)
    (folder / "f/t/a.mqtt_trigger.yaml").unlink()
    pipeline.headrace("push", str(folder), "--prune", "--yes")
    eventually(lambda: not store.command("EXISTS", keys.lease(before["session"])))
    publisher.publish("x", ["3", "4", "5"], 2)
    said = pipeline.headrace("rollback", "1", "--yes")
    pipeline.wait_connected("f/t/a", "f/t/b")
    eventually(lambda: store.command("XLEN", keys.INBOX) == 5)
    publisher.close()
    after = next(each for each in pipeline.status()["sessions"] if each["trigger"] == "f/t/a")

    assert "+  created  trigger  f/t/a" in said
    assert (after["session"], after["client_id"], after["epoch"]) == (
        before["session"], before["client_id"], before["epoch"]
    )  # fmt: skip
    assert all(each["holds"] for each in pipeline.status()["identities"])
