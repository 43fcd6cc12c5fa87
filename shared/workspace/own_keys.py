"""What a script says that Windmill's tools do not know: in its metadata, or in a comment block of its code.

`wmill` sends a script's code as it is, and of its metadata its own keys alone. So the block is the place that every
tool keeps; in it the keys stand as in the metadata, indented:

    # headrace:
    #   isolation: fresh
    #   retry: {constant: {attempts: 2, seconds: 5}}
"""

from __future__ import annotations

import re
from itertools import takewhile

import msgspec

from shared.definitions import Isolation
from shared.retry_policy import Retry
from shared.workspace.problems import Problems
from shared.workspace.retries import read_retry
from shared.workspace.yaml_lines import Table, read_yaml

BLOCK = "headrace"

_HEADING = re.compile(rf"(?P<mark>#|//) ?{BLOCK}:\s*")
_MAX_MEMORY_MIB = 1024 * 1024
_MAX_OUTPUT_BYTES = 512 * 1024 * 1024  # what Redis takes as one value
_ISOLATION: dict[str | int, Isolation] = {"warm": "warm", "fresh": "fresh"}


class OwnKeys(msgspec.Struct, frozen=True):
    """None: nothing is said."""

    isolation: Isolation | None = None
    memory_mib: int | None = None
    output_bytes: int | None = None
    retry: Retry | None = None


def read_own_keys(table: Table) -> OwnKeys:
    """Those of a table; the rest of it is left alone."""
    return OwnKeys(
        isolation=table.choice("isolation", _ISOLATION),
        memory_mib=table.integer("memory_mib", 1, _MAX_MEMORY_MIB),
        output_bytes=table.integer("output_bytes", 1, _MAX_OUTPUT_BYTES),
        retry=read_retry(table),
    )


def read_block(file: str, text: str, problems: Problems) -> OwnKeys:
    """What the block of a file says."""
    if (start := block_line(text)) is None:
        return OwnKeys()
    lines = text.splitlines()
    if (second := block_line(text, start)) is not None:
        problems.error(file, second, BLOCK, f"a second block: the first one is in line {start}", "keep one of them")
        return OwnKeys()
    mark = lines[start - 1][:1] if lines[start - 1].startswith("#") else "//"
    held = list(takewhile(lambda line: line.startswith(f"{mark}  "), lines[start:]))
    if not held:
        problems.error(file, start, BLOCK, "the block holds no keys", f"indent them: '{mark}   isolation: fresh'")
        return OwnKeys()
    yaml = "\n".join(line.removeprefix(mark) for line in (lines[start - 1], *held))
    whole = read_yaml(file, "\n" * (start - 1) + yaml, problems)
    if whole is None or (table := whole.table(BLOCK, required=True)) is None:
        return OwnKeys()
    found = read_own_keys(table)
    table.close()
    return found


def block_line(text: str, after: int = 0) -> int | None:
    """The line in which a block begins, of those after one."""
    if f"{BLOCK}:" not in text:
        return None
    lines = enumerate(text.splitlines()[after:], after + 1)
    return next((number for number, line in lines if _HEADING.fullmatch(line)), None)


def both(block: OwnKeys, metadata: OwnKeys, beside: Table, file: str) -> OwnKeys:
    """What counts of the two: where they differ, the block does, and a warning says so."""
    found = {}
    for key in OwnKeys.__struct_fields__:
        said, also = getattr(block, key), getattr(metadata, key)
        if said is not None and also is not None and said != also:
            beside.warn(key, f"the {BLOCK} block of {file} says otherwise, and counts", "keep one of them")
        found[key] = also if said is None else said
    return OwnKeys(**found)
