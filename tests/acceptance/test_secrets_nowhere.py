"""A secret's value is nowhere but where it is needed: not in Redis, its file on disk, logs, outputs, the console."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.burst import Publisher
from tests.support.eventually import eventually
from tests.support.mosquitto import Mosquitto, only_with_password
from tests.support.pipeline import Pipeline
from tests.support.ports import HOST, free_port
from tests.support.traces import Traces
from tests.support.valkey import ValkeyServer
from tests.support.wheels import PackageFolder
from tests.support.workspaces import trigger_yaml, write_workspace

SECRET = 'küche "geheim" \\ ☃\n\tzweite Zeile'
PASSWORD = 'p4ss "wort" \\ ß'
WRONG = "another pass word"
MARKER = "what anybody may see"
LEAKS = """
    import json, os, subprocess, sys, time
    import wmill

    class Odd(Exception):
        def __init__(self, text):
            super().__init__(f"it was {text}")
            self.key = text
            self.nested = {"as": [text, {text: 1}], "number": 4}

    def prints(secret):
        print(secret, "and", json.dumps(secret), repr(secret), json.dumps({"k": secret}, ensure_ascii=False))
        print(secret, file=sys.stderr)
        os.write(1, secret.encode())
        subprocess.run([sys.executable, "-c", "import sys; print(sys.argv[1])", secret])

    def returns(secret):
        return {"wm_labels": [secret, "plain"], secret: [secret], "as text": json.dumps({"inner": secret})}

    def raises(secret):
        try:
            raise ValueError(secret)
        except ValueError as error:
            odd = Odd(secret)
            odd.add_note(secret)
            raise odd from error

    def fails(secret):
        return {"wm_failure": secret}

    def leaves(secret):
        sys.exit(secret)

    def streams(secret):
        wmill.stream_result([secret])

    def aborts(secret):
        print(secret, flush=True)
        print(secret, file=sys.stderr, flush=True)
        os.abort()

    def asks(secret):
        arguments = {"key": secret, "broker": "$res:f/t/broker", "header": {"auth": "Bearer " + secret}}
        return wmill.run_script_by_path("f/t/child", arguments)

    def lingers(secret):
        for piece in (secret[:9], secret[9:], secret * 3):
            print(piece, end="", flush=True)
            time.sleep(0.8)
        time.sleep(60)

    def holds(secret):
        return wait(os.environ["WM_TOKEN"], os.environ["WM_JOB_ID"])

    def wait(token, job):
        while not os.path.exists(GATE):
            with open(GATE + ".new", "w") as file:
                json.dump([token, job], file)
            os.rename(GATE + ".new", GATE + ".told")
            time.sleep(0.1)

    def main(payload: bytes):
        print(MARKER)
        secret = wmill.get_variable("f/t/key")
        assert secret.startswith("k") and wmill.get_resource("f/t/broker")["credentials"]["password"]
        return globals()[payload.decode()](secret)
"""
CHILD = """
    def main(key: str, broker: dict, header: dict):
        print(key, broker, header)
        assert header["auth"] == "Bearer " + key
        return [key, broker, header]
"""
HANDLER = """
    def main(error: dict, **more):
        print(error, more)
        return {"error": error, "more": more}
