"""README and tutorial, typed as a reader would: files are written, commands are run, outputs are as shown."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path

import psutil
import pytest

from tests.support.eventually import eventually
from tests.support.pages import Block, blocks, section, sections
from tests.support.pipeline import FAST
from tests.support.ports import HOST, free_port
from tests.support.processes import ROOT, Child, headrace_env
from tests.support.terminal import Terminal, lines_of

LOOKING = ("headrace runs", "headrace status", "headrace dead list", "headrace doctor", "wc ", "sort ")
"""Commands that a reader repeats until what they show has happened."""
FAILING = ("grep ",)
"""Commands whose exit status is an answer."""
START = "make run"
"""What is typed into the first terminal, and ended there by Ctrl-C."""
TIMEOUT_S = 40
ID = re.compile(r"\bq\d-[a-z2-7]{8}-\d+-\d+\b")
VARYING = re.compile(
    r"…"
    rf"|{ID.pattern}|\b[0-9a-f]{{16}}\b|(?<= )[a-z2-7]{{8}}(?=-\d)|packet id \d+|deployment \d+"  # names and numbers
    r"|\d{4}-\d\d-\d\dT[\d:.]+Z|\d\d:\d\d:\d\d|\+?\b[\d.]+ (?:ms|s)\b"  # times
)
SHIM = f"""\
#!/bin/sh
exec {sys.executable} -c 'import sys; from shared.cli import main; sys.exit(main())' "$@"
"""


class Reader:
    """Does what a page says, in a folder and with addresses of the test's own."""

    def __init__(self, folder: Path, terminal: Terminal, first: Child, own: Mapping[str, str]) -> None:
        """`first` is what runs in the first terminal; `own`: what stands in the page, and what is taken instead."""
        self._folder = folder
        self._terminal = terminal
        self._first = first
        self._own = own
        self._id = "?"

    def follow(self, text: str) -> None:
        """Each block of a text. What a command prints is compared with the output that is shown after it."""
        if "Press Ctrl-C in the first terminal" in text:
            self._first.send(signal.SIGINT)
            self._first.wait()
        found = blocks(text)
        for block, following in zip(found, [*found[1:], None], strict=True):
            if block.kind == "file":
                path = self._folder / block.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(self._localised(block.text))
            elif block.text.strip() == START:
                self._first.start()
            elif block.kind == "command":
                self._type(block, following if following and following.kind == "output" else None)

    def _type(self, block: Block, shown: Block | None) -> None:
        """What is there to look at is looked at until it is as shown; all else is typed once."""
        lines = [re.sub(r"\bID\b", self._id, line) for line in lines_of(self._localised(block.text))]
        expected = self._localised(shown.text) if shown else ""
        looks = list(takewhile(lambda line: line.startswith(LOOKING), reversed(lines)))[::-1]
        before = self._print(lines[: len(lines) - len(looks)])

        def seen() -> str:
            printed = before + self._print(looks)
            assert missing(expected, printed) == "", printed
            return printed or " "

        if ids := ID.findall(eventually(seen, TIMEOUT_S if looks else 0, interval_s=0.3)):
            self._id = ids[0]

    def _print(self, lines: list[str]) -> str:
        printed = ""
        for line in lines:
            typed = self._terminal.enter(line)
            assert typed.status == 0 or line.startswith(FAILING), f"{line}: status {typed.status}\n{typed.output}"
            printed += typed.output
            if line.startswith("headrace push"):
                eventually(self._all_connected, TIMEOUT_S, interval_s=0.2)
        return printed

    def _all_connected(self) -> bool:
        """Nobody types the next command sooner."""
        status = json.loads(self._terminal.enter("headrace status --json").output)
        return all(session["state"] == "connected" for session in status["sessions"])

    def _localised(self, text: str) -> str:
        for theirs, ours in self._own.items():
            text = text.replace(theirs, ours)
        return text


def missing(expected: str, printed: str) -> str:
    """The first line that is shown and does not come in its turn; empty if all do."""
    rest = iter(printed.splitlines())
    for line in filter(str.strip, expected.splitlines()):
        if not any(pattern(line).fullmatch(seen.strip()) for seen in rest):
            return line
    return ""


def pattern(line: str) -> re.Pattern[str]:
    """What a line that is shown stands for: times, ids and `…` differ from reader to reader, and so do columns."""
    parts = [re.sub(r"(\\ )+", r"\\s+", re.escape(part)) for part in VARYING.split(line.strip())]
    return re.compile(".+?".join(parts))


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """A reader in a folder like a checkout in which `make run` has installed everything, with addresses of its own."""
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "headrace").write_text(SHIM)
    (programs / "headrace").chmod(0o755)
    (programs / "activate").write_text(f'PATH="{programs}:$PATH"\n')
    redis, broker = free_port(), free_port()
    addresses = {"REDIS_URL": f"redis://{HOST}:{redis}/0", "HEADRACE_BROKER": f"mqtt://{HOST}:{broker}"}
    addresses["HEADRACE_CONSOLE__PORT"] = str(free_port())
    env = headrace_env(FAST | addresses)
    env["PATH"] = f"{programs}:{Path(sys.executable).parent}:{env['PATH']}"
    own = {"16379": str(redis), "11883": str(broker), "/tmp/plant": str(tmp_path / "plant")}
    shutil.copy(ROOT / "Procfile", tmp_path)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    resource = tmp_path / "examples/hello/f/demo/broker.resource.yaml"
    resource.write_text(resource.read_text().replace("11883", str(broker)))
    honcho = Child([sys.executable, "-m", "honcho", "start"], tmp_path / "honcho.log", env=env, cwd=tmp_path)
    with honcho, Terminal(tmp_path, env) as terminal:
        yield Reader(tmp_path, terminal, honcho, own)
        for child in psutil.Process(honcho.pid).children(recursive=True) if honcho.running else []:
            child.kill()


def test_the_first_trigger_of_the_readme_works_as_it_is_written(reader: Reader) -> None:
    """Three files, three commands, one run that succeeded."""
    reader.follow(f"```sh\n{START}\n```")
    reader.follow(section(ROOT / "README.md", "Your first trigger in five minutes"))


def test_the_tutorial_works_as_it_is_written(reader: Reader) -> None:
    """From nothing to a trigger that survives kill -9."""
    for text in sections(ROOT / "docs/tutorial/first-trigger.md"):
        reader.follow(text)
