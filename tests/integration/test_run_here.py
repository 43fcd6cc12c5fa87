"""`headrace run`: a script on a captured event, on this machine, in a runner as a worker has them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import CommandLine
from tests.support.workspaces import trigger_yaml, write_workspace

NOWHERE = "redis://127.0.0.1:1/0"
SCRIPTS = {
    "plain": "def main(payload: bytes):\n    print('got', payload)\n    return len(payload)\n",
    "event": (
        "import headrace\n\n\ndef preprocessor(event):\n    return {'t': event['topic'], 'q': event['qos']}\n\n\n"
        "def main(t, q):\n    return [t, q, headrace.run.captures, headrace.run.trigger]\n"
    ),
    "bad": "def main(payload):\n    print('before')\n    raise ValueError('no')\n",
    "slow": "import time\n\n\ndef main(payload):\n    print('began', flush=True)\n    time.sleep(60)\n",
    "dies": "import os\n\n\ndef main(payload):\n    os._exit(3)\n",
    "json": "def main(payload):\n    return payload['a']\n",
    "says": "import headrace\n\n\ndef main(payload):\n    headrace.publish('alarm/a', {'t': 1}, qos=0)\n    return 7\n",
    "broken": "raise RuntimeError('at import')\n\n\ndef main(payload): ...\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace with these scripts, and a trigger that hands over JSON."""
    triggers = {"j": trigger_yaml("json", ("x", 1), extra="payload: json\n")}
    return write_workspace(tmp_path / "ws", 1883, triggers, SCRIPTS)


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The command line where there is no Redis."""
    return CommandLine(NOWHERE, monkeypatch, capsys)


def event(tmp_path: Path, payload: bytes, **fields: Any) -> Path:
    """A captured event as Windmill writes it too."""
    file = tmp_path / "event.json"
    whole = {"kind": "mqtt", "payload": base64.b64encode(payload).decode(), "topic": "a/b", "qos": 2, "v5": None}
    file.write_text(json.dumps(whole | fields))
    return file


def test_a_script_of_a_folder_runs_on_an_event_without_redis(local: CommandLine, folder: Path, tmp_path: Path) -> None:
    """Result to stdout, log to stderr, exit status 0."""
    said = local("run", "f/t/plain", "--dir", folder, "--event", event(tmp_path, b"\x00\x01"))

    assert (said.status, json.loads(said.out)) == (0, 2)
    assert "got b'\\x00\\x01'" in said.err


def test_what_a_script_would_publish_is_shown(local: CommandLine, folder: Path, tmp_path: Path) -> None:
    """And is not published: there is no broker."""
    said = local("run", "f/t/says", "--dir", folder, "--event", event(tmp_path, b""))

    assert (said.status, json.loads(said.out)) == (0, 7)
    assert 'would publish alarm/a at QoS 0: {"t":1}' in said.err
    (message,) = local.json("run", "f/t/says", "--dir", folder, "--event", event(tmp_path, b""))["messages"]
    assert (message["topic"], base64.b64decode(message["payload"])) == ("alarm/a", b'{"t":1}')


def test_a_preprocessor_gets_the_event(local: CommandLine, folder: Path, tmp_path: Path) -> None:
    """And the code sees trigger and named levels of the capture."""
    file = event(tmp_path, b"", trigger_path="f/t/none", v5={"content_type": "x", "correlation_data": [1, 2]})
    saved = {"event": json.loads(file.read_text()), "runs": [{"runnable": "f/t/event", "captures": {"n": "b"}}]}
    file.write_text(json.dumps(saved))
    done = local.json("run", "f/t/event", "--dir", folder, "--event", file)

    assert done["result"] == ["a/b", 2, {"n": "b"}, "f/t/none"]
    assert done["arguments"] == {"t": "a/b", "q": 2}
    assert local.json("run", "f/t/event", "--dir", folder, "--event", file, "--args", '{"t": 1, "q": 2}')["result"][
        :2
    ] == [1, 2]


def test_the_form_of_the_payload_is_the_triggers(local: CommandLine, folder: Path, tmp_path: Path) -> None:
    """Where the folder has the trigger of the event."""
    file = event(tmp_path, b'{"a": 5}', trigger_path="f/t/j")
    assert local.json("run", "f/t/json", "--dir", folder, "--event", file)["result"] == 5
    assert local.json("run", "f/t/json", "--dir", folder, "--args", '{"payload": {"a": 6}}')["result"] == 6


@pytest.mark.parametrize(
    "script, name, log",
    [
        ("bad", "ValueError", "before\n"),
        ("slow", "TimeoutError", "began\n"),
        ("dies", "RunnerDied", ""),
        ("broken", "RuntimeError", ""),
    ],
)
def test_whatever_goes_wrong_is_told_and_is_exit_status_1(
    local: CommandLine, folder: Path, tmp_path: Path, script: str, name: str, log: str
) -> None:
    """With what had been printed until then."""
    said = local(
        "run", f"f/t/{script}", "--dir", folder, "--event", event(tmp_path, b"x"), "--timeout", "1.5", "--json"
    )
    done = json.loads(said.out)

    assert (said.status, done["ok"], done["error"]["name"], done["log"]) == (1, False, name, log)


def test_what_is_no_event_is_refused(local: CommandLine, folder: Path, tmp_path: Path) -> None:
    """And so are a script that is not there, and nothing to run on."""
    file = tmp_path / "event.json"
    for text in ("", "[]", "{}", '{"topic": "a", "payload": "?"}', '{"topic": "a", "payload": "", "qos": 3}'):
        file.write_text(text)
        assert local("run", "f/t/plain", "--dir", folder, "--event", file).status == 1
    said = local("run", "f/t/plan", "--dir", folder, "--args", "{}")
    assert (said.status, "did you mean f/t/plain" in said.err) == (1, True)
    assert local("run", "f/t/plain", "--dir", folder).status == 2
    assert local("run", "f/t/plain", "--dir", folder, "--args", "[]").status == 1


def test_a_script_as_it_is_deployed_runs_without_a_record(
    redis_url: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the form that the deployed trigger asks for."""
    command = CommandLine(redis_url, monkeypatch, capsys)
    monkeypatch.chdir(tmp_path)
    (folder / "f/t/broken.py").unlink()
    command.text("push", folder)
    done = command.json("run", "f/t/json", "--event", event(tmp_path, b'{"a": 7}', trigger_path="f/t/j"))

    assert (done["result"], command.lines("runs")) == (7, [])
