"""A real worker, and what a deployment says about its scripts: payload forms, references, secrets, limits."""

from __future__ import annotations

import contextlib
import zlib
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from shared import keys
from shared.config import Settings
from shared.create_runs import make_run
from shared.definitions import Resource, Trigger, Variable, encode_definition
from shared.envelope import encode_envelope
from shared.scripts import operate
from shared.secrets import SecretBox
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import NOW_ISO, NOW_MS, make_envelope, make_trigger
from tests.support.ingest import deploy_all
from tests.support.processes import HeadraceProcess
from tests.support.workers import FAST, SCRIPT, deploy, last_attempt, queue_runs, states

StartProcess = Callable[..., HeadraceProcess]
KEY = {"HEADRACE_SECRET_KEY": "0123456789abcdef0123456789abcdef"}
SECRET = 'hunter"2\nand more'
SHOWS = """
    import sys
    def main(db, plain):
        print("got", db, plain)
        print(db["password"], file=sys.stderr)
        if plain == "fail":
            error = ValueError(f"refused: {db['password']}")
            error.tried = [db]
            raise error
        return {"db": db, "length": len(db["password"]), db["password"]: plain}
"""


@pytest.fixture
def worker(headrace: StartProcess, redis_url: str) -> HeadraceProcess:
    """A worker that is ready."""
    return headrace("worker", REDIS_URL=redis_url, **FAST, **KEY).wait_ready()


def deploy_values(store: Store, **secrets: str) -> None:
    """One more deployment: these secret variables, and a resource that refers to the first of them."""
    box = SecretBox.load(Settings(), create=False, env=KEY)
    sealed = [Variable(f"f/t/{name}", box.seal(f"f/t/{name}", text), is_secret=True) for name, text in secrets.items()]
    password = f"$var:{sealed[0].path}"
    deploy_all(store, *sealed, Resource("f/t/db", "postgresql", {"host": "db", "password": password}))


