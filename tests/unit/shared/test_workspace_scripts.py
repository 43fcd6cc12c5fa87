"""Scripts of a workspace: what is one, what it needs, what its file beside it says."""

from __future__ import annotations

import pytest

from shared.errors import WorkspaceError
from shared.workspace import check_files
from shared.workspace.files import Files
from shared.workspace.problems import Problems
from shared.workspace.scripts import ScriptFiles, read_scripts

MAIN = "def main(payload): ...\n"


def read(files: dict[str, str]) -> ScriptFiles:
    """The scripts of these files, named without suffix."""
    return read_scripts({f"{name}.py": text for name, text in files.items()}, Problems())


def modules_of(entry: str, files: dict[str, str]) -> list[str]:
    """The files that are deployed with the script f/a/s."""
    return list(read({"f/a/s": entry + "\n" + MAIN, **files}).scripts["f/a/s"].modules)


def test_a_file_with_main_is_a_script_and_one_without_is_a_module() -> None:
    """However it comes to have the name."""
    ways = {"a": MAIN, "b": "async def main(): ...\n", "c": "from x import main\n", "d": "main = print\n"}
    found = read({**ways, "e": "def helper(): ...\n"})

    assert set(found.scripts) == {"a", "b", "c", "d"}
    assert found.modules == {"e"}


def test_a_preprocessor_is_found_in_the_source() -> None:
    """What the file beside the script says about it does not count."""
    found = read({"a": "def preprocessor(event): ...\n" + MAIN, "b": MAIN + "def f():\n  def preprocessor(): ...\n"})

    assert [script.has_preprocessor for script in found.scripts.values()] == [True, False]


# what the script says, the files of the workspace, those that it needs beside itself
IMPORTS = [
    ("import lib", {"f/a/lib": ""}, ["f/a/lib.py"]),
    ("import lib as l, other", {"f/a/lib": "", "f/a/other": "", "f/a/more": ""}, ["f/a/lib.py", "f/a/other.py"]),
    ("from lib import x", {"f/a/lib": ""}, ["f/a/lib.py"]),
    ("from lib import x", {"f/a/lib": "import more", "f/a/more": ""}, ["f/a/lib.py", "f/a/more.py"]),
    ("from .lib import x", {"f/a/lib": ""}, ["f/a/lib.py"]),
    ("from . import lib", {"f/a/lib": ""}, ["f/a/lib.py"]),
    ("from ..b.lib import x", {"f/b/lib": ""}, ["f/b/lib.py"]),
    ("from ....b import x", {"b": ""}, []),
    ("from f.lib.mod import x", {"f/lib/mod": ""}, ["f/lib/mod.py"]),
    ("from f.lib import mod", {"f/lib/mod": ""}, ["f/lib/mod.py"]),
    ("import u.alice.mod", {"u/alice/mod": ""}, ["u/alice/mod.py"]),
    ("import lib", {"lib": ""}, ["lib.py"]),
    ("import lib", {"lib": "", "f/a/lib": ""}, ["f/a/lib.py"]),
    ("import json, requests, f.none", {"f/other": ""}, []),
    ("def g():\n  import lib", {"f/a/lib": ""}, ["f/a/lib.py"]),
    ("try:\n  from lib import x\nexcept ImportError: ...", {"f/a/lib": ""}, ["f/a/lib.py"]),
    ("import lib", {"f/a/lib": "import s"}, ["f/a/lib.py"]),
    ("import p.q", {"f/a/p/__init__": "", "f/a/p/q": "", "f/a/p/r": ""}, ["f/a/p/__init__.py", "f/a/p/q.py"]),
    ("from p import q", {"f/a/p/q": ""}, ["f/a/p/q.py"]),
    ("import p", {"f/a/p/__init__": "from .q import x", "f/a/p/q": ""}, ["f/a/p/__init__.py", "f/a/p/q.py"]),
    ("import p", {"f/a/p/__init__": "", "f/a/p": ""}, ["f/a/p/__init__.py"]),
    ("from p import *", {"f/a/p/__init__": ""}, ["f/a/p/__init__.py"]),
    ("from f.lib import x", {"f/a/f/y": "", "f/lib": ""}, ["f/lib.py"]),
]


