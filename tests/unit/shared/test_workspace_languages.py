"""Scripts that are not Python, and what the files beside a script say."""

from __future__ import annotations

import pytest

from shared.definitions import Script
from shared.workspace import javascript, shell
from shared.workspace.problems import Problems
from shared.workspace.scripts import read_scripts

MAIN = "def main(payload): ...\n"


def script(**files: str) -> Script:
    """The script f/a/s of these files; in a name `__` stands for a dot."""
    texts = {f"f/a/{name.replace('__', '.')}": text for name, text in files.items()}
    problems = Problems()
    found = read_scripts(texts, problems)
    assert problems.errors == []
    return found.scripts["f/a/s"]


# the source of a TypeScript file, main's parameters
SIGNATURES = [
    ("export async function main() {}", []),
    ("export function main(a, b) {}", ["a", "b"]),
    ("export default async function main(a: string) {}", ["a"]),
    ("export async function* main(a: string) { yield a }", ["a"]),
    ("export const main = async (a: string, b = 1) => a", ["a", "b"]),
    ("export async function main(a?: string, b: number = f(1, 2), c = [1, 2]) {}", ["a", "b", "c"]),
    ("export function main(a: Map<string, number>, b: { x: number, y: [a, b] }) {}", ["a", "b"]),
    ("export function main(f: (x: number, y: string) => void, b) {}", ["f", "b"]),
    (
        "export function main(a: string = ',)', /* no, */ b: 'x' | 'y' = \"x\", // c,\n d = `e,${1}`) {}",
        ["a", "b", "d"],
    ),
    ("export function main(\n  a: string,\n  b: number,\n) {}", ["a", "b"]),
    ("export function main({ a, b }: T, ...rest: string[]) {}", ["arg1", "rest"]),
    ("export function main(this: Window, $a_1) {}", ["$a_1"]),
    ("export function main<T extends string>(a: T) {}", ["a"]),
    ("// export function main(a) {}\nexport function maine() {}", None),
    ("const x = 'export function main(a) {}'; function main(b) {}", None),
    ("export const mainly = (a) => 1;", None),
]


@pytest.mark.parametrize("source, names", SIGNATURES)
def test_the_parameters_of_a_typescript_main_are_found(source: str, names: list[str] | None) -> None:
    """Types, defaults, comments and strings do not mislead."""
    assert javascript.parameters(source) == names


@pytest.mark.parametrize("name", ["s__ts", "s__js", "s__deno__ts", "s__bun__ts", "s__fetch__ts"])
def test_typescript_and_javascript_run_on_deno(name: str) -> None:
    """Whatever engine Windmill's file name says; without a main it is a module."""
    found = script(**{name: "export async function preprocessor(event) {}\nexport async function main(x: number) {}\n"})
    other = read_scripts({f"f/a/{name.replace('__', '.')}": "export const x = 1;\n"}, Problems())

    assert (found.language, found.parameters, found.has_preprocessor) == ("deno", ["x"], True)
    assert (found.path, found.entry) == ("f/a/s", f"f/a/{name.replace('__', '.')}")
    assert (other.scripts, other.modules) == ({}, {"f/a/s"})


def test_a_typescript_script_takes_along_what_it_imports() -> None:
    """Beside it, at the root, with and without extension; packages are not the workspace's."""
    source = (
        "import { a } from './lib.ts';\nimport b from \"../b/more\"\nexport * from '/f/c/root.ts';\n"
        "import axios from 'npm:axios';\nconst d = await import('./late.js');\nexport async function main() {}\n"
    )
    texts = {
        "f/a/s.ts": source, "f/a/lib.ts": "import './s.ts'", "f/b/more.ts": "", "f/c/root.ts": "", "f/a/late.js": "",
        "f/a/other.ts": "",
    }  # fmt: skip
    found = read_scripts(texts, Problems()).scripts["f/a/s"]

    assert list(found.modules) == ["f/a/late.js", "f/a/lib.ts", "f/a/s.ts", "f/b/more.ts", "f/c/root.ts"]


@pytest.mark.parametrize(
    "source, names",
    [
        ('a="$1"\nb="$2"\n', ["a", "b"]),
        ('b="$2"\n  export a=$1\n', ["a", "b"]),
        ('a="${1:-three words}"\nb="${2}"\nlocal c=${3:?missing}\n', ["a", "b", "c"]),
        ('b="$2"\n', ["", "b"]),
        ('# a="$1"\necho "$1"\nx="$1$2"\nme="$0"\n', []),
        ('a="$1"\nagain="$1"\n', ["a"]),
    ],
)
def test_the_parameters_of_a_bash_script_are_the_names_of_its_arguments(source: str, names: list[str]) -> None:
    """By their numbers; one that nobody names has no name."""
    assert shell.parameters(source) == names
    assert script(s__sh=source).language == "bash"


def test_the_file_beside_a_script_gives_its_limits() -> None:
    """Ours, which Windmill ignores."""
    found = script(s__py=MAIN, s__script__yaml="timeout: 9\nisolation: fresh\nmemory_mib: 64\noutput_bytes: 1000\n")

    assert (found.timeout_s, found.isolation, found.memory_mib, found.output_bytes) == (9, "fresh", 64, 1000)
    assert found.parameters == ["payload"]


@pytest.mark.parametrize(
    "metadata, lock",
    [
        ("lock: '!inline f/a/s.script.lock'\n", "a==1\nb==2"),
        ("lock: !inline f/a/s.script.lock\n", "a==1\nb==2"),
        ("lock: |\n  c==3\n", "c==3"),
        ("lock: [c==3, d==4]\n", "c==3\nd==4"),
        ("lock: ''\n", "a==1\nb==2"),
        ("summary: x\n", "a==1\nb==2"),
    ],
)
def test_the_lock_of_a_python_script_is_its_requirements(metadata: str, lock: str) -> None:
    """Named, written out or beside; without comments."""
    found = script(s__py=MAIN, s__script__yaml=metadata, s__script__lock="# py: 3.11\na==1\n\nb==2  # from c\n")

    assert found.lock == lock


def test_a_lock_that_is_not_there_is_an_error() -> None:
    """At its line."""
    problems = Problems()
    read_scripts({"f/a/s.py": MAIN, "f/a/s.script.yaml": "kind: script\nlock: '!inline f/a/t.script.lock'\n"}, problems)

    assert [(each.line, each.key, each.message) for each in problems.errors] == [
        (2, "lock", "there is no f/a/t.script.lock")
    ]


def test_two_files_that_are_one_script_are_refused() -> None:
    """A path is one script."""
    problems = Problems()
    read_scripts({"f/a/s.py": MAIN, "f/a/s.sh": "", "f/a/t.py": MAIN, "f/a/t.ts": "export const x = 1"}, problems)

    assert [(each.file, each.message) for each in problems.errors] == [("f/a/s.sh", "f/a/s.py is the script f/a/s too")]
