"""A folder of whole files that several processes share: on a disk, or in an object store.

A file there is complete or not there. In an object store every file is an object, and what is discarded stays until the
run has committed what it made of it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from shutil import rmtree
from typing import BinaryIO

from saeviz.formats.files import atomic_path, explain_disk_errors
from saeviz.formats.objects import Objects
from saeviz.values.errors import RunDirError


class Folder:
    """A folder on a disk. Several processes may write at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __truediv__(self, name: str) -> Folder:
        """A folder in this one."""
        return Folder(self._path / name)

    def __str__(self) -> str:
        return str(self._path)

    def names(self, prefix: str = "") -> list[str]:
        """The files in the folder, not below it, whose names begin so, sorted."""
        found: list[str] = []
        with explain_disk_errors(self._path, "read"), suppress(FileNotFoundError), os.scandir(self._path) as entries:
            found = [entry.name for entry in entries if entry.name.startswith(prefix) and entry.is_file()]
        return sorted(found)

    def has(self, name: str) -> bool:
        """Whether there is a file of this name, damaged or not."""
        return (self._path / name).exists()

    def source(self, name: str) -> Path | bytes:
        """What to read a file from: its path or its content. Raises `FileNotFoundError` if it is not there."""
        if not self.has(name):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._path / name))
        return self._path / name

    def written(self, name: str) -> float:
        """When a file was written last, in seconds since 1970."""
        with explain_disk_errors(self._path / name, "read"):
            return (self._path / name).stat().st_mtime_ns / 1e9

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """A file to write to, which takes the place of one of this name when the block ends without an exception."""
        with atomic_path(self._path / name) as temporary, temporary.open("wb") as file:
            yield file

    def remove(self, names: Iterable[str]) -> None:
        """Remove files at once; one that is not there does no harm."""
        for name in names:
            with explain_disk_errors(self._path / name, "removed"):
                (self._path / name).unlink(missing_ok=True)

    def discard(self, names: Iterable[str]) -> None:
        """Remove files of which the run has what it needs."""
        self.remove(names)

    def discard_all(self) -> None:
        """Discard everything."""
        self.clear()

    def clear(self) -> None:
        """Remove everything."""
        rmtree(self._path, ignore_errors=True)
        with suppress(OSError):  # it has neighbours, or is not there
            self._path.parent.rmdir()


class ObjectFolder(Folder):
    """A folder in an object store. What is discarded is removed by `remove_discarded`."""

    def __init__(self, objects: Objects, key: str, discarded: list[str] | None = None) -> None:
        self._objects = objects
        self._key = key
        self._discarded: list[str] = [] if discarded is None else discarded

    def __truediv__(self, name: str) -> ObjectFolder:
        """A folder in this one."""
        return ObjectFolder(self._objects, self._of(name), self._discarded)

    def __str__(self) -> str:
        return f"{self._objects.scheme}://{self._key}"

    def names(self, prefix: str = "") -> list[str]:
        """The objects in the folder, not below it, whose names begin so, sorted."""
        found = (key.removeprefix(f"{self._key}/") for key in self._objects.sizes(self._key, prefix))
        return [name for name in found if "/" not in name and name.startswith(prefix)]

    def has(self, name: str) -> bool:
        """Whether there is an object of this name."""
        return name in self.names(name)

    def source(self, name: str) -> bytes:
        """The content of an object. Raises `FileNotFoundError` if it is not there."""
        content = self._objects.read([self._of(name)]).get(self._of(name))
        if content is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{self}/{name}")
        return content

    def written(self, name: str) -> float:
        """When an object was written last."""
        return self._objects.modified(self._of(name))

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """A file in memory, which becomes the object when the block ends without an exception."""
        file = BytesIO()
        yield file
        self._objects.write(self._of(name), file.getvalue())

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects at once."""
        self._objects.remove([self._of(name) for name in names])

    def discard(self, names: Iterable[str]) -> None:
        """Have objects removed once the run has committed what it made of them."""
        self._discarded += [self._of(name) for name in names]

    def discard_all(self) -> None:
        """Have everything removed once the run has committed what it made of it."""
        self._discarded += self._objects.sizes(self._key)

    def remove_discarded(self) -> None:
        """Remove what was discarded here and below."""
        self._objects.remove(self._discarded)
        self._discarded.clear()

    def clear(self) -> None:
        """Remove everything at once."""
        self._objects.remove(list(self._objects.sizes(self._key)))

    def put(self, path: Path) -> None:
        """Make an object of a file, under its name."""
        self._objects.write(self._of(path.name), path)

    def fetch(self, name: str, path: Path) -> None:
        """Write the content of an object to a file. Raises `RunDirError` if there is no such object."""
        if not self._objects.fetch(self._of(name), path):
            raise RunDirError(f"{self}/{name} is missing; the same command makes it again")

    def _of(self, name: str) -> str:
        return f"{self._key}/{name}"
