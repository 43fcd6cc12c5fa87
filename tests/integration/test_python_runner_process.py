"""How scripts crash, what they start, and what they write: none of it harms the runs around them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.runners import Bench, call, death, result, until
from worker.runners.base import RunnerDied, RunnerLimits
from worker.runners.python import PythonRunner

MIB = 1024 * 1024


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Starts Python runners."""
    bench = Bench(tmp_path / "cache", PythonRunner, ".py")
    yield bench
    bench.close()


# --- crashes --------------------------------------------------------------------------------------------------------


def test_a_segmentation_fault_is_reported_with_what_was_printed(bench: Bench) -> None:
    """Python's own account of it is in the tail, the last print() in the log."""
    runner = bench.start("""
        import ctypes
        def main(payload):
            print("about to fall")
            ctypes.string_at(0)
    """)
    runner.send([call("q1-abcdefgh-1-1")])

    died = death(runner)

    assert (died.signal, died.out_of_memory) == ("SIGSEGV", False)
    assert died.cause == "was ended by SIGSEGV"
    assert died.log.startswith("about to fall\n")
    assert "Segmentation fault" in died.stderr_tail


def test_what_a_run_printed_is_known_after_a_kill(bench: Bench, tmp_path: Path) -> None:
    """A run that is ended for its time-out keeps its log."""
    note = tmp_path / "note"
    runner = bench.start(f"""
        import pathlib, time, os
        def main(payload):
            print("step 1")
            os.write(2, b"step 2\\n")
            pathlib.Path({str(note)!r}).touch()
            time.sleep(600)
    """)
    runner.send([call("q1-abcdefgh-1-1")])
    until(runner, lambda _events: note.exists())

    died = runner.kill()[-1]

    assert isinstance(died, RunnerDied)
    assert died.log == "step 1\nstep 2\n"


def test_memory_is_bounded(bench: Bench) -> None:
    """Over the limit is a MemoryError of the run that asked for it; the next one has room again."""
    runner = bench.start(
        "def main(payload: bytes): return len(bytearray(int(payload)))", limits=RunnerLimits(memory_bytes=512 * MIB)
    )

    large, small = bench.run(runner, str(1024 * MIB).encode(), b"1000")

    assert large.error is not None
    assert large.error.name == "MemoryError"
    assert result(small) == 1000


def test_garbage_on_the_runners_socket_ends_the_runner_only(bench: Bench) -> None:
    """A script that writes to every descriptor it finds cannot forge an answer."""
    runner = bench.start("""
        import os, stat
        def main(payload):
            for fd in range(3, 64):
                try:
                    if stat.S_ISSOCK(os.fstat(fd).st_mode):
                        os.write(fd, b"\\xff" * 64)
                except OSError:
                    pass
    """)
    runner.send([call("q1-abcdefgh-1-1")])

    died = death(runner)

    assert "socket" in died.cause
    assert died.unanswered == ("q1-abcdefgh-1-1",)


def test_an_answer_to_another_run_is_no_answer(bench: Bench) -> None:
    """Frames that are well formed but out of turn end the runner too."""
    forged = '{"id":"q2-abcdefgh-1-99"}'
    runner = bench.start(f"""
        import os, stat, struct
        def main(payload):
            for fd in range(3, 64):
                try:
                    if stat.S_ISSOCK(os.fstat(fd).st_mode):
                        os.write(fd, struct.pack("<II", {len(forged)}, 0) + {forged.encode()!r})
                except OSError:
                    pass
    """)
    runner.send([call("q1-abcdefgh-1-1")])

    died = death(runner)

    assert "socket" in died.cause
    assert died.unanswered == ("q1-abcdefgh-1-1",)


def test_a_script_that_closes_every_descriptor_is_ended(bench: Bench) -> None:
    """As programs do that want to become daemons."""
    runner = bench.start("import os, time\ndef main(payload): os.closerange(0, 256); time.sleep(600)")
    runner.send([call("q1-abcdefgh-1-1")])

    died = death(runner)

    assert died.current == "q1-abcdefgh-1-1"
    assert "socket" in died.cause
    assert not died.out_of_memory


def test_the_exit_status_is_the_scripts_own(bench: Bench) -> None:
    """Also when the end of the socket is seen before the end of the process."""
    runner = bench.start("""
        import os, time
        def main(payload):
            os.closerange(3, 256)
            time.sleep(0.1)
            os._exit(5)
    """)
    runner.send([call("q1-abcdefgh-1-1")])

    assert death(runner).cause == "ended itself with exit status 5"


# --- processes and threads of the script ----------------------------------------------------------------------------


