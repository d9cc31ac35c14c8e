"""The states of a run directory in an object store, where files cannot be appended to, renamed or locked.

    commit.json          the marker of the last state: the names of its files, each with digest and size
    files/3f9c…          the content of a file, named by its digest, so that none is ever changed
    lock.json            which machine drives the run
    shards/              what parts and workers make (`formats/folders.py`)

The files of a state are written first, each as a whole, and then the one object `commit.json`. Whatever is killed at
whatever moment, the last state that was committed stays readable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

from saeviz.formats.damage import UNREADABLE, digest_of_file
from saeviz.formats.files import atomic_path
from saeviz.formats.objects import Objects
from saeviz.formats.plain import one_line
from saeviz.values.errors import RunDirError

FORMAT = 1
MOST_BYTES = 256 * 2**20
"""Maximum size of a `commit.json`."""
AT_ONCE = 8
LONGEST_NAME, LONGEST_PATH = 255, 1024
"""Bytes of the name of a file, and characters of its path in a run directory."""
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Content(NamedTuple):
    """The digest and the size of a file."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Commit:
    """A state of a run directory: its files by name. `key` is its digest, empty before there is any."""

    key: str = ""
    files: Mapping[str, Content] = field(default_factory=dict)


class Commits:
    """The states of the run directory at an address."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self._marker = f"{objects.root}/commit.json"
        self._files = f"{objects.root}/files"

    def last(self) -> Commit:
        """The last state. Raises `RunDirError` if its marker is damaged, or names files outside the run directory."""
        size = self.objects.sizes(self.objects.root, "commit.json").get(self._marker, 0)
        text = self.objects.read([self._marker]).get(self._marker) if size <= MOST_BYTES else b""
        if text is None:
            return Commit()
        try:
            given = json.loads(text)
            if given["format"] != FORMAT:
                raise ValueError("it was written by another version of saeviz")
            return Commit(sha256(text).hexdigest(), dict(map(_checked, given["files"].items())))
        except UNREADABLE as error:
            raise RunDirError(
                f"{self.objects.url}/commit.json is damaged ({one_line(str(error))}); choose another run.dir"
            ) from error

    def fetch(self, commit: Commit, names: Iterable[str], folder: Path) -> dict[str, str]:
        """Write files of a state into a folder; returns which are missing or damaged, with their digests."""
        sizes = self.objects.sizes(self._files)

        def fetched(name: str) -> bool:
            content = commit.files[name]
            try:
                with atomic_path(folder / name) as temporary:
                    key = self._key(content.sha256)
                    is_there = sizes.get(key) == content.size and self.objects.fetch(key, temporary)
                    if not is_there or digest_of_file(temporary) != content.sha256:
                        raise _LostError
            except _LostError:
                return False
            return True

        wanted = list(names)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return {
                name: commit.files[name].sha256
                for name, came in zip(wanted, pool.map(fetched, wanted), strict=True)
                if not came
            }

    def forget(self, digests: Iterable[str]) -> None:
        """Remove files that are damaged, so that they are written again."""
        self.objects.remove([self._key(digest) for digest in digests])

    def publish(self, folder: Path, content_of: Callable[[str], Content], before: Commit) -> Commit:
        """Commit the files of a folder as the new state; `content_of` gives the content that a file has now."""
        there = {key.rpartition("/")[2]: size for key, size in self.objects.sizes(self._files).items()}

        def published(name: str) -> Content:
            while True:
                content = content_of(name)
                if there.get(content.sha256) != content.size:
                    self.objects.write(self._key(content.sha256), folder / name)
                if content_of(name) == content:  # else it was added to meanwhile, as the log is
                    return content

        names = list(names_in(folder))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            files = dict(zip(names, pool.map(published, names), strict=True))
        text = json.dumps({"format": FORMAT, "files": files}, indent=1, ensure_ascii=False).encode()
        after = Commit(sha256(text).hexdigest(), files)
        if after.key != before.key:
            self.objects.write(self._marker, text)
        # A reader may be fetching the state before; those before that one are no longer needed.
        needed = {content.sha256 for commit in (before, after) for content in commit.files.values()}
        self.objects.remove([self._key(digest) for digest in there.keys() - needed])
        return after

    def _key(self, digest: str) -> str:
        return f"{self._files}/{digest}"


class _LostError(Exception):
    """A file is missing or damaged in the object store."""


def names_in(folder: Path) -> Iterator[str]:
    """The files of a run directory that a state has: all but hidden ones and those of workers."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if parts[0] != "shards" and not any(part.startswith(".") for part in parts) and path.is_file():
            name = "/".join(parts)
            if not _is_name(name):
                raise RunDirError(f"{str(path)!r} cannot be kept in an object store: no other system takes such a name")
            yield name


def _checked(entry: tuple[str, Any]) -> tuple[str, Content]:
    """A file of a marker, which may come from a stranger: its name leads nowhere else, its digest is one."""
    name, (digest, size) = entry
    if not _is_name(name):
        raise ValueError(f"{name!r} is not the name of a file in a run directory")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ValueError(f"{name!r} has no digest")
    return name, Content(digest, int(size))


def _is_name(name: str) -> bool:
    parts = name.split("/")
    try:
        sizes = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        return False
    if max(sizes) > LONGEST_NAME or len(name) > LONGEST_PATH:
        return False
    is_plain = all(part and not part.startswith(".") for part in parts) and parts[0] != "shards"
    return is_plain and not PureWindowsPath(name).drive and not {"\\", "\0"} & set(name)
