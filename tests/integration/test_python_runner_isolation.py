"""What user code shares with Headrace: nothing but a socket and a pipe. And it never outlives its worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import ConfigError
from tests.support.eventually import eventually
from tests.support.runners import Bench, death, is_ready, result, until
from worker.runners import python
from worker.runners.base import RunnerLimits, RunnerSettings, ScriptFiles
from worker.runners.python import PythonRunner

OURS = Path(python.__file__).resolve().parents[2]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Starts Python runners."""
    bench = Bench(tmp_path / "cache", PythonRunner, ".py")
    yield bench
    bench.close()


def test_a_script_gets_its_own_shared_and_worker(bench: Bench) -> None:
    """Modules beside it and in its workspace win, whatever Headrace's packages are called."""
    source = """
        import shared, worker.tools, f.iot.shared
        def main(payload):
            return [shared.NAME, worker.tools.NAME, f.iot.shared is shared]
    """
    beside = {"f/iot/shared.py": "NAME = 'my shared'", "worker/tools.py": "NAME = 'my worker'"}

    (done,) = bench.run(bench.start(source, beside=beside))

    assert result(done) == ["my shared", "my worker", False]


@pytest.mark.parametrize("name", ["ingest", "dispatch", "worker", "shared", "console", "shared.errors"])
def test_headraces_own_packages_cannot_be_imported(bench: Bench, name: str) -> None:
    """As if they were not installed, even where their folder is on the path."""
    settings = RunnerSettings(interpreter=sys.executable, dependencies=(str(OURS),))
    runner = bench.start(f"def main(payload):\n    import {name}", settings=settings)

    (done,) = bench.run(runner)

    assert done.error is not None
    assert done.error.name == "ModuleNotFoundError"
    assert done.error.message == f"No module named {name.partition('.')[0]!r}"


def test_the_path_holds_what_the_user_gave_and_the_interpreters_own(bench: Bench, tmp_path: Path) -> None:
    """Script, workspace, dependencies, `headrace`, standard library, in this order; not what Headrace itself needs."""
    dependency = tmp_path / "dependencies"
    dependency.mkdir()
    (dependency / "tanks.py").write_text("NAME = 'tanks'")
    settings = RunnerSettings(interpreter=sys.executable, dependencies=(str(dependency),))
    source = "import sys, tanks\npath = list(sys.path)\ndef main(payload): return [path, tanks.NAME]"

    (done,) = bench.run(bench.start(source, settings=settings))

    path, name = result(done)
    root = tmp_path / "cache" / "v0"
    helper = Path(python.__file__).with_name("child")
    stdlib = os.path.dirname(os.__file__)  # noqa: PTH120 - compared with an entry of sys.path
    assert name == "tanks"
    assert path[:4] == [str(root / "f" / "iot"), str(root), str(dependency), str(helper)]
    assert path.index(str(helper)) < path.index(stdlib)
    assert not [entry for entry in path if entry.endswith("-packages")]
    assert str(OURS) not in path
    assert "" not in path


def test_user_code_runs_in_the_interpreter_that_was_configured(bench: Bench, tmp_path: Path) -> None:
    """With the packages of that environment; its *.pth files bring nothing in."""
    folder = tmp_path / "venv"
    venv.create(folder, with_pip=False)
    packages = next(folder.glob("lib/python*/site-packages"))
    (packages / "tanks.py").write_text("NAME = 'tanks'")
    (packages / "headrace.pth").write_text(f"{OURS}\nimport sys; sys.from_pth = True\n")
    settings = RunnerSettings(interpreter=str(folder / "bin" / "python"))
    source = """
        import sys, tanks
        def main(payload): return [sys.prefix, tanks.NAME, hasattr(sys, "from_pth"), sys.path]
    """

    (done,) = bench.run(bench.start(source, settings=settings))

    prefix, name, from_pth, path = result(done)
    assert (prefix, name, from_pth) == (str(folder), "tanks", False)
    assert str(OURS) not in path


def test_modules_are_imported_as_workspaces_write_it(bench: Bench) -> None:
    """By the workspace's path, relatively, and from beside; the script itself under its own name."""
    source = """
        import dataclasses, pickle
        from f.lib.units import CELSIUS
        from ..lib import units
        from .near import HERE
        import near
        @dataclasses.dataclass
        class Reading:
            t: float
        def main(payload):
            return [CELSIUS, units.CELSIUS, HERE, near.HERE, pickle.loads(pickle.dumps(Reading(1.5))).t, __name__]
    """
    beside = {"f/lib/units.py": "CELSIUS = 'C'", "f/iot/near.py": "HERE = 'near'"}

    (done,) = bench.run(bench.start(source, beside=beside))

    assert result(done) == ["C", "C", "near", "near", 1.5, "f.iot.on_temp"]


@pytest.mark.parametrize("entry", ["json", "on-temp", "f/iot/2026", "headrace_child"])
def test_a_script_may_have_any_name(bench: Bench, entry: str) -> None:
    """Also one that is a module's already, or no identifier."""
    runner = bench.start("def main(payload: bytes): return payload.decode()", entry=entry)

    assert result(bench.run(runner, b"a")[0]) == "a"


