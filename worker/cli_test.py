"""`headrace test`: the tests beside scripts and flows, on this machine, without Redis and without a broker."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from shared.cli_common import as_json, settings
from shared.errors import UserError
from shared.workspace.layout import TESTS, is_looked_at
from shared.workspace.problems import Problems

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.testing.cases import Suite
    from worker.testing.run import Verdict


@click.command("test")
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--dir", "folder", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR",
              default=".", help="The workspace folder; this one if it is not given.")  # fmt: skip
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the verdicts as JUnit XML too, for a CI system.")  # fmt: skip
@click.option("--json", "json_output", is_flag=True, help="Print one JSON object.")
def run_tests(paths: tuple[str, ...], *, folder: Path, junit: Path | None, json_output: bool) -> int:
    """Run the tests in files *.test.yaml of a workspace folder, each beside the script or flow that it is about.

    A PATH is that of a script or flow, of a folder of the workspace, or of a file with tests; without one all tests
    are run. Nothing is deployed, and neither Redis nor a broker is needed; sleeps, and the times before retries, are
    not waited for. Exit status 1 if a test fails, or there is none.
    """
    from worker.catalog import of_folder
    from worker.here import Here
    from worker.testing import report
    from worker.testing.run import Examiner

    began = time.monotonic()
    suites = _read(folder, paths)
    own = settings()
    catalog = of_folder(folder, own, lambda text: click.echo(text, err=True), {suite.path for suite in suites})
    verdicts: list[Verdict] = []
    with tempfile.TemporaryDirectory(prefix="headrace-test-") as files, Here(own, Path(files)) as here:
        tester = Examiner(catalog, here, own)
        for suite in suites:
            if not json_output:
                click.echo(suite.file)
            for case in suite.cases:
                verdicts.append(tester.verdict(suite, case))
                if not json_output:
                    click.echo("\n".join(report.lines(verdicts[-1], catalog)))
                    sys.stdout.flush()
    failed = sum(not verdict.passed for verdict in verdicts)
    if junit is not None:
        junit.write_bytes(report.junit(verdicts, catalog))
    if json_output:
        tests = [msgspec.to_builtins(verdict) | {"passed": verdict.passed} for verdict in verdicts]
        click.echo(as_json({"passed": len(verdicts) - failed, "failed": failed, "tests": tests}))
    else:
        click.echo(report.summary(verdicts, (time.monotonic() - began) * 1000))
    return 1 if failed else 0


def _read(folder: Path, paths: Sequence[str]) -> list[Suite]:
    """The tests that are meant. Raises UserError where there are none, WorkspaceError for files that are wrong."""
    from worker.testing.cases import beside, read_suite

    found = sorted(file.relative_to(folder).as_posix() for file in folder.rglob(f"*{TESTS}"))
    files = [file for file in found if is_looked_at(file)]
    chosen = [file for file in files if not paths or any(_is_meant(file, folder, path) for path in paths)]
    if not chosen:
        where = f"for {', '.join(paths)} in {folder}" if paths else f"in {folder}"
        hint = f"write f/demo/hello{TESTS} beside f/demo/hello.py, with a list of tests:"
        raise UserError(f"there are no tests {where}", hint=hint)
    problems = Problems()
    read = beside(folder)
    suites = [read_suite(file, (read(file) or b"").decode("utf-8-sig"), read, problems) for file in chosen]
    problems.check(str(folder), "nothing was tested")
    return [suite for suite in suites if suite is not None]


def _is_meant(file: str, folder: Path, path: str) -> bool:
    """Whether a file is that of a script or flow, lies in a folder, or is the one."""
    plain = path.removesuffix("/").removesuffix(TESTS).removesuffix(".flow").removesuffix("__flow")
    beside = Path(plain)
    if beside.is_absolute() or not file.startswith(plain):
        try:
            plain = beside.resolve().relative_to(folder.resolve()).as_posix()
        except ValueError:
            return False
    return plain == "." or file == plain + TESTS or file.startswith(f"{plain}/")
