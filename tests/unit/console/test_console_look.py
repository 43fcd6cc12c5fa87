"""The stylesheet can be read by everybody, and what is not ours is what it says to be."""

from __future__ import annotations

import hashlib
import re

import pytest

from console.view import STATIC

CSS = (STATIC / "console.css").read_text()
TOKENS = (
    dict(re.findall(r"--([a-z-]+): light-dark\((#[0-9a-f]{6}), #[0-9a-f]{6}\)", CSS)),
    dict(re.findall(r"--([a-z-]+): light-dark\(#[0-9a-f]{6}, (#[0-9a-f]{6})\)", CSS)),
)
READABLE = 4.5
"""WCAG 2.2, 1.4.3: contrast of text."""
TONES = ("accent", "ok", "warn", "bad", "hold")
PAIRS = [
    *[
        (text, ground)
        for text in ("text", "muted", "accent", "ok", "warn", "bad", "hold")
        for ground in ("bg", "surface")
    ],
    *[(tone, f"{tone}-soft") for tone in TONES],
    *[("text", f"{tone}-soft") for tone in TONES],
    *[(text, "raised") for text in ("text", "muted", "code-key", "code-text", "code-number", "bad", "ok")],
    ("on-accent", "accent"),
]


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio (WCAG 2.2)."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("text, ground", PAIRS)
def test_text_stands_out_from_what_is_behind_it(text: str, ground: str, theme: int) -> None:
    """In both themes."""
    tokens = TOKENS[theme]
    assert contrast(tokens[text], tokens[ground]) >= READABLE


def test_colours_are_named_in_one_place_only() -> None:
    """Rules use tokens, so that both themes hold everywhere."""
    rules = CSS[CSS.index("/* --- ground") :]
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b(?=[^{}]*[;}])", rules) == []


def test_files_of_others_are_those_that_are_listed() -> None:
    """Unchanged, with their licences."""
    listed = dict(
        re.findall(r"^\| `([^`]+)` .* ([0-9a-f]{64}) \|$", (STATIC / "vendor/README.md").read_text(), re.MULTILINE)
    )
    there = {path.name for path in (STATIC / "vendor").iterdir()} - {"README.md"}
    assert there == {*listed, "idiomorph-LICENSE", "uplot-LICENSE"}
    for name, digest in listed.items():
        assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == digest
