"""Pages of the documentation as data: their links, and the blocks that a reader would copy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, cast

import msgspec

from tests.support.processes import ROOT

Kind = Literal["command", "file", "output"]

_KINDS: dict[str, Kind] = {"sh": "command", "text": "output", "python": "file", "yaml": "file"}
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"`([\w./-]+\.(?:py|yaml))`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


class Block(msgspec.Struct, frozen=True):
    """What a reader types, writes to the file `name`, or should see."""

    kind: Kind
    text: str
    name: str = ""


def section(page: Path, heading: str) -> str:
    """The text under a heading of the second level."""
    _, _, rest = page.read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    return rest.partition("\n## ")[0]


def sections(page: Path) -> list[str]:
    """The texts under all headings of the second level, in order."""
    return page.read_text(encoding="utf-8").split("\n## ")[1:]


def blocks(text: str) -> list[Block]:
    """The blocks of a text. A file's name is the last one, in backticks, in the prose before it."""
    found = []
    after = 0
    for fence in _FENCE.finditer(text):
        language, content = fence.groups()
        names = _NAME.findall(text[after : fence.start()])
        kind = _KINDS.get(language)
        if kind == "file" and names:
            found.append(Block(kind, content, cast("str", names[-1])))
        elif kind and kind != "file":
            found.append(Block(kind, content))
        after = fence.end()
    return found


def all_pages() -> list[Path]:
    """Every page of the project."""
    kept = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md"), *ROOT.glob("bench/*.md")]
    return sorted(kept)


def broken_links(page: Path) -> list[str]:
    """Links to pages or headings that do not exist. Links to other hosts are not looked at."""
    return [link for link in _links(page) if "://" not in link and not _leads_somewhere(page, link)]


def _links(page: Path) -> list[str]:
    prose = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return _LINK.findall(re.sub(r"`[^`]*`", "", prose))


def _leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return target.exists() and (not anchor or anchor in _anchors(target))


def _anchors(page: Path) -> set[str]:
    """The headings as GitHub makes anchors of them."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = _HEADING.findall(text)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