"""
SHELL = 'key="$1"\necho "$key" >&2\nprintf \'%s\\n\' "$key" >result.out\n'
WAYS = {
    "prints": "succeeded",
    "returns": "succeeded",
    "raises": "failed",
    "fails": "failed",
    "leaves": "failed",
    "streams": "succeeded",
    "aborts": "interrupted",
}


def variable(value: str) -> str:
    """The file of a secret."""
    return yaml.safe_dump({"description": "", "value": value, "is_secret": True}, allow_unicode=True)


def resource(port: int, password: str) -> str:
    """The file of a broker with a password in a variable."""
    credentials = {"username": "headrace", "password": f"$var:f/t/{password}"}
    value = {"broker": HOST, "port": port, "credentials": credentials}
    return yaml.safe_dump({"resource_type": "mqtt", "value": value})


class Leaky:
    """A pipeline whose scripts give away what they know, in every way there is."""

    def __init__(self, folder: Path, valkey: ValkeyServer, broker: Mosquitto) -> None:
        self.folder = folder
        self.valkey = valkey
        self.gate = folder / "gate"
        self.outputs: list[str] = []
        self.workspace = self._write(folder / "workspace", broker.port)
        packages = PackageFolder(folder / "packages")
        packages.add_installed("wmill")
        self.url = f"http://{HOST}:{(port := free_port())}/api/w/headrace"
        settings = {"HEADRACE_CONSOLE__PORT": str(port), "HEADRACE_LOG__LEVEL": "debug", "HEADRACE_LOG__RUNS": "true"}
        self.pipeline = Pipeline(folder, valkey.url, **settings, **packages.environment)
        self.publisher = Publisher(broker.port)
        self.say("push", str(self.workspace))
        self.pipeline.start("ingest", "dispatch", "worker-1", "worker-2", "console")
        self.pipeline.wait_connected("f/t/leaks", "f/t/quick", "f/t/shell")
        self.pipeline.processes["console"].wait_ready()

    def _write(self, folder: Path, port: int) -> Path:
        source = LEAKS.replace("GATE", repr(str(self.gate))).replace("MARKER", repr(MARKER))
        handler = "error_handler_path: f/t/handler\n"
        triggers = {
            "leaks": trigger_yaml("leaks", ("leaks", 2), extra=handler),
            "quick": trigger_yaml("leaks", ("quick", 2), extra=f"timeout: 4\n{handler}"),
            "shell": trigger_yaml("shell_caller", ("shell", 2)),
            "refused": trigger_yaml("leaks", ("refused", 2)).replace("f/t/broker", "f/t/wrong_broker"),
        }
        caller = (
            "import wmill\ndef main():\n    return wmill.run_script_by_path('f/t/shell', {'key': '$var:f/t/key'})\n"
        )
        scripts = {"leaks": source, "child": CHILD, "handler": HANDLER, "shell_caller": caller}
        write_workspace(folder, port, triggers, scripts)
        base = folder / "f/t"
        (base / "shell.sh").write_text(SHELL)
        for name, value in (("key", SECRET), ("password", PASSWORD), ("wrong", WRONG)):
            (base / f"{name}.variable.yaml").write_text(variable(value))
        (base / "broker.resource.yaml").write_text(resource(port, "password"))
        (base / "wrong_broker.resource.yaml").write_text(resource(port, "wrong"))
        return folder

    def say(self, *arguments: str, expect: int = 0) -> str:
        """What a command prints, which is kept to be searched."""
        said = self.pipeline.headrace(*arguments, expect=expect)
        self.outputs.append(said)
        return said

    def publish(self, topic: str, *payloads: str, runs: int) -> None:
        """Publish, and wait until so many runs are there, all of them ended."""
        self.publisher.publish(topic, payloads, 2)

        def settled() -> bool:
            states = [run["state"] for run in self.pipeline.runs()]
            return len(states) == runs and not {"queued", "running"} & set(states)

        eventually(settled, 40, 0.5)

    def states(self) -> dict[str, str]:
        """State of each run by its payload, or by its script where it has no message."""
        found = {}
        for run in self.pipeline.runs():
            shown = json.loads(self.pipeline.headrace("runs", "show", run["id"], "--json"))
            found[shown["message"]["payload"] if shown["message"] else run["runnable"]] = run["state"]
        return found

    def close(self) -> None:
        """End everything."""
        self.publisher.close()
        self.pipeline.close()


@pytest.fixture(scope="module")
def leaky(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leaky]:
    """All processes, after a run for each way to give a secret away."""
    folder = tmp_path_factory.mktemp("leaky")
    options = only_with_password(folder, "headrace", PASSWORD) | {"allow_anonymous": "true"}  # publishers say no name
    with ValkeyServer(folder / "valkey") as valkey, Mosquitto(folder / "mosquitto", options) as broker:
        made = Leaky(folder, valkey.start(), broker.start())
        try:
            bad = sum(state in ("failed", "interrupted") for state in WAYS.values())
            made.publish("leaks", *WAYS, runs=(count := len(WAYS) + bad))  # each that ended badly has a handler
            made.publish("quick", "lingers", runs=count + 2)
            made.publish("leaks", "asks", runs=count + 4)  # and its child: each occupies a worker
            made.publish("shell", "go", runs=count + 6)
            children = dict.fromkeys(("f/t/child", "f/t/shell", "f/t/handler"), "succeeded")
            assert made.states() == WAYS | children | {"lingers": "failed", "asks": "succeeded", "go": "succeeded"}
            yield made
        finally:
            made.close()


@pytest.fixture
def traces() -> Traces:
    """Of all three secrets."""
    return Traces(SECRET, PASSWORD, WRONG)


def test_no_secret_is_in_redis_or_its_file_on_disk(leaky: Leaky, traces: Traces) -> None:
    """While what the scripts print beside it is in both."""
    with leaky.valkey.client() as client:
        assert traces.in_redis(client) == []
        assert Traces(MARKER).in_redis(client)
    assert traces.in_files(leaky.folder / "valkey") == []
    assert Traces(MARKER).in_files(leaky.folder / "valkey")


def test_no_secret_is_in_logs_and_the_data_folder(leaky: Leaky, traces: Traces) -> None:
    """Of every process, at level debug; the session that was refused says why, but not with what."""
    eventually(lambda: "session.refused" in leaky.pipeline.processes["ingest"].output)

    assert traces.in_files(leaky.folder, leaky.workspace) == []
    assert Traces("f/t/leaks").in_files(leaky.folder, leaky.workspace)


def test_no_command_prints_a_secret(leaky: Leaky, traces: Traces, tmp_path: Path) -> None:
    """Lists, pages, records, diffs, a pull; they show the mask instead."""
    for run in leaky.pipeline.runs():
        leaky.say("runs", "show", run["id"])
        leaky.say("runs", "show", run["id"], "--json")
        leaky.say("runs", "logs", run["id"])
        if run["state"] in ("failed", "interrupted"):
            leaky.say("dead", "show", run["id"])
            leaky.say("dead", "show", run["id"], "--json")
    copy = tmp_path / "copy"
    shutil.copytree(leaky.workspace, copy)
    (copy / "f/t/key.variable.yaml").write_text(variable(SECRET + " new"))
    for command in ("runs", "runs --json", "dead list", "dead list --json", "status", "status --json", "sessions",
                    "history", "history show 1", f"push {copy} --dry-run", f"push {copy} --json --dry-run",
                    f"pull {tmp_path / 'pulled'} --yes"):  # fmt: skip
        leaky.say(*command.split())
    leaky.say("doctor", expect=1)  # a session is refused

    leaked = [said for said in leaky.outputs if traces.seen_in(said.encode())]
    assert leaked == []
    assert traces.in_files(tmp_path / "pulled") == []
    assert "***" in "".join(leaky.outputs)
    assert MARKER in "".join(leaky.outputs)


def test_the_console_gives_a_secret_only_to_a_run_that_asks_for_it(leaky: Leaky, traces: Traces) -> None:
    """By name; not in lists, nor in what it tells of runs; not without the token of a run."""
    known = len(leaky.pipeline.runs())
    leaky.publisher.publish("leaks", ["holds"], 2)
    told = Path(f"{leaky.gate}.told")
    eventually(told.exists, 20)
    token, job = json.loads(told.read_text())
    runs = [run["id"] for run in leaky.pipeline.runs()]
    assert (len(runs), job in runs) == (known + 1, True)
    routes = ["variables/list", "resources/list", "resources/get/f/t/broker", "resources/get_value/f/t/broker",
              "variables/get/f/t/key?decrypt_secret=false", "jobs/list"]  # fmt: skip
    for run in runs:
        routes += [
            f"jobs_u/get/{run}",
            f"jobs_u/completed/get_result_maybe/{run}",
            f"jobs_u/completed/get_result/{run}",
        ]
    answers = {route: _get(leaky, route, token) for route in routes}
    asked = {name: _get(leaky, name, token) for name in ("variables/get_value/f/t/key", "variables/get/f/t/key")}
    interpolated = _get(leaky, "resources/get_value_interpolated/f/t/broker", token)
    outside = [_get(leaky, name, "") for name in asked]
    leaky.gate.touch()
    eventually(lambda: {run["state"] for run in leaky.pipeline.runs()}.isdisjoint({"queued", "running"}))

    assert [route for route, answer in answers.items() if traces.seen_in(answer.content)] == []
    assert {answers[route].status_code for route in routes[:6]} == {200}
    assert all(traces.seen_in(answer.content) for answer in asked.values())
    assert interpolated.json()["credentials"]["password"] == PASSWORD
    assert {answer.status_code for answer in outside} == {401}


def _get(leaky: Leaky, route: str, token: str) -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.get(f"{leaky.url}/{route}", headers=headers, timeout=20)
