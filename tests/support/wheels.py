"""Packages made for a test, which uv finds in a folder: no index is asked."""

from __future__ import annotations

import io
import tarfile
import zipfile
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement


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
        contents = {file: text.encode() for file, text in files.items()}
        self._write_wheel(f"{name}-{version}-py3-none-any.whl", info, contents)

    def add_installed(self, *names: str) -> None:
        """Pure packages as they are installed beside the tests, with all that they need in turn."""
        waiting, done = set(names), set[str]()
        while waiting:
            done.add(name := waiting.pop())
            found = distribution(name)
            stem = f"{found.name.replace('-', '_')}-{found.version}"
            kept = [file for file in found.files or [] if file.parts[0] != ".." and file.suffix != ".pyc"]
            kept = [file for file in kept if file.name not in {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}]
            info = next(file.parts[0] for file in kept if file.name == "METADATA")
            contents = {file.as_posix(): Path(file.locate()).read_bytes() for file in kept}
            self._write_wheel(f"{stem}-py3-none-any.whl", info, contents)
            needs = [Requirement(text) for text in found.requires or []]
            waiting |= {each.name for each in needs if not each.marker or each.marker.evaluate({"extra": ""})} - done

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

    def _write_wheel(self, file: str, info: str, contents: dict[str, bytes]) -> None:
        record = "".join(f"{name},,\n" for name in [*contents, f"{info}/RECORD"])
        with zipfile.ZipFile(self._links / file, "w") as wheel:
            for name, content in (contents | {f"{info}/RECORD": record.encode()}).items():
                wheel.writestr(name, content)

    def remove_all(self) -> None:
        """Nothing can be had any more."""
        for file in self._links.iterdir():
            file.unlink()
