"""A session left behind at a broker that asks for a password, which was deployed as a variable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shared.deploy import read_current
from shared.store import Store
from tests.support.command_line import CommandLine
from tests.support.eventually import eventually
from tests.support.ingest import FAST, inbox, is_subscribed, send
from tests.support.mosquitto import Mosquitto, only_with_password
from tests.support.processes import HeadraceProcess
from tests.support.workspaces import trigger_yaml, write_workspace

PASSWORD = "correct horse battery staple"
KEY = "a key of the tests, long enough"
CREDENTIALS = "  credentials: {username: me, password: '$var:f/t/password'}\n"


def test_it_is_drained_also_when_the_password_was_deleted_with_the_trigger(
    tmp_path: Path,
    redis_url: str,
    headrace: Callable[..., HeadraceProcess],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A whole folder that is pruned takes trigger, broker and password with it; what waits still runs."""
    monkeypatch.setenv("HEADRACE_SECRET_KEY", KEY)
    command = CommandLine(redis_url, monkeypatch, capsys)
    store = Store.connect(redis_url)
    ingest = headrace("ingest", REDIS_URL=redis_url, HEADRACE_SECRET_KEY=KEY, **FAST)
    options = only_with_password(tmp_path, "me", PASSWORD)
    with Mosquitto(tmp_path / "broker", options) as server:
        port = server.start().port
        script = {"s": "def main(payload: bytes): ...\n"}
        folder = write_workspace(tmp_path / "ws", port, {"a": trigger_yaml("s", ("x", 2))}, script)
        resource = folder / "f/t/broker.resource.yaml"
        resource.write_text(resource.read_text() + CREDENTIALS)
        (folder / "f/t/password.variable.yaml").write_text(f"value: {PASSWORD}\nis_secret: true\n")
        command.text("push", folder)
        session = read_current(store, create_id=False).triggers["f/t/a"].session
        eventually(lambda: is_subscribed(store, session))
        ingest.sigterm()
        send(port, ("x", b"waits", 2), username="me", password=PASSWORD)
        for file in folder.glob("f/t/*.yaml"):
            file.unlink()
        command.text("push", folder, "--prune", "--yes")
        ingest.start()
        asked = command.json("sessions", "drain", session)

    assert (asked["done"], asked["drained"]) == (True, 1)
    assert [each.payload for each in inbox(store)] == [b"waits"]
    assert PASSWORD not in ingest.output
