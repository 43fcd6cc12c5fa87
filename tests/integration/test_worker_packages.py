"""Packages in runs: a worker has them before the first message where it can, and waits for them where it must."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared import keys
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.processes import HeadraceProcess
from tests.support.wheels import PackageFolder
from tests.support.workers import FAST, LEASE_MS, SCRIPT, claims_left, deploy, last_attempt, queue_runs, states

StartProcess = Callable[..., HeadraceProcess]
SOURCE = "import tank, pump\ndef main(payload): return [tank.LITRES, pump.__file__]\n"
LOCK = "pump==1.0\ntank==1.0"
WAIT = "[__import__('time').sleep(0.02) for _ in iter(lambda: os.path.exists({!r}), True)]"


@pytest.fixture
def packages(tmp_path: Path) -> PackageFolder:
    """What the worker's uv can have."""
    packages = PackageFolder(tmp_path / "packages")
    packages.add("tank", "1.0", "LITRES = 1000")
    packages.add("pump", "1.0", "")
    return packages


@pytest.fixture
def start(headrace: StartProcess, redis_url: str, packages: PackageFolder) -> Callable[[], HeadraceProcess]:
    """Starts a worker."""
    return lambda: headrace("worker", REDIS_URL=redis_url, **FAST, **packages.environment).wait_ready()


def outcome(store: Store, run_id: str, timeout_s: float = 20) -> dict[str, Any]:
    """The run's last attempt, once it has ended."""
    eventually(lambda: states(store, run_id)[0] in ("succeeded", "failed"), timeout_s)
    return last_attempt(store, run_id)


def environments(tmp_path: Path) -> list[Path]:
    """Those that are complete."""
    return [path for path in (tmp_path / ".headrace/cache/envs").glob("*/lib") if not path.parent.name.startswith(".")]


def test_a_run_waits_for_the_packages_of_its_script(store: Store, start: Callable[[], HeadraceProcess]) -> None:
    """Several scripts with one lock share them; the next run finds them there."""
    start()
    version = deploy(store, SOURCE, lock=LOCK)
    other = deploy(store, SOURCE + "# another\n", lock=LOCK)
    queue_runs(store, version, "q1-s-1-1", "q1-s-1-2")
    queue_runs(store, other, "q2-s-2-1")

    found = [outcome(store, run_id)["result"] for run_id in ("q1-s-1-1", "q1-s-1-2", "q2-s-2-1")]

    assert {litres for litres, _ in found} == {1000}
    assert len({os.path.dirname(file) for _, file in found}) == 1  # noqa: PTH120 - a text from another process


def test_a_worker_makes_environments_ahead_of_the_first_message(
    store: Store, start: Callable[[], HeadraceProcess], tmp_path: Path
) -> None:
    """As soon as a script is deployed, and when it starts."""
    store.command("HSET", keys.DEPLOYED, f"script:{SCRIPT}", deploy(store, SOURCE, lock=LOCK))
    store.command("HSET", keys.DEPLOYMENT, "number", 1)
    start()
    eventually(lambda: len(environments(tmp_path)) == 1)

    store.command("HSET", keys.DEPLOYED, f"script:{SCRIPT}", deploy(store, SOURCE, lock="tank==1.0"))
    store.command("HSET", keys.DEPLOYMENT, "number", 2)
    eventually(lambda: len(environments(tmp_path)) == 2)


def test_packages_that_cannot_be_had_fail_the_runs_of_their_script_alone(
    store: Store, start: Callable[[], HeadraceProcess]
) -> None:
    """With uv's reason, before any code."""
    worker = start()
    version = deploy(store, "def main(payload): print('executed')", lock="valve==7")
    queue_runs(store, version, "q1-s-1-1", "q1-s-1-2")
    queue_runs(store, deploy(store, "def main(payload): return 1"), "q1-s-2-1")

    failed = [outcome(store, run_id) for run_id in ("q1-s-1-1", "q1-s-1-2")]

    assert {each["error"]["name"] for each in failed} == {"PackagesMissing"}
    message = (
        "nothing was executed: packages cannot be installed: valve was not found in the provided package locations"
    )
    assert {each["error"]["message"] for each in failed} == {message}
    assert outcome(store, "q1-s-2-1")["result"] == 1
    assert "environment.failed" in worker.output or "cannot be installed" in worker.output