@pytest.mark.parametrize("source, files, needed", IMPORTS)
def test_a_script_takes_along_what_it_imports(source: str, files: dict[str, str], needed: list[str]) -> None:
    """From its own folder first, then from the workspace's root, in any place of its source; nothing else."""
    assert [path for path in modules_of(source, files) if path != "f/a/s.py"] == needed


@pytest.mark.parametrize(
    "source, told",
    [
        ("import f.lib.mod\nfrom f.lib import mod\nfrom f.lib.mod import x\nimport f.lib\nfrom f.lib import *", []),
        ("from f.pack import anything, at_all", []),
        ("import json\nimport f.lib.mode", [(2, "f.lib.mode", "did you mean f.lib.mod?")]),
        ("def g():\n  from f.lib import gone", [(2, "f.lib.gone", "did you mean f.lib.mod?")]),
        ("from u.zoe.helpers import x", [(1, "u.zoe.helpers.x", "")]),
        ("from f.zzzzzzzz import *", [(1, "f.zzzzzzzz", "")]),
        ("import fs.lib\nfrom .f.gone import x\n'import f.'", []),
    ],
)
def test_an_import_from_the_workspace_that_is_not_there_is_warned_about(
    source: str, told: list[tuple[int, str, str]]
) -> None:
    """No package is looked for under such a name, so it would fail when a message comes."""
    files = {"f/a/s.py": f"{source}\n{MAIN}", "f/lib/mod.py": "", "f/pack/__init__.py": ""}
    problems = Problems()
    read_scripts(files, problems)

    assert [(each.line, each.message, each.hint) for each in problems.warnings] == [
        (line, f"imports {name}, which is not in the workspace", hint) for line, name, hint in told
    ]


def test_a_script_with_its_own_shared_module_takes_its_own() -> None:
    """User code never meets our packages."""
    assert modules_of("import shared, worker", {"f/a/shared": "", "worker": ""}) == [
        "f/a/s.py",
        "f/a/shared.py",
        "worker.py",
    ]


def test_the_file_beside_a_script_gives_its_timeout() -> None:
    """What Windmill's other keys ask for is told where it is not done."""
    problems = Problems()
    metadata = (
        "summary: x\nlock: ''\nschema: {type: object}\ntimeout: 60\nhas_preprocessor: true\nconcurrent_limit: 3\n"
    )
    found = read_scripts({"f/a/s.py": MAIN, "f/a/s.script.yaml": metadata}, problems)

    assert (found.scripts["f/a/s"].timeout_s, found.scripts["f/a/s"].has_preprocessor) == (60, False)
    assert ([warning.key for warning in problems.warnings], problems.errors) == (["concurrent_limit"], [])


def test_python_that_cannot_be_read_is_told_with_its_line() -> None:
    """All files are looked at, whether a trigger names them or not."""
    texts = {"f/a/s.py": MAIN + "x = (\n", "f/a/t.py": MAIN + "\0", "f/a/u.py": MAIN + "return 1\n"}

    with pytest.raises(WorkspaceError) as caught:
        check_files(Files(texts, []), "the folder", Problems())
    assert "f/a/s.py:2: '(' was never closed" in str(caught.value)
    assert "f/a/t.py" in str(caught.value)
    assert "f/a/u.py:2: 'return' outside function" in str(caught.value)


def test_metadata_without_its_script_is_skipped() -> None:
    """It may be of a language that is not run yet."""
    texts = {"f/a/s.py": MAIN, "f/a/t.script.yaml": "summary: a TypeScript one\n"}

    assert check_files(Files(texts, ["f/a/t.ts"]), "the folder", Problems()).skipped == [
        "f/a/t.script.yaml",
        "f/a/t.ts",
    ]
