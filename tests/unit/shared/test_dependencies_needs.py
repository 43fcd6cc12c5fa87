"""What scripts ask for, from their sources alone."""

from __future__ import annotations

from textwrap import dedent

import pytest

from shared.definitions import Script
from shared.dependencies.interpreter import Interpreter
from shared.dependencies.needs import find_needs
from shared.dependencies.packages import package_of
from shared.dependencies.python_versions import satisfies
from shared.dependencies.uv import reason
from shared.workspace.problems import Problems

PYTHON = Interpreter("/usr/bin/python3", "3.11", "linux", frozenset({"os", "json", "provided", "tomllib"}))

UNSOLVED = "error: No solution found when resolving dependencies\n  cause: "
SO = ", we can conclude that your requirements are unsatisfiable.\n"
UNBUILT = """error: Failed to build `tank==1`
  cause: The build backend returned an error
  cause: Call failed

     [stderr]
     Traceback
     RuntimeError: no compiler

hint: Build failures usually …
"""


def needs(source: str, problems: Problems | None = None, **beside: str) -> list[str]:
    """The requirements of a script, with modules beside it: `f__lib__x` for f/lib/x.py."""
    modules = {name.replace("__", "/") + ".py": dedent(text) for name, text in beside.items()}
    script = Script("f/a/s", "python3", "f/a/s.py", {"f/a/s.py": dedent(source), **modules})
    found = problems or Problems()
    told = [need.text for need in find_needs(script, PYTHON, found)]
    assert problems is not None or not found.errors
    return told


def problem(source: str) -> tuple[int, str]:
    """Line and text of the only error."""
    problems = Problems()
    needs(source, problems)
    (error,) = problems.errors
    return error.line, error.message


def test_imports_are_what_a_script_needs() -> None:
    """Wherever they stand; neither what Python has, nor what the workspace has, nor `headrace`."""
    source = """
        import os, httpx.x, provided, headrace, wmill
        from f.lib.units import C
        from u.alice.mod import D
        from . import near
        import beside
        def main():
            from yaml import safe_load
    """
    assert needs(source, f__lib__units="import rich", f__a__beside="", f__a__near="") == [
        "httpx", "pyyaml", "rich", "wmill",
    ]  # fmt: skip


def test_what_the_code_can_do_without_is_not_inferred() -> None:
    """For type checkers, and in a try that catches the failure; an else branch counts."""
    source = """
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            import pandas
        else:
            import polars
        try:
            import ujson as json
        except ImportError:
            import json
        try:
            import httpx
        except ValueError:
            import rich
        def main(): ...
    """
    assert needs(source.replace("from typing import TYPE_CHECKING", "TYPE_CHECKING = 0")) == ["httpx", "polars", "rich"]


@pytest.mark.parametrize(
    "name, package",
    [
        ("yaml", "pyyaml"), ("PIL.Image", "pillow"), ("cv2", "opencv-python-headless"), ("sklearn.svm", "scikit-learn"),
        ("bs4", "beautifulsoup4"), ("dateutil.parser", "python-dateutil"), ("dotenv", "python-dotenv"),
        ("serial", "pyserial"), ("paho.mqtt.client", "paho-mqtt"), ("google.protobuf.message", "protobuf"),
        ("google.cloud.storage", "google-cloud-storage"), ("google.cloud", None), ("numpy.linalg", "numpy"),
    ],
)  # fmt: skip
def test_packages_are_known_by_what_they_let_one_import(name: str, package: str | None) -> None:
    """The longest name counts; a namespace that many share is no package."""
    assert package_of(name.split(".")) == package


def test_a_list_of_its_own_replaces_what_a_script_imports() -> None:
    """Also what its modules import; an extra list adds to it."""
    source = """
        # requirements:
        # httpx==0.28.1
        # rich >= 13 ; python_version > "3.8"

        # extra_requirements:
        #tzdata
        import yaml, near
        def main(): ...
    """
    assert needs(source, f__a__near="import numpy") == [
        "httpx==0.28.1",
        'rich >= 13 ; python_version > "3.8"',
        "tzdata",
    ]


def test_extra_requirements_add_to_what_is_imported() -> None:
    """In modules too; a module's own list replaces only what that module imports."""
    source = "# extra_requirements:\n# tzdata\nimport yaml, near\ndef main(): ..."
    near = "# requirements:\n# numpy<2\nimport numpy, pandas"
    assert needs(source, f__a__near=near) == ["numpy<2", "pyyaml", "tzdata"]