def test_the_environment_is_scrubbed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """No address, no secret, no PYTHONPATH of ours; what the settings give is there."""
    monkeypatch.setenv("REDIS_URL", "redis://:secret@host")
    monkeypatch.setenv("HEADRACE_SECRET", "secret")
    monkeypatch.setenv("PYTHONPATH", str(OURS))
    monkeypatch.setenv("LC_TIME", "C")
    settings = RunnerSettings(interpreter=sys.executable, environment={"WM_WORKSPACE": "plant"})
    runner = bench.start("import os\ndef main(payload): return dict(os.environ)", settings=settings)

    seen = result(bench.run(runner)[0])

    assert "secret" not in str(seen)
    assert set(seen) <= {"PATH", "HOME", "LANG", "TZ", "TMPDIR", "LC_TIME", "LC_ALL", "LC_CTYPE", "WM_WORKSPACE"}
    assert seen["PATH"] == os.environ["PATH"]
    assert seen["WM_WORKSPACE"] == "plant"


def test_a_child_stands_apart(bench: Bench) -> None:
    """Its own session and group below its keeper, no new privileges, no descriptor that its programs inherit."""
    source = """
        import os, subprocess
        def main(payload):
            status = dict(line.split(":", 1) for line in open("/proc/self/status"))
            command = ["ls", "/proc/self/fd"]
            inherited = subprocess.run(command, capture_output=True, text=True, close_fds=False).stdout.split()
            return [os.getpid(), os.getsid(0), os.getpgrp(), status["NoNewPrivs"].strip(), len(inherited)]
    """
    runner = bench.start(source)

    pid, session, group, no_new_privileges, inherited = result(bench.run(runner)[0])

    assert pid == session == group == runner.pid
    assert no_new_privileges == "1"
    assert inherited == 4  # stdin, stdout, stderr, and the folder that ls reads


def test_a_script_works_in_a_folder_of_its_own(bench: Bench, tmp_path: Path) -> None:
    """Empty at first, kept from run to run, gone with the runner; the script's own folder stays as it was."""
    source = """
        import os
        def main(payload):
            before = os.listdir()
            open("state.txt", "w").close()
            return [os.getcwd(), before]
    """
    runner = bench.start(source)

    first, second = (result(done) for done in bench.run(runner, b"", b""))
    runner.close()

    assert (first[1], second[1]) == ([], ["state.txt"])
    assert not Path(first[0]).exists()
    assert not list((tmp_path / "cache").rglob("state.txt"))


ORPHAN = """
import sys, time
sys.path.insert(0, {ours!r})
from worker.runners.base import RunCall, RunnerLimits, ScriptFiles
from worker.runners.python import PythonRunner
runner = PythonRunner(ScriptFiles("v", {root!r}, {entry!r}), RunnerLimits())
runner.start()
{then}
print(runner.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    "then",
    ["", "runner.poll(20)", "runner.poll(20); runner.send([RunCall('q1-a-1-1', b''), RunCall('q1-a-1-2', b'')])"],
    ids=["while it starts", "while it waits", "while a run executes"],
)
def test_a_child_dies_with_a_worker_that_is_killed(tmp_path: Path, then: str) -> None:
    """A kill -9 of the worker leaves no user code behind, whatever the child is doing."""
    script = tmp_path / "script.py"
    script.write_text("import time\ndef main(payload): time.sleep(600)")
    source = ORPHAN.format(ours=str(OURS), root=str(tmp_path), entry=str(script), then=then)
    scratch = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, env=scratch) as worker:
        assert worker.stdout is not None
        child = int(worker.stdout.readline())

        worker.send_signal(signal.SIGKILL)
        worker.wait()

    eventually(lambda: gone(child))


def gone(pid: int) -> bool:
    """Whether a process has ended; one that only waits to be reaped by init has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_child_that_another_process_started_is_none(tmp_path: Path, bench: Bench) -> None:
    """A child whose parent died before it could tie itself to it ends at once."""
    runner = bench.start("def main(payload): pass")
    until(runner, is_ready)
    assert runner.pid is not None
    arguments = Path(f"/proc/{runner.pid}/cmdline").read_text().rstrip("\0").split("\0")
    orphan = [part.replace(f'"parent":{os.getpid()}', '"parent":1') for part in arguments]

    ended = subprocess.run(orphan, check=False, cwd=tmp_path, capture_output=True)

    assert (ended.returncode, ended.stderr) == (1, b"")


def test_an_interpreter_that_does_not_exist_is_a_matter_of_configuration(bench: Bench) -> None:
    """The error names it, and nothing is left behind."""
    with pytest.raises(ConfigError, match="/no/such/python"):
        bench.start("def main(payload): pass", settings=RunnerSettings(interpreter="/no/such/python"))


def test_an_interpreter_that_is_no_python_dies_before_it_is_ready(bench: Bench) -> None:
    """What it said is in the report."""
    runner = bench.start("def main(payload): pass", settings=RunnerSettings(interpreter="/bin/false"))

    died = death(runner)

    assert (died.returncode, died.current) == (1, None)


def test_runners_leave_no_descriptors_behind(bench: Bench) -> None:
    """However they end."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the count is all
    for source in ("def main(payload): pass", "import no_such_module", "import os; os._exit(1)"):
        runner = bench.start(source)
        until(runner, bool) if "_exit" not in source else death(runner)
        runner.close()
    bench.start("def main(payload): pass").kill()

    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above


def test_limits_without_memory_leave_the_address_space_alone(bench: Bench) -> None:
    """No limit is the default."""
    source = "import resource\ndef main(payload): return resource.getrlimit(resource.RLIMIT_AS)[0]"

    unlimited = result(bench.run(bench.start(source))[0])
    limited = result(bench.run(bench.start(source, limits=RunnerLimits(memory_bytes=2**30)))[0])

    assert (unlimited, limited) == (-1, 2**30)


def test_script_files_say_where_a_script_lies() -> None:
    """As given: a runner resolves nothing."""
    assert ScriptFiles("v", "/a", "/a/b.py") == ScriptFiles("v", "/a", "/a/b.py", has_preprocessor=False)
