"""The Python that runs scripts: which version it is, and what can be imported in it without installing anything."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import sysconfig

import msgspec

from shared.errors import ConfigError

PROBE_TIMEOUT_S = 30

_PROBE = """
import json, pkgutil, site, sys, sysconfig
folders = site.getsitepackages()
print(json.dumps({
    "version": "%d.%d" % sys.version_info[:2],
    "platform": sysconfig.get_config_var("SOABI") or sysconfig.get_platform(),
    "stdlib": sorted(sys.stdlib_module_names),
    "provided": {folder: [module.name for module in pkgutil.iter_modules([folder])] for folder in folders},
}))
"""


class _Told(msgspec.Struct):
    version: str
    platform: str
    stdlib: list[str]
    provided: dict[str, list[str]]


class Interpreter(msgspec.Struct, frozen=True):
    """`version` is like `3.11`; `platform` tells builds apart that need different wheels.

    `importable` are top-level names of its standard library, and of its own packages where they are not Headrace's.
    """

    executable: str
    version: str
    platform: str
    importable: frozenset[str]


def probe(python: str) -> Interpreter:
    """Ask an interpreter, given by path or name. Raises ConfigError if it cannot be run, or is older than 3.10."""
    executable = shutil.which(python)
    if executable is None:
        raise ConfigError(f"worker.python is {python}, and there is no such program", hint="name an interpreter")
    told = _ours() if executable == sys.executable else _ask(executable)
    withheld = own_packages()
    provided = (names for folder, names in told.provided.items() if os.path.realpath(folder) not in withheld)
    importable = frozenset(told.stdlib).union(*provided)
    return Interpreter(executable, told.version, told.platform, importable)


def own_packages() -> frozenset[str]:
    """Folders with the packages that Headrace itself needs: not for user code."""
    folders = [*site.getsitepackages(), site.getusersitepackages(), *sys.path]
    return frozenset(os.path.realpath(folder) for folder in folders if folder)


def _ours() -> _Told:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    platform = sysconfig.get_config_var("SOABI") or sysconfig.get_platform()
    return _Told(version, platform, sorted(sys.stdlib_module_names), {})


def _ask(executable: str) -> _Told:
    command = [executable, "-I", "-c", _PROBE]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=PROBE_TIMEOUT_S)  # noqa: S603 - the setting names it
        return msgspec.json.decode(done.stdout, type=_Told)
    except (OSError, subprocess.SubprocessError, msgspec.DecodeError) as error:
        said = getattr(error, "stderr", b"") or str(error).encode()
        message = f"worker.python is {executable}, and it cannot be asked what it is: {said.decode().strip()[-200:]}"
        raise ConfigError(message, hint="name a Python of version 3.10 or later") from error