def test_an_inline_script_block_counts_before_all_else() -> None:
    """PEP 723."""
    source = """
        # /// script
        # requires-python = ">=3.11"
        # dependencies = [
        #   "httpx<1",
        # ]
        # ///
        # requirements:
        # rich
        import yaml
        def main(): ...
    """
    assert needs(source) == ["httpx<1"]


@pytest.mark.parametrize(
    "source, line, message",
    [
        ("# /// script\n# dependencies = [\n# ///\n", 1, "not TOML"),
        ("# /// script\n# dependencies = 1\n# ///\n", 1, "not a list of texts"),
        ("x = 1\n# /// script\n# dependencies = [\n#   'a',\n#   '=b',\n# ]\n# ///\n", 5, "'=b' is no requirement"),
        ("# /// script\n# x = 1\n# ///\n\n# /// script\n# x = 1\n# ///\n", 5, "second script block"),
        ("import google\n", 1, "does not tell which package"),
    ],
)
def test_what_cannot_be_understood_is_told_with_its_line(source: str, line: int, message: str) -> None:
    """Nothing is guessed."""
    found = problem(source)

    assert found[0] == line
    assert message in found[1]


def test_a_pin_says_which_package_an_import_needs() -> None:
    """For all files that import it; `repin` wins over `pin`."""
    source = """
        import numpy  # pin: numpy==1.26.4
        import google.something  # pin: google-something
        from near import (
            x
        )
        def main(): ...
    """
    near = "import numpy.linalg  # repin: numpy==2.1.0\nx = 1"
    assert needs(source) == ["google-something", "near", "numpy==1.26.4"]
    assert needs(source, f__a__near=near) == ["google-something", "numpy==2.1.0"]


def test_a_list_ends_with_a_warning_where_prose_begins() -> None:
    """It may have been meant as a requirement."""
    problems = Problems()

    assert needs("# requirements:\n# httpx\n# This script reads tanks\nimport rich", problems) == ["httpx"]
    assert [(warning.line, warning.message) for warning in problems.warnings] == [
        (3, "'This script reads tanks' is no requirement: the list of requirements ends above it")
    ]


@pytest.mark.parametrize(
    "source, asked",
    [
        ("# py: >=3.12", ">=3.12"), ("# py312", "==3.12"), ("#py: 3.12", "3.12"), ("# py311", None),
        ('# /// script\n# requires-python = ">=3.13"\n# ///', ">=3.13"), ("# python is nice", None),
    ],
)  # fmt: skip
def test_another_python_than_the_one_that_runs_is_warned_of(source: str, asked: str | None) -> None:
    """There is one interpreter for all scripts."""
    problems = Problems()
    needs(source + "\nimport os\n", problems)

    wanted = [f"asks for Python {asked}, and scripts run with 3.11"] if asked else []
    assert [warning.message for warning in problems.warnings] == wanted


@pytest.mark.parametrize(
    "asked, fits",
    [
        (">=3.11", True), (">=3.12", False), (">=3.9,<3.12", True), ("<3.11", False), ("==3.11.*", True),
        ("3.11", True), ("==3", True), ("!=3.11", False), ("~=3.10", True), (">3.11.2", True), ("anything", True),
        ("===3.12.1", False),
    ],
)  # fmt: skip
def test_versions_of_python_are_compared_by_two_numbers(asked: str, fits: bool) -> None:  # noqa: FBT001 - a column
    """As specifiers of PEP 440, as far as two numbers tell."""
    assert satisfies("3.11", asked) is fits


@pytest.mark.parametrize(
    "said, told",
    [
        (
            f"{UNSOLVED}Because tank was not found in the package registry and you require tank{SO}",
            "tank was not found in the package registry",
        ),
        (f"{UNSOLVED}Because you require numpy<2 and numpy>2{SO}", "you require numpy<2 and numpy>2"),
        (
            "warning: x\nerror: Failed to fetch: https://x/\n  cause: error sending\n  cause: Connection refused\n",
            "Failed to fetch: https://x/: Connection refused",
        ),
        (UNBUILT, "Failed to build `tank==1`: RuntimeError: no compiler"),
        ("", ""),
    ],
)
def test_of_what_uv_says_the_reason_is_told(said: str, told: str) -> None:
    """What failed, and the innermost cause."""
    assert reason(said) == told
