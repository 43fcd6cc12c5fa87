"""Payloads and JSON as they are shown: made harmless, cut where they are long. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from markupsafe import Markup, escape

from shared.tables import printable, printable_lines, size

TEXT_SHOWN: Final = 64 * 1024
HEX_SHOWN: Final = 4 * 1024
_PER_LINE: Final = 16
_INDENT: Final = "  "
_DEEPEST: Final = 40


class Payload(msgspec.Struct, frozen=True):
    """Three views of a payload; None where it is not of that form. `more` says what is left out."""

    json: Markup | None
    text: str | None
    hex: str
    more: str


def payload_view(payload: bytes, size_all: int) -> Payload:
    """The views of a payload of `size_all` bytes, of which these are kept."""
    text = _text(payload[:TEXT_SHOWN], whole=len(payload) <= TEXT_SHOWN)
    shown = len(payload[:TEXT_SHOWN]) if text is not None else len(payload[:HEX_SHOWN])
    more = f"The first {size(shown)} of {size(size_all)} are shown." if shown < size_all else ""
    document = _json(payload) if size_all <= TEXT_SHOWN else None
    return Payload(document, None if text is None else printable_lines(text), hex_dump(payload[:HEX_SHOWN]), more)


def hex_dump(data: bytes) -> str:
    """Lines of offset, bytes, and the characters that they are in ASCII."""
    return "\n".join(_hex_line(at, data[at : at + _PER_LINE]) for at in range(0, len(data), _PER_LINE))


def json_view(value: Any) -> Markup:
    """JSON with its parts marked, for the stylesheet to colour; long documents are cut."""
    plain = _plain(value)
    if len(plain) > TEXT_SHOWN:
        return escape(printable_lines(plain[:TEXT_SHOWN]) + "\n…")
    return Markup().join(_parts(value, "\n", 0))


def ending(text: str, most: int = TEXT_SHOWN) -> str:
    """The end of a text of lines, made harmless; what is before it is left out, and said to be."""
    if len(text) <= most:
        return printable_lines(text)
    return f"… {size(len(text) - most)} before this is left out …\n{printable_lines(text[-most:])}"


def breaks(text: str) -> Markup:
    """A path or topic that may go on in the next line after a slash, and nowhere within a level unless it must."""
    return Markup("/<wbr>").join(text.split("/"))


def one_line(value: Any, width: int = 200) -> str:
    """JSON in short."""
    text = printable(_plain(value))
    return text if len(text) <= width else text[: width - 1] + "…"


def as_json_text(value: Any) -> str:
    """JSON that somebody may edit."""
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)


def _plain(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _text(payload: bytes, *, whole: bool) -> str | None:
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        cut = not whole and error.start >= len(payload) - 3  # within the last character
        return payload[: error.start].decode() if cut else None


def _json(payload: bytes) -> Markup | None:
    try:
        return json_view(msgspec.json.decode(payload)) if payload[:1] in b'{["' or payload.strip() else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _hex_line(at: int, data: bytes) -> str:
    shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "·" for byte in data)  # noqa: PLR2004 - printable ASCII
    return f"{at:06x}  {data[:8].hex(' '):<23}  {data[8:].hex(' '):<23}  {shown}"


def _parts(value: Any, newline: str, depth: int) -> Iterator[Markup]:
    inner = newline + _INDENT
    if depth > _DEEPEST:
        yield Markup("…")
    elif isinstance(value, dict) and value:
        yield Markup("{")
        for index, (name, each) in enumerate(value.items()):
            yield Markup("{}{}{}: ").format("," if index else "", inner, _span("k", str(name)))
            yield from _parts(each, inner, depth + 1)
        yield escape(newline + "}")
    elif isinstance(value, list) and value:
        yield Markup("[")
        for index, each in enumerate(value):
            yield escape(("," if index else "") + inner)
            yield from _parts(each, inner, depth + 1)
        yield escape(newline + "]")
    elif isinstance(value, str):
        yield _span("s", value)
    elif isinstance(value, bool) or value is None:
        yield _span("l", value)
    elif isinstance(value, int | float):
        yield _span("n", value)
    else:
        yield escape(_plain(value))


def _span(kind: str, value: Any) -> Markup:
    return Markup('<span class="{}">{}</span>').format(kind, printable(_plain(value)))
