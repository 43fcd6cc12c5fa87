"""Where the values of settings come from: the default, a file, the environment.

Each wins over the one before: the default; `headrace.toml` in the folder where the process starts, or the file that
HEADRACE_CONFIG names; the environment. `max_payload` of section `ingest` is HEADRACE_INGEST__MAX_PAYLOAD.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from shared.config import KEYS, Settings
from shared.config_keys import PREFIX, Key, describe, section_of
from shared.errors import ConfigError

FILE_NAME = "headrace.toml"

OTHER_VARIABLES = {
    "REDIS_URL": "As HEADRACE_REDIS_URL, which wins where both are set.",
    "HEADRACE_CONFIG": "File to read instead of headrace.toml; it has to exist.",
    "HEADRACE_MOSQUITTO": "The mosquitto program that `headrace broker` starts; without it the one on the PATH.",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "Collector of traces; with the other variables of OpenTelemetry, see Monitor.",
    "HEADRACE_SECRET_KEY": "Key that secret variables of the workspace are encrypted with.",
}
"""Variables that Headrace reads and that are no keys of the tree."""

_VARIABLES = {key.variable: key for key in KEYS.values()} | {"REDIS_URL": KEYS["redis_url"]}
_SECTIONS = {field.name: section for field in msgspec.structs.fields(Settings) if (section := section_of(field))}


def load_settings(env: Mapping[str, str], cwd: Path) -> Settings:
    """The settings for a process with this environment, started in this folder.

    Reads one file and nothing else. An empty variable counts as not set. `data` is absolute in what is returned.
    Raises ConfigError, naming file or variable and key, for an unknown key, a wrong type, a value out of range, and a
    file that was asked for and cannot be read.
    """
    env = {name: value for name, value in env.items() if value}
    asked_for = env.get("HEADRACE_CONFIG")
    from_file = _from_file(cwd / (asked_for or FILE_NAME), required=asked_for is not None)
    settings = _assemble(from_file | _from_environment(env))
    return msgspec.structs.replace(settings, data=cwd / settings.data)


def _from_file(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not required:
            return {}
        hint = "HEADRACE_CONFIG names the file; without it headrace.toml is read where there is one"
        raise ConfigError(f"{path} cannot be read: {error.strerror}", hint=hint, file=str(path)) from error
    except ValueError as error:
        hint = "the file is TOML in UTF-8: sections like [ingest], lines like max_payload = 1048576"
        raise ConfigError(f"{path} is not TOML: {error}", hint=hint, file=str(path)) from error
    values: dict[str, Any] = {}
    for name, raw in _flat(document):
        if (key := KEYS.get(name)) is None:
            hint = f"write its keys under [{name}]" if name in _SECTIONS else _suggest(name, [*KEYS, *_SECTIONS])
            raise ConfigError(f"{path}: {name} is not a setting", hint=hint, file=str(path), key=name)
        values[name] = _convert(key, raw, f"{path}: {name}", text=False)
    return values


def _from_environment(env: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    ours_last = sorted(env, key=lambda name: (name.startswith(PREFIX), name))
    for variable in ours_last:
        if key := _VARIABLES.get(variable):
            values[key.path] = _convert(key, env[variable], variable, text=True)
        elif variable.startswith(PREFIX) and variable not in OTHER_VARIABLES:
            hint = _suggest(variable, [*_VARIABLES, *OTHER_VARIABLES])
            raise ConfigError(f"environment variable {variable} is not a setting", hint=hint, variable=variable)
    return values


def _assemble(values: Mapping[str, Any]) -> Settings:
    own: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {name: {} for name in _SECTIONS}
    for path, value in values.items():
        section, _, name = path.rpartition(".")
        (inner[section] if section else own)[name] = value
    own |= {name: _SECTIONS[name](**keys) for name, keys in inner.items()}
    return Settings(**own)


def _flat(document: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for name, value in document.items():
        if name in _SECTIONS and isinstance(value, dict):
            yield from ((f"{name}.{inner}", each) for inner, each in value.items())
        else:
            yield name, value


def _convert(key: Key, raw: object, where: str, *, text: bool) -> Any:
    try:
        return key.convert(raw, text=text)
    except msgspec.ValidationError as error:
        message = f"{where} is {describe(raw)}, expected {key.expected}"
        raise ConfigError(message, hint=key.description, key=key.path) from error


def _suggest(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    return (f"did you mean {close[0]}? " if close else "") + "All settings: docs/reference/configuration.md"
