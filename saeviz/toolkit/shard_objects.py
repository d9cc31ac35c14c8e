"""A `saeviz.toolkit.shards.ShardStore` in an object store, where nothing can be appended, renamed or locked.

    layer_11/cls/batch-.5f0c_000001.npz                the features of some items, an object written as a whole
    layer_11/cls/commits/.5f0c-000001.jsonl            makes it count: the header and the line of an index

Whoever opens the store to write has a number of its own (here `5f0c`), after the name of a `writer` and a dot, so no
two ever write the same object, and there is no lock. When shards are merged, the commit of the new one takes over the
lines of the others, which are then removed with their commits; a crash in between leaves both, which says the same.
A killed writer may leave one shard without a commit, which does not count; `clear` removes it.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from saeviz.formats.damage import Stamp
from saeviz.formats.files import OneWriter, explain_disk_errors
from saeviz.formats.lines import DAMAGED, parse_line, reason_of
from saeviz.toolkit.objects import Objects
from saeviz.toolkit.shard_files import ShardFiles
from saeviz.toolkit.shard_index import Shard, ShardIndex
from saeviz.toolkit.shards import ShardStore
from saeviz.toolkit.spaces import is_space_folder
from saeviz.values.errors import RunDirError
from saeviz.values.features import FeatureBatch
from saeviz.values.keys import space_of

_WRITER = r"(?P<writer>[a-z0-9-]*\.[0-9a-f]{12})"
_COMMIT = re.compile(rf"{_WRITER}-(?P<number>[0-9]+)\.jsonl")


@dataclass(frozen=True)
class ShardObjects(ShardFiles):
    """The objects of a store: a commit for each shard is what an index is in a folder."""

    objects: Objects
    _lines: dict[Path, list[str]] = field(default_factory=dict)
    """What was committed here, and headers of writers."""

    def lines(self, folder: Path) -> dict[str, tuple[Path, list[str]]]:
        """The commits by writer, each as if they were one index."""
        found: dict[str, dict[int, str]] = {}
        for key, content in self._commits(folder).items():
            match = _COMMIT.fullmatch(Path(key).name)
            if match is not None:
                try:
                    header, *lines = content.decode().split("\n")[:-1]
                except ValueError as error:
                    raise RunDirError(f"{key} is damaged ({reason_of(error)}); remove it and run again") from error
                entries = found.setdefault(match["writer"], {-1: header})
                number = int(match["number"])
                entries.update((number if len(lines) == 1 else _number_of(line, number), line) for line in lines)
        return {
            writer: (folder / "commits" / f"{writer}-*.jsonl", [entries[number] for number in sorted(entries)])
            for writer, entries in sorted(found.items())
        }

    def size(self, folder: Path, writer: str) -> int:  # noqa: ARG002 - of files
        """No other store has the number of this writer."""
        return 0

    def create(self, folder: Path, writer: str, header: str) -> None:
        """Remember the header: each commit begins with it."""
        self._lines[folder / writer] = [header]

    def append(self, folder: Path, writer: str, number: int, line: str) -> None:
        """Commit a shard."""
        self._commit(folder, writer, number, [line])

    def replace(self, folder: Path, shards: Iterable[Shard], by: int) -> None:
        """Remove shards of one writer; the commit of its shard `by` takes over their lines."""
        old = list(shards)
        if old:
            writer = old[0].writer
            paths = [self._path(folder, writer, shard.number) for shard in old]
            lines = [line for path in paths for line in self._lines.pop(path)]
            self._commit(folder, writer, by, [*lines, *self._lines[self._path(folder, writer, by)]])
            gone = [*paths, *(self.shard(folder, writer, shard.number) for shard in old)]
            self.objects.remove([path.as_posix() for path in gone])

    def sizes(self, folder: Path) -> dict[Path, int]:
        """Those of all objects of a folder."""
        return {Path(key): size for key, size in self.objects.sizes(folder.as_posix()).items()}

    def is_part(self, path: Path) -> bool:
        """Whether an object is a shard or a commit."""
        shard = re.compile(rf"batch-{_WRITER}_[0-9]+{re.escape(self.suffix)}")
        return bool((_COMMIT if path.parent.name == "commits" else shard).fullmatch(path.name))

    def header(self, folder: Path) -> str:
        """The first line of some commit, empty without one."""
        for key in self.objects.sizes((folder / "commits").as_posix()):
            for content in self.objects.read([key]).values():
                return content.decode(errors="replace").partition("\n")[0]
        return ""

    def _commits(self, folder: Path) -> dict[str, bytes]:
        while True:
            there = self.objects.sizes((folder / "commits").as_posix())
            keys = [key for key in there if _COMMIT.fullmatch(Path(key).name)]  # others may never be found by their key
            found = self.objects.read(keys)
            if len(found) == len(keys):  # else one was taken over by another meanwhile
                return found

    def _commit(self, folder: Path, writer: str, number: int, lines: list[str]) -> None:
        path = self._path(folder, writer, number)
        self.objects.write(path.as_posix(), "\n".join([*self._lines[folder / writer], *lines, ""]).encode())
        self._lines[path] = lines

    def _path(self, folder: Path, writer: str, number: int) -> Path:
        return folder / "commits" / f"{writer}-{number:06d}.jsonl"


class ObjectShards(ShardStore):
    """Goes before a subclass of `ShardStore`, whose shards are then objects; `keep_in` says where."""

    _files: ShardObjects

    def keep_in(self, objects: Objects) -> None:
        """To be called once, by the constructor."""
        self.folder = Path(objects.root)
        self._files = ShardObjects(self.index_name, self.suffix, objects)
        self._name, self._lock = _new_name(""), _NoLock()

    def clear(self) -> None:
        """Remove all features, of all writers. Other objects are left alone; nobody may be writing."""
        for folder in self._space_folders():
            parts = [path for path in self._files.sizes(folder) if self._files.is_part(path)]
            parts.sort(key=lambda path: path.parent.name != "commits")
            self._files.objects.remove([path.as_posix() for path in parts])
        self._indexes = {}

    def _as(self, name: str) -> Self:
        other = copy(self)
        other._name, other._lock = _new_name(name), _NoLock()
        other.__dict__.pop("_indexes", None)
        return other

    def _space_folders(self) -> list[Path]:
        parts = [path for path in self._files.sizes(self.folder) if self._files.is_part(path)]
        folders = {path.parent.parent if path.parent.name == "commits" else path.parent for path in parts}
        return sorted(folder for folder in folders if is_space_folder(self.folder, folder) and self._is_own(folder))

    def _is_own(self, folder: Path) -> bool:
        if folder.parent.parent == self.folder:
            return True
        with suppress(*DAMAGED):
            return self._folder(space_of(parse_line(self._files.header(folder)))) == folder
        return False

    def _lost(self, index: ShardIndex) -> dict[int, str]:
        sizes = self._files.sizes(index.folder)
        found = {key: sizes.get(index.path(shard)) for key, shard in index.shards.items()}
        changed = {key for key, shard in index.shards.items() if shard.stamp and found[key] != shard.stamp.size}
        return {
            key: "is missing" if size is None else "was changed or damaged since it was written"
            for key, size in found.items()
            if size is None or key in changed
        }

    def _clean(self, index: ShardIndex) -> None:
        """There is nothing that a writer of this number could have left."""

    def _save(self, path: Path, batch: FeatureBatch, save: Callable[[Path, FeatureBatch], None]) -> Stamp:
        with _temporary(path.name) as file:
            with explain_disk_errors(file):
                save(file, batch)
                stamp = Stamp.of(file)
            self._files.objects.write(path.as_posix(), file)
        return stamp

    def _discard(self, index: ShardIndex, emptied: Iterable[Shard]) -> None:
        self._files.replace(index.folder, emptied, by=index.last_number)

    @contextmanager
    def _fetched(self, path: Path) -> Iterator[Path]:
        content = self._files.objects.read([path.as_posix()]).get(path.as_posix())
        if content is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        with _temporary(path.name) as file:
            file.write_bytes(content)
            yield file


class _NoLock(OneWriter):
    """Of a writer that shares its number with nobody; knows only whether it has begun."""

    def __init__(self) -> None:
        super().__init__(Path())
        self._has_begun = False

    def claim(self) -> bool:
        is_new, self._has_begun = not self._has_begun, True
        return is_new

    def release(self) -> None:
        self._has_begun = False


def _new_name(name: str) -> str:
    return f"{name}.{secrets.token_hex(6)}"


@contextmanager
def _temporary(name: str) -> Iterator[Path]:
    with TemporaryDirectory(prefix="saeviz-") as folder:
        yield Path(folder) / name


def _number_of(line: str, otherwise: int) -> int:
    """The number of the shard that a line is about; a damaged one is told apart when it is read."""
    try:
        return int(json.loads(line)["batch"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return otherwise
