"""Digests of what results depend on besides options: the content of files they name, and a component's code."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from saeviz.cache.entries import SharedCache
from saeviz.contract.options import Options, neutral_fields, path_fields
from saeviz.contract.specs import ComponentSpec
from saeviz.formats.damage import checksum, digest_of_file

LARGE = 2**20
"""Bytes from which a digest is kept for later runs; smaller files are read faster than it is looked up."""
SETTLED = 2.0
"""Seconds after which a file that is written to once more certainly has another time."""

_known: dict[tuple[Path, str], str] = {}


class Contents:
    """Digests of the content of files and folders; touching or copying a file does not change them.

    A file is read again only where its size, its times or its inode have changed; for large ones that holds beyond this
    process, too, where there is a `cache_dir` with a cache.
    """

    def __init__(self, cache_dir: Path | None) -> None:
        self._cache_dir = cache_dir

    def of_options(self, options: Options) -> list[str]:
        """The digests of the files and folders that options name, such as weights, sorted by option."""
        fields = sorted(path_fields(type(options)).keys() - set(neutral_fields(type(options))))
        return [self._of(path) for name in fields for path in _paths_in(getattr(options, name)) if path.exists()]

    def of_code(self, spec: ComponentSpec) -> list[str]:
        """The digests of the code of a component and its options, which can change without a new version."""
        factory = spec.factory
        module = factory.partition(":")[0] if isinstance(factory, str) else getattr(factory, "__module__", "")
        homes = dict.fromkeys(path for name in (module, spec.options.__module__) for path in _home_of(name))
        return [self._of(path) for path in homes]

    def _of(self, path: Path) -> str:
        names = [Path()] if path.is_file() else sorted(_inside(path))
        return sha256(b"".join(checksum(name.as_posix(), self._digest(path / name)) for name in names)).hexdigest()

    def _digest(self, path: Path) -> str:
        try:
            status = path.stat()
            stamp = f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}-{status.st_ino}"
            if (path, stamp) not in _known:
                _known[path, stamp] = self._looked_up_or_read(path, status, stamp)
            return _known[path, stamp]
        except OSError as error:
            return f"unreadable: {error.errno}"

    def _looked_up_or_read(self, path: Path, status: os.stat_result, stamp: str) -> str:
        folder = self._cache_dir
        if folder is None or status.st_size < LARGE or not SharedCache.path_in(folder).is_file():
            return digest_of_file(path)
        try:
            cache = SharedCache(folder)
        except sqlite3.Error:
            return digest_of_file(path)
        try:
            found = cache.digests({path: stamp}).get(path)
            if found is not None:
                return found.hex()
            digest = digest_of_file(path)
            if time.time() - max(status.st_mtime, status.st_ctime) > SETTLED:
                cache.remember({path: (stamp, bytes.fromhex(digest))})
            return digest
        except sqlite3.Error:
            return digest_of_file(path)
        finally:
            cache.close()


def _inside(folder: Path) -> Iterator[Path]:
    """All files below a folder, except hidden and compiled Python files."""
    for file in folder.rglob("*"):
        name = file.relative_to(folder)
        if not any(part.startswith(".") or part == "__pycache__" for part in name.parts) and file.is_file():
            yield name


def _paths_in(value: Any) -> Iterator[Path]:
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, BaseModel):
        value = [getattr(value, name) for name in path_fields(type(value))]
    if isinstance(value, list | tuple):
        for part in value:
            yield from _paths_in(part)
    elif value and isinstance(value, str | Path):
        yield Path(value)


def _home_of(module: str) -> Iterable[Path]:
    """The folder of the package that a module belongs to, or its file where it is alone, or part of the core."""
    package = module.partition(".")[0]
    try:
        spec = find_spec(module if package == "saeviz" else package) if package else None
    except (ImportError, ValueError):
        return
    if spec is not None and spec.origin is not None and Path(spec.origin).is_file():
        yield Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)
