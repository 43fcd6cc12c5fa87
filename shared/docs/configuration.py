"""The page of all settings, from the tree that they are read with."""

from __future__ import annotations

import msgspec

from shared.config import KEYS, Settings
from shared.config_keys import section_of
from shared.config_sources import OTHER_VARIABLES
from shared.docs.page import page, table

_INTRODUCTION = """\
# Configuration

Every setting has a default. A value is taken from the last of these places that names it:

1. the default,
2. `headrace.toml` in the folder where the process starts, or the file that `HEADRACE_CONFIG` names,
3. the environment: `max_payload` of section `ingest` is `HEADRACE_INGEST__MAX_PAYLOAD`.

A key or a `HEADRACE_` variable that is not listed here is an error, and so is a value of the wrong type. An empty
variable counts as not set. Units are in the names: `_s` seconds, `_ms` milliseconds, `_mib` MiB; sizes without a unit
are bytes.

```toml
redis_url = "redis://redis.example:6379/0"

[ingest]
max_payload = 1048576

[worker]
default_timeout_s = 30
```"""


def render() -> str:
    """The whole page."""
    parts = [_INTRODUCTION, *_section("General", Settings, "")]
    for field in msgspec.structs.fields(Settings):
        if section := section_of(field):
            parts += _section(f"[{field.name}]", section, field.name)
    variables = table(["Variable", "Meaning"], [[f"`{name}`", meaning] for name, meaning in OTHER_VARIABLES.items()])
    return page(*parts, "## Other variables", variables)


def _section(title: str, section: type[msgspec.Struct], prefix: str) -> list[str]:
    rows = [
        [
            f"`{key.path.rpartition('.')[2]}`",
            f"`{key.default}`" if key.default_is_value else key.default,
            key.expected,
            key.description,
        ]
        for path, key in KEYS.items()
        if path.rpartition(".")[0] == prefix
    ]
    return [f"## {title}", section.__doc__ or "", table(["Key", "Default", "Value", "Meaning"], rows)]