def run_with(store: Store, version: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """What comes of a run with these arguments."""
    run = make_run(SCRIPT, version, 60, msgspec.json.encode(arguments), "api")
    store.run(operate.create_runs([run], NOW_ISO, NOW_MS * 1000))
    return outcome(store, run.id)


def outcome(store: Store, run_id: str) -> dict[str, Any]:
    """Its last attempt, once it has ended."""
    eventually(lambda: states(store, run_id)[0] in ("succeeded", "failed"))
    return last_attempt(store, run_id)


def grep(store: Store, text: str) -> list[bytes]:
    """The keys that hold this text, also where RQ packs it."""
    return [key for key in store.command("KEYS", "*") if any(text.encode() in part for part in unpacked(store, key))]


def unpacked(store: Store, key: bytes) -> Iterator[bytes]:
    """Everything in a key, as it is and unpacked."""
    read: dict[bytes, tuple[str, ...]] = {
        b"hash": ("HGETALL",),
        b"list": ("LRANGE", "0", "-1"),
        b"set": ("SMEMBERS",),
        b"zset": ("ZRANGE", "0", "-1"),
        b"stream": ("XRANGE", "-", "+"),
        b"string": ("GET",),
    }
    verb, *span = read[store.command("TYPE", key)]
    for value in leaves(store.command(verb, key, *span)):
        yield value
        with contextlib.suppress(ValueError):
            raw = b64decode(value, validate=True)
            yield raw
            with contextlib.suppress(zlib.error):
                yield zlib.decompress(raw)


def leaves(reply: Any) -> Iterator[bytes]:
    """The texts of a reply."""
    if isinstance(reply, bytes):
        yield reply
    elif isinstance(reply, dict):
        yield from leaves(list(reply.items()))
    elif isinstance(reply, list | tuple | set):
        for part in reply:
            yield from leaves(part)


def test_arguments_are_resolved_when_the_run_starts_and_secrets_masked_when_it_ends(
    store: Store, worker: HeadraceProcess
) -> None:
    """The code gets the value; result, log and error show none, nor does any key of Redis or the worker's own log."""
    deploy_values(store, password=SECRET)
    version = deploy(store, SHOWS)

    done = run_with(store, version, {"db": "$res:f/t/db", "plain": "$5"})
    failed = run_with(store, version, {"db": "$res:f/t/db", "plain": "fail"})

    assert done["result"] == {"db": {"host": "db", "password": "***"}, "length": len(SECRET), "***": "$5"}
    assert done["log"] == "got {'host': 'db', 'password': '***'} $5\n***\n"
    assert failed["error"]["message"] == "refused: ***"
    assert failed["error"]["extra"] == {"tried": [{"host": "db", "password": "***"}]}
    assert grep(store, "refused: ***") != []
    for piece in ("hunter", "and more"):
        assert grep(store, piece) == []
        assert piece not in failed["traceback"] + worker.output


def test_a_secret_is_masked_soon_after_it_was_deployed_and_for_good(store: Store, worker: HeadraceProcess) -> None:
    """The worker follows the deployment; what was replaced may still be in somebody's memory."""
    version = deploy(store, "def main(a, b): return a + b")
    deploy_values(store, password="first-secret")

    def shown() -> Any:
        return run_with(store, version, {"a": "first-", "b": "secret"})["result"]

    eventually(lambda: shown() == "***")
    deploy_values(store, password="second-secret")
    eventually(lambda: run_with(store, version, {"a": "second-", "b": "secret"})["result"] == "***")
    assert shown() == "***"
    assert worker.running


def test_a_reference_that_leads_nowhere_fails_the_run_before_any_code(store: Store, worker: HeadraceProcess) -> None:
    """The error names it; the runs beside it are executed."""
    version = deploy(store, "def main(db): print('executed')\n")

    failed = run_with(store, version, {"db": "$res:f/t/nowhere"})

    assert failed["error"]["name"] == "UnknownReference"
    assert failed["error"]["message"] == "nothing was executed: there is no resource f/t/nowhere"
    assert failed.get("log", "") == ""
    assert run_with(store, version, {"db": 1})["log"] == "executed\n"
    assert worker.running


def test_a_worker_without_the_right_key_says_so_and_runs_what_needs_none(
    store: Store, headrace: StartProcess, redis_url: str
) -> None:
    """Secrets fail the runs that refer to them."""
    deploy_values(store, password=SECRET)
    other = headrace("worker", REDIS_URL=redis_url, HEADRACE_SECRET_KEY="another key of some length").wait_ready()
    version = deploy(store, "def main(db): return db")

    failed = run_with(store, version, {"db": "$res:f/t/db"})

    assert failed["error"]["name"] == "SecretError"
    assert "the secret f/t/password cannot be opened" in failed["error"]["message"]
    assert run_with(store, version, {"db": 1})["result"] == 1
    assert "Secrets cannot be opened" in other.output or "secrets_unreadable" in other.output


def test_the_trigger_says_in_which_form_main_gets_the_payload(store: Store, worker: HeadraceProcess) -> None:
    """By the version of the trigger that the envelope names."""
    trigger: Trigger = make_trigger(payload="json")
    trigger_version, blob = encode_definition(trigger)
    store.command("HSET", keys.DEFINITIONS, trigger_version, blob)
    version = deploy(store, "def main(payload): return payload")
    message = make_envelope(trigger_version=trigger_version, payload=b'{"t":21.5}')
    queue_runs(store, version, "q1-s-1-1", envelope=encode_envelope(message))
    queue_runs(store, version, "q1-s-2-1", payload=b"21.5")

    assert outcome(store, "q1-s-1-1")["result"] == {"t": 21.5}
    assert outcome(store, "q1-s-2-1")["result"] == "MjEuNQ=="
    assert worker.running


def test_a_fresh_script_gets_a_process_for_each_run(store: Store, worker: HeadraceProcess, tmp_path: Path) -> None:
    """Also in a batch, and nothing is begun in a process that ends; a crash harms only its own run."""
    begun = tmp_path / "begun"
    source = f"""
        import os
        runs = []
        def main(payload: bytes):
            with open({str(begun)!r}, "a") as file:
                file.write("one more\\n")
            runs.append(payload)
            if payload == b"crash":
                os._exit(1)
            return [len(runs), os.getpid()]
        """
    version = deploy(store, source, isolation="fresh")
    run_ids = [f"q1-s-1-{number}" for number in range(5)]
    queue_runs(store, version, *run_ids)
    queue_runs(store, version, "q0-s-2-1", payload=b"crash")

    results = [outcome(store, run_id)["result"] for run_id in run_ids]

    assert [count for count, _ in results] == [1] * 5
    assert len({pid for _, pid in results}) == 5
    eventually(lambda: states(store, "q0-s-2-1") == ["lost"])
    assert len(begun.read_text().splitlines()) == 6
    assert worker.running


def test_a_script_has_limits_of_its_own(store: Store, worker: HeadraceProcess) -> None:
    """Memory and output; another script of the same worker has the worker's."""
    source = """
        def main(n):
            print("x" * n)
            return len(bytes(1024 * 1024 * 1024))
        """
    small = run_with(store, deploy(store, source, memory_mib=200, output_bytes=100), {"n": 200})
    large = run_with(store, deploy(store, source), {"n": 200})
    result = run_with(store, deploy(store, "def main(): return 'x' * 200", output_bytes=100), {})

    assert small["error"]["name"] == "MemoryError"
    assert small["log"] == "x" * 100 + "\n[log truncated: 101 bytes dropped]\n"
    assert (large["result"], len(large["log"])) == (1024 * 1024 * 1024, 201)
    assert result["error"]["name"] == "ResultTooLarge"
    assert worker.running


def test_a_run_finds_where_and_who_it_is(store: Store, worker: HeadraceProcess) -> None:
    """Windmill's variables, and nothing of the worker's own environment."""
    version = deploy(store, "import os\ndef main(payload): return dict(os.environ)")
    queue_runs(store, version, "q1-s-1-1")

    found = outcome(store, "q1-s-1-1")["result"]

    assert found["WM_JOB_ID"] == "q1-s-1-1"
    assert found["WM_TOKEN"] == "***"  # it is there, and not shown
    assert found["WM_STATE_PATH_NEW"] == f"{SCRIPT}/f.demo.hello"
    assert (found["WM_WORKSPACE"], found["WM_JOB_PATH"]) == ("headrace", SCRIPT)
    assert found["BASE_INTERNAL_URL"] == "http://127.0.0.1:18080"
    assert not [name for name in found if name.startswith("HEADRACE_") or name == "REDIS_URL"]
    assert KEY["HEADRACE_SECRET_KEY"] not in str(found)
    assert worker.running


def test_a_keeper_that_is_killed_leaves_no_program_behind(
    store: Store, worker: HeadraceProcess, tmp_path: Path
) -> None:
    """Neither one beside the code nor one that has gone away; and the worker collects no dead processes."""
    note = tmp_path / "note"
    script = f"""
        import os, subprocess, time
        def main(payload: bytes):
            if payload == b"hold":
                beside = subprocess.Popen(["sleep", "600"])
                away = subprocess.Popen(["sh", "-c", "setsid sleep 600 >&2 & echo $!"], stdout=-1, text=True)
                with open({str(note)!r} + ".new", "w") as file:
                    file.write(f"{{beside.pid}} {{away.communicate()[0]}}")
                os.rename({str(note)!r} + ".new", {str(note)!r})
                time.sleep(600)
        """
    version = deploy(store, script)
    queue_runs(store, version, "q0-s-1-1", payload=b"hold")
    programs = [psutil.Process(int(pid)) for pid in eventually(lambda: note.exists() and note.read_text()).split()]
    (keeper,) = psutil.Process(worker.pid).children()

    keeper.kill()
    queue_runs(store, version, "q0-s-2-1")

    eventually(lambda: states(store, "q0-s-1-1", "q0-s-2-1") == ["lost", "succeeded"])
    eventually(lambda: not any(program.is_running() for program in programs))
    assert len(psutil.Process(worker.pid).children()) == 1
