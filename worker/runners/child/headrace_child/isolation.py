"""What separates user code from Headrace: its path and its limits. Its life is the keeper's business."""
# ruff: noqa: PTH112, PTH113, PTH118, PTH120, PTH123 - pathlib and importlib.abc would take longer to import than everything else together

from __future__ import annotations

import importlib.machinery
import os
import resource
import site
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any


def limit_memory(size: int | None) -> None:
    """Bound the address space to `size` bytes: allocations beyond it raise MemoryError."""
    if size is not None:
        resource.setrlimit(resource.RLIMIT_AS, (size, size))


def set_path(settings: dict[str, Any], stdlib: Sequence[str]) -> None:
    """Put on sys.path exactly what user code may import; files named *.pth are not obeyed.

    In this order: the script's folder, the workspace, the user's dependencies, the folder of `headrace`, the standard
    library, the interpreter's site-packages unless they are Headrace's own.
    """
    site.setquit()
    packages = [folder for folder in _site_packages() if os.path.realpath(folder) not in settings["withheld"]]
    sys.path[:] = dict.fromkeys([*settings["path"], settings["helper"], *stdlib, *packages])
    sys.meta_path.insert(0, HiddenPackages(settings["hidden"], settings["hidden_folder"]))


def _site_packages() -> list[str]:
    """Where the interpreter's packages are. Under -S Python does not look for a virtual environment by itself."""
    environment = os.path.dirname(os.path.dirname(sys.executable))
    marker = os.path.join(environment, "pyvenv.cfg")
    prefixes = [sys.prefix]
    if os.path.isfile(marker):
        with open(marker, encoding="utf-8") as lines:
            shared = any("".join(line.split()).lower() == "include-system-site-packages=true" for line in lines)
        prefixes = [environment, sys.base_prefix] if shared else [environment]
        sys.prefix = sys.exec_prefix = environment
    return [folder for folder in site.getsitepackages(prefixes) if os.path.isdir(folder)]


class HiddenPackages:
    """Looks for the packages `names` everywhere but in `folder`, where Headrace's own packages of these names are."""

    def __init__(self, names: Sequence[str], folder: str) -> None:
        self._names = frozenset(names)
        self._folder = os.path.realpath(folder)

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The user's own package of that name; ModuleNotFoundError when there is none."""
        if fullname not in self._names:
            return None
        folders = [folder for folder in sys.path if os.path.realpath(folder) != self._folder]
        spec = importlib.machinery.PathFinder.find_spec(fullname, folders, target)
        if spec is None:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return spec
