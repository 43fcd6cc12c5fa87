"""The command line before any command runs: help, errors, exit status."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from shared import cli
from shared.errors import ConfigError, StoreUnavailable

FOREIGN = {"redis", "rq", "msgspec", "structlog", "mqtt5", "uvloop", "asyncio", "yaml", "ssl", "difflib"}
IMPORTS = "import sys; from shared.cli import main; main(['--help']); print('\\n', *sys.modules)"


@pytest.fixture(autouse=True)
def usual_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Help does not depend on where the tests run."""
    monkeypatch.setenv("COLUMNS", "80")


def call_of(command: click.Command, monkeypatch: pytest.MonkeyPatch) -> int:
    """Exit status of `headrace probe` where probe is this command."""
    monkeypatch.setitem(cli.COMMANDS, "probe", cli.Entry("Operate", f"{__name__}:probe", "A probe."))
    monkeypatch.setattr(cli, "import_module", lambda _: type("Module", (), {"probe": command}))
    return cli.main(["probe"])


def failing(error: BaseException) -> click.Command:
    """A command that raises the error."""

    @click.command()
    def probe() -> None:
        raise error

    return probe


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_every_command_in_its_section(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """All commands are there, under their headings, with one line each; asking for help is not a failure."""
    assert cli.main(arguments) == 0

    shown = capsys.readouterr().out
    places = [shown.index(f"\n{section}:") for section in ("Processes", "Workspace", "Runs and messages", "Operate")]
    assert places == sorted(places)
    for name, entry in cli.COMMANDS.items():
        assert f"\n  {name:<10}  {entry.summary}\n" in shown


def test_help_fits_eighty_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """It reads well in the smallest usual terminal."""
    cli.main(["--help"])

    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_help_imports_no_part_of_headrace_and_no_library_but_click() -> None:
    """Help is quick because it loads nothing."""
    shown = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True).stdout
    modules = shown.splitlines()[-1].split()

    assert not FOREIGN & set(modules)
    ours = {name for name in modules if name.partition(".")[0] in {"shared", "ingest", "dispatch", "worker", "console"}}
    assert ours == {"shared", "shared.cli", "shared.errors"}


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_of_the_table_can_be_asked_for_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The table names commands that exist."""
    assert cli.main([name, "--help"]) == 0
    assert f"Usage: headrace {name}" in capsys.readouterr().out


def test_an_unknown_command_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong usage is 2, is explained on stderr, and leaves stdout alone."""
    assert cli.main(["pusj"]) == 2

    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == (
        "error: No such command 'pusj'. Did you mean 'push'?\n  hint: 'headrace --help' shows how it is used\n"
    )


def test_an_unknown_option_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """As for commands."""
    assert cli.main(["--versoin"]) == 2
    assert "--version" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error,status,said",
    [
        (StoreUnavailable("Redis is away", hint="start it"), 1, "error: Redis is away\n  hint: start it\n"),
        (ConfigError("no such setting"), 2, "error: no such setting\n"),
        (click.ClickException("the thing failed"), 1, "error: the thing failed\n"),
    ],
)
def test_an_error_of_ours_is_told_without_a_traceback(
    error: Exception, status: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Message and hint on stderr, the status of its kind."""
    assert call_of(failing(error), monkeypatch) == status
    assert capsys.readouterr() == ("", said)


def test_an_interrupt_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C is what the user wanted: status 130 and no words."""
    assert call_of(failing(KeyboardInterrupt()), monkeypatch) == 130
    assert capsys.readouterr().err.strip() == ""


@pytest.mark.parametrize("value,status", [(None, 0), (0, 0), (3, 3)])
def test_a_command_may_return_its_exit_status(value: int | None, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing returned means done."""
    assert call_of(click.Command("probe", callback=lambda: value), monkeypatch) == status


@pytest.mark.parametrize("write", ["click.echo('x' * 100000)", "sys.stdout.write('x')"])
def test_a_reader_that_has_gone_is_no_reason_to_complain(write: str) -> None:
    """`headrace runs | head` ends without words, whether output was flushed or not."""
    program = (
        "import click, sys; from shared import cli\n"
        f"def probe(): {write}\n"
        "cli.LazyGroup.get_command = lambda *_: click.Command('runs', callback=probe)\n"
        "sys.exit(cli.main(['runs']))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()

    assert process.returncode == 1
    assert said == b""


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """`headrace --version` names the program."""
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("headrace")
