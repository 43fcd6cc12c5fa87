"""The workspace as an archive, from which `wmill sync` makes files: what stands in our files, as JSON. Pure."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from console.edits import document
from console.windmill.flow_files import read_flow
from console.windmill.script_files import read_script
from shared.workspace.layout import (
    FLOW_FILE,
    FOLDER,
    LOCK,
    METADATA,
    RESOURCE,
    RESOURCE_TYPE,
    TRIGGER,
    VARIABLE,
    flow_of,
    source_of,
)

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""A zip knows no time before: so that the same workspace is the same archive."""


class Wanted(msgspec.Struct, frozen=True):
    """Which kinds the archive is to hold."""

    variables: bool = True
    secrets: bool = True
    resources: bool = True
    resource_types: bool = True
    triggers: bool = False


def make_zip(texts: Mapping[str, str], wanted: Wanted) -> bytes:
    """The archive. Values of secret variables are not in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in entries(texts, wanted):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), text)
    return buffer.getvalue()


def entries(texts: Mapping[str, str], wanted: Wanted) -> Iterator[tuple[str, str]]:
    """Name and text of each entry."""
    suffixes = {
        VARIABLE: wanted.variables,
        RESOURCE: wanted.resources,
        RESOURCE_TYPE: wanted.resource_types,
        TRIGGER: wanted.triggers,
        FOLDER: True,
    }
    for file in sorted(texts):
        if flow := flow_of(file):
            if flow[1] == FLOW_FILE:
                yield f"{flow[0]}.flow.json", _json(read_flow(texts, flow[0]))
        elif source_of(file):
            yield file, texts[file]
        elif file.endswith(METADATA):
            yield from _metadata(texts, file)
        elif suffix := next((each for each in suffixes if file.endswith(each)), ""):
            found = document(texts, file)
            if suffixes[suffix] and (wanted.secrets or not (suffix == VARIABLE and found.get("is_secret") is True)):
                yield f"{file.removesuffix('.yaml')}.json", _json(found)


def _metadata(texts: Mapping[str, str], file: str) -> Iterator[tuple[str, str]]:
    """The lock stands in it, and the tool puts it into a file of its own."""
    path = file.removesuffix(METADATA)
    script = read_script(texts, path)
    if script is None:
        return
    found = dict(script.metadata)
    if "lock" in found or path + LOCK in texts:
        found["lock"] = script.lock
    yield f"{file.removesuffix('.yaml')}.json", _json(found)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