def test_a_worker_that_waits_keeps_its_lease_and_gives_back_what_else_it_holds(
    store: Store, start: Callable[[], HeadraceProcess], packages: PackageFolder, tmp_path: Path
) -> None:
    """Another worker takes that meanwhile; nobody takes the run that waits."""
    gate = tmp_path / "gate"
    packages.add_unbuildable("slow", "1.0", raising=WAIT.format(str(gate)))
    slow = deploy(store, "def main(payload): return 1", lock="slow==1.0")
    quick = deploy(store, "def main(payload): return 2")
    queue_runs(store, slow, "q1-s-1-1")
    queue_runs(store, quick, "q1-s-2-1", "q1-s-2-2")
    start()
    eventually(lambda: claims_left(store) > 0)
    start()

    assert [outcome(store, run_id)["result"] for run_id in ("q1-s-2-1", "q1-s-2-2")] == [2, 2]
    names = [name.decode() for name in store.command("SMEMBERS", keys.WORKERS)]
    began = store.command("TIME")[0]
    eventually(lambda: int(store.command("TIME")[0]) - int(began) > 3 * LEASE_MS / 1000)
    assert [store.command("EXISTS", keys.worker(name)) for name in names] == [1, 1]
    assert states(store, "q1-s-1-1") == ["queued"]
    gate.touch()
    assert outcome(store, "q1-s-1-1")["error"]["name"] == "PackagesMissing"


def test_a_worker_that_waits_for_packages_stops_when_asked_to(
    store: Store, start: Callable[[], HeadraceProcess], packages: PackageFolder
) -> None:
    """The run goes back into the queue, and no uv is left behind."""
    packages.add_unbuildable("slow", "1.0", raising="__import__('time').sleep(3600)")
    worker = start()
    queue_runs(store, deploy(store, "def main(payload): return 1", lock="slow==1.0"), "q1-s-1-1")
    eventually(lambda: store.command("LLEN", keys.RQ_QUEUE) == 0)

    assert worker.sigterm() == 0
    assert states(store, "q1-s-1-1") == ["queued"]
    assert store.command("LLEN", keys.RQ_QUEUE) == 1


def test_packages_of_scripts_and_of_headrace_do_not_see_each_other(
    store: Store, start: Callable[[], HeadraceProcess], packages: PackageFolder
) -> None:
    """What Headrace needs cannot be imported; a package of the same name is the user's own."""
    packages.add("msgspec", "99.0", "OURS = False")
    worker = start()
    queue_runs(store, deploy(store, "def main(payload):\n    import msgspec"), "q1-s-1-1")
    source = "import msgspec, sys\ndef main(payload): return [msgspec.OURS, 'redis' in sys.modules]"
    queue_runs(store, deploy(store, source, lock="msgspec==99.0"), "q1-s-2-1")

    assert outcome(store, "q1-s-1-1")["error"]["message"] == "No module named 'msgspec'"
    assert outcome(store, "q1-s-2-1")["result"] == [False, False]
    assert worker.running


def test_a_compiled_package_from_the_index_runs(store: Store, headrace: StartProcess, redis_url: str) -> None:
    """A C extension, as uv's own settings find it."""
    headrace("worker", REDIS_URL=redis_url, **FAST).wait_ready()
    source = "import markupsafe._speedups as c\ndef main(payload): return [c.__file__.rpartition('.')[2], c.__name__]"
    queue_runs(store, deploy(store, source, lock="markupsafe==3.0.2"), "q1-s-1-1")

    assert outcome(store, "q1-s-1-1", 60)["result"] == ["so", "markupsafe._speedups"]
