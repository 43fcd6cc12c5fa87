"""`$var:` and `$res:`: what the files of a workspace refer to, and whether it is there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Literal

import msgspec

from shared.definitions import Resource
from shared.values import MAX_DEPTH, RESOURCE, VARIABLE
from shared.workspace.problems import Problems, did_you_mean
from shared.workspace.yaml_values import Text

__all__ = ["REFERENCES", "VARIABLE", "Reference", "check_circles", "check_resolvable", "references_in"]

REFERENCES = (VARIABLE, RESOURCE)


class Reference(msgspec.Struct, frozen=True):
    """A text that is replaced by what it names, and where it stands."""

    file: str
    line: int
    key: str
    kind: Literal["variable", "resource"]
    path: str

    @property
    def name(self) -> str:
        """As the table of what is deployed names it."""
        return f"{self.kind}:{self.path}"


def references_in(file: str, texts: Iterable[Text]) -> Iterator[Reference]:
    """Those of a file's texts that are references."""
    for found in texts:
        if found.text.startswith(VARIABLE):
            yield Reference(file, found.line, found.key, "variable", found.text.removeprefix(VARIABLE))
        elif found.text.startswith(RESOURCE):
            yield Reference(file, found.line, found.key, "resource", found.text.removeprefix(RESOURCE))


def check_resolvable(references: Iterable[Reference], there: Collection[str], problems: Problems) -> None:
    """An error for each reference to what will not be there; `there` holds names like `variable:f/iot/password`."""
    for wanted in references:
        if wanted.name not in there:
            known = [name.partition(":")[2] for name in there if name.startswith(wanted.kind + ":")]
            hint = did_you_mean(wanted.path, known) or f"write {wanted.path}.{wanted.kind}.yaml"
            problems.error(wanted.file, wanted.line, wanted.key, f"there is no {wanted.kind} {wanted.path}", hint)


def check_circles(
    references: Mapping[str, list[Reference]], resources: Mapping[str, Resource], problems: Problems
) -> None:
    """An error for each resource (by path) that leads back to itself, or on for more than MAX_DEPTH resources."""
    for path in resources:
        seen = {path}
        waiting = [(each, 1) for each in references.get(path, [])]
        while waiting:
            wanted, depth = waiting.pop()
            if wanted.kind != "resource":
                continue
            if wanted.path == path or depth > MAX_DEPTH:
                first = next(each for each in references[path] if each.kind == "resource")
                why = "leads back to itself" if wanted.path == path else f"leads on for more than {MAX_DEPTH} resources"
                problems.error(first.file, first.line, first.key, f"the resource {path} {why}", "cut the circle")
                break
            if wanted.path not in seen:
                seen.add(wanted.path)
                waiting += [(each, depth + 1) for each in references.get(wanted.path, [])]
