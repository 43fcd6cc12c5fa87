"""Packages made for a test, which uv finds in a folder: no index is asked."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path


class PackageFolder:
    """Wheels and source archives for `environment`, which makes uv look here and nowhere else."""

    def __init__(self, folder: Path) -> None:
        self._links = folder / "links"
        self._links.mkdir(parents=True)
        self._config = folder / "uv.toml"
        self._config.write_text(f'no-index = true\nfind-links = ["{self._links}"]\ncache-dir = "{folder / "cache"}"\n')

    @property
    def environment(self) -> dict[str, str]:
        """For a process that is to use it."""
        return {"UV_CONFIG_FILE": str(self._config)}

    def add(self, name: str, version: str, source: str, *, requires: tuple[str, ...] = ()) -> None:
        """A pure package of one module."""
        info = f"{name}-{version}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        metadata += "".join(f"Requires-Dist: {each}\n" for each in requires)
        files = {
            f"{name}.py": source,
            f"{info}/METADATA": metadata,
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
        with zipfile.ZipFile(self._links / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            for file, text in files.items():
                wheel.writestr(file, text)

    def add_unbuildable(self, name: str, version: str, *, raising: str = "'no compiler here'") -> None:
        """A source archive that says what it is and cannot be built; `raising` is the expression that it fails with."""
        files = {
            "pyproject.toml": f'[project]\nname = "{name}"\nversion = "{version}"\n[build-system]\nrequires = []\n'
            'build-backend = "backend"\nbackend-path = ["."]\n',
            "backend.py": f"import os\ndef build_wheel(*_given, **_named):\n    raise RuntimeError({raising})\n",
            "PKG-INFO": f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n",
        }
        with tarfile.open(self._links / f"{name}-{version}.tar.gz", "w:gz") as archive:
            for file, text in files.items():
                member = tarfile.TarInfo(f"{name}-{version}/{file}")
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))

    def remove_all(self) -> None:
        """Nothing can be had any more."""
        for file in self._links.iterdir():
            file.unlink()
