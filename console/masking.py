"""What those who may only read are not told: passwords and keys that stand plainly in resources. Pure.

Secret variables are sealed, and nobody reads them here. A password that was written into a resource itself is no secret
to whoever can deploy code, which reads it; others see a mask.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from console.callers import Caller, RunCaller
from shared.definitions import Resource
from shared.deployment_document import MASK, masked
from shared.workspace.layout import RESOURCE

_NAMES = r"pass(?:wor[dt]|wd|phrase)?|secret|token|api_?key|private_?key|access_?key|pkcs12|connection_?string"
_NAME = re.compile(_NAMES, re.IGNORECASE)
_LINE = re.compile(rf"^([-+ ]?\s*[\w'\"-]*(?:{_NAMES})[\w'\"-]*\s*:\s*)(?!['\"]?\$)\S.*$", re.IGNORECASE)
_PEM = re.compile(r"-----(BEGIN|END) [A-Z ]*PRIVATE KEY-----")
_URL = re.compile(r"([A-Za-z][\w+.-]*://[^\s/:@'\"]*:)(?!\$)[^\s/@'\"]+(@)")
"""The password in an address: scheme://user:password@host."""
_LETTERS = re.compile(r"^([-+ ]?\s*)[A-Za-z0-9+/=]{40,}\s*$")


def hides(caller: Caller) -> bool:
    """Whether plain secrets are kept from somebody. A run reads what it needs."""
    return not (isinstance(caller, RunCaller) or caller.may("deploy"))


def told(resource: Resource, caller: Caller) -> Resource:
    """A resource as it may be told to somebody."""
    return msgspec.structs.replace(resource, value=mask_value(resource.value)) if hides(caller) else resource


def mask_value(value: Any, name: str = "") -> Any:
    """The value of a resource without what its names call secret; references stay."""
    match value:
        case dict():
            return {key: mask_value(each, str(key)) for key, each in value.items()}
        case list():
            return [mask_value(each, name) for each in value]
        case str() if _PEM.search(value):
            return MASK
        case str() if "://" in value and _URL.search(value):
            return _URL.sub(rf"\g<1>{MASK}\g<2>", value)
        case str() | int() | float() if not isinstance(value, bool) and value and _NAME.search(name):
            return value if isinstance(value, str) and value.startswith("$") else MASK
        case _:
            return value


def mask_file(path: str, text: str, *, hide: bool) -> str:
    """The text of a deployed file: sealed values are masked for those from whom secrets are kept, and so are the lines
    of a resource that look like a secret.
    """
    if not hide:
        return text
    if not path.endswith(RESOURCE):
        return masked(text)
    return "\n".join(mask_line(line) for line in masked(text).split("\n"))


def mask_line(line: str) -> str:
    """A line of a resource's file, or of how it changed."""
    return _LETTERS.sub(rf"\g<1>{MASK}", _LINE.sub(rf"\g<1>{MASK}", _URL.sub(rf"\g<1>{MASK}\g<2>", line)))
