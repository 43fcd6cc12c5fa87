"""Which expressions cannot change their world, told from their text: pure.

Reading, comparing, calculating, and a few functions of the language that only look. Whoever calls, assigns or writes
anything else is not among them: it may well be harmless, and gets a world of its own all the same.
"""

from __future__ import annotations

import re
from typing import Final

from shared.expression_paths import RESERVED, words

_FUNCTIONS: Final = words("String Number Boolean parseInt parseFloat isNaN isFinite encodeURIComponent")
_METHODS: Final = words(
    """toString toFixed toUpperCase toLowerCase trim trimStart trimEnd split slice substring includes startsWith
    endsWith indexOf lastIndexOf padStart padEnd at charAt charCodeAt concat join keys values entries isArray isInteger
    stringify hasOwn abs ceil floor round trunc sign min max pow sqrt"""
)
"""Of texts, arrays, numbers, Object, Array, Number, JSON and Math: none takes a function, none changes anything."""
_OPERATING_WORDS: Final = words("typeof in null true false undefined")
_OPERATORS: Final = words("== === != !== < <= > >= && || ?? ? : + - * ** % & | ^ << >> >>> ! !! ~ &&! ||! ?! :!")

_TOKEN = re.compile(
    r"""\s+
    | (?P<word>[A-Za-z_$][A-Za-z0-9_$]*)
    | (?P<value>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)? | "[^"\\\r\n]*" | '[^'\\\r\n]*')
    | (?P<template>`[^`\\]*`)
    | (?P<dot>\?\.|\.)
    | (?P<operator>[=<>!&|?:*+\-%^~]+)
    | (?P<mark>[()\[\],])""",
    re.VERBOSE,
)
_HOLE = re.compile(r"\$\{([^{}]*)\}")


def is_pure(code: str) -> bool:
    """Whether evaluating it any number of times, of any values of JSON, leaves everything as it was."""
    before, last = "", ""  # the tokens before, white space left out
    at = 0
    while at < len(code):
        found = _TOKEN.match(code, at)
        if found is None:
            return False
        at = found.end()
        if found.lastgroup is None:
            continue
        if not _may_follow(found.lastgroup, found[0], before, last):
            return False
        before, last = last, found[0]
    return True


def _may_follow(kind: str, text: str, before: str, last: str) -> bool:
    """Whether a token may stand behind the last two."""
    if kind == "word":
        return last in {".", "?."} or text not in RESERVED or text in _OPERATING_WORDS
    if kind == "dot":
        return last not in {".", "?."}
    if kind == "template":
        return not _ends_operand(last) and _holes_are_pure(text[1:-1])
    if kind == "operator":
        return text in _OPERATORS
    if text == "(" and _ends_operand(last):
        return last in (_METHODS if before in {".", "?."} else _FUNCTIONS | {"typeof", "in"})
    return not (text == "(" and last == "?.")


def _ends_operand(text: str) -> bool:
    """Whether what follows the token might be applied to it."""
    return text in {")", "]"} or text[:1].isalnum() or text[:1] in set("_$\"'`")


def _holes_are_pure(text: str) -> bool:
    return "${" not in _HOLE.sub("", text) and all(is_pure(hole) for hole in _HOLE.findall(text))