def test_a_fork_that_returns_from_main_answers_nothing(bench: Bench) -> None:
    """One run, one answer: from the process that was asked."""
    runner = bench.start("""
        import os
        def main(payload):
            child = os.fork()
            if child == 0:
                return "child"
            os.waitpid(child, 0)
            return "parent"
    """)

    assert [result(done) for done in bench.run(runner, b"", b"")] == ["parent", "parent"]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing_works(bench: Bench, method: str) -> None:
    """Functions of the script are found by the processes that it starts, and what those print is in the log."""
    runner = bench.start(f"""
        import multiprocessing
        def square(n):
            print("squaring", n, flush=True)
            return n * n
        def main(payload):
            with multiprocessing.get_context({method!r}).Pool(1) as pool:
                return pool.map(square, [1, 2, 3])
    """)

    (done,) = bench.run(runner, b"")

    assert result(done) == [1, 4, 9]
    assert "squaring 3\n" in done.log


def test_threads_left_behind_do_not_hold_up_the_end(bench: Bench) -> None:
    """Neither the next run nor the end of the runner."""
    runner = bench.start("""
        import threading, time
        def main(payload):
            threading.Thread(target=time.sleep, args=[600]).start()
            return threading.active_count()
    """)

    first, second = bench.run(runner, b"", b"")
    runner.close(grace_s=10)

    assert (result(first), result(second)) == (2, 3)


def test_globals_stay_from_run_to_run(bench: Bench) -> None:
    """That is what a warm runner is for: connections stay open."""
    runner = bench.start("""
        seen = []
        def main(payload: bytes):
            seen.append(payload.decode())
            return seen
    """)

    assert [result(done) for done in bench.run(runner, b"a", b"b")] == [["a"], ["a", "b"]]


def test_exit_handlers_run_when_the_runner_is_closed(bench: Bench, tmp_path: Path) -> None:
    """So that a script can give back what it holds."""
    note = tmp_path / "note"
    runner = bench.start(f"""
        import atexit, pathlib
        atexit.register(lambda: pathlib.Path({str(note)!r}).write_text("closed"))
        def main(payload): pass
    """)
    bench.run(runner, b"")

    runner.close(grace_s=10)

    assert note.read_text() == "closed"


# --- logs -----------------------------------------------------------------------------------------------------------


def test_everything_that_a_script_writes_is_its_log(bench: Bench) -> None:
    """print, stderr, bytes, logging and warnings in their order, then what went past them."""
    runner = bench.start("""
        import logging, os, subprocess, sys, warnings
        def main(payload):
            os.write(1, b"raw\\n")
            subprocess.run(["echo", "from a program"])
            print("printed")
            print("to stderr", file=sys.stderr)
            sys.stdout.buffer.write("Grüße\\n".encode())
            logging.warning("logged")
            warnings.warn("warned")
            print("lone \\ud800")
    """)

    (done,) = bench.run(runner)

    lines = done.log.splitlines()
    assert lines[:4] == ["printed", "to stderr", "Grüße", "WARNING:root:logged"]
    assert any("UserWarning: warned" in line for line in lines)
    assert lines[-3:] == ["lone \\ud800", "raw", "from a program"]


def test_raw_output_belongs_to_the_run_that_wrote_it(bench: Bench) -> None:
    """Also when a batch is executed faster than anybody reads."""
    runner = bench.start("import os\ndef main(payload: bytes): os.write(1, payload)")
    payloads = [f"run {number}\n".encode() for number in range(100)]

    done = bench.run(runner, *payloads)

    assert [one.log for one in done] == [payload.decode() for payload in payloads]


def test_a_script_that_redirects_its_output_is_brought_back(bench: Bench) -> None:
    """What one run puts in place of sys.stdout, or closes, does not silence the next."""
    runner = bench.start("""
        import io, sys
        def main(payload: bytes):
            print("heard")
            sys.stdout.close()
            sys.stdout = io.StringIO()
            print("unheard")
    """)

    assert [done.log for done in bench.run(runner, b"", b"")] == ["heard\n", "heard\n"]


def test_the_streams_are_what_libraries_expect(bench: Bench) -> None:
    """Encoding, descriptor and reconfigure() as of a terminal's streams."""
    runner = bench.start("""
        import sys
        def main(payload):
            out = sys.stdout
            out.reconfigure(line_buffering=True)
            return [out.encoding, out.fileno(), sys.stderr.fileno(), out.isatty(), sys.stdin.read()]
    """)

    assert result(bench.run(runner)[0]) == ["utf-8", 1, 2, False, ""]


def test_what_is_printed_while_loading_opens_the_first_log(bench: Bench) -> None:
    """And no later one."""
    runner = bench.start("print('loaded')\ndef main(payload: bytes): print(payload.decode())")

    assert [done.log for done in bench.run(runner, b"1", b"2")] == ["loaded\n1\n", "2\n"]
