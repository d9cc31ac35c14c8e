"""A cache of images and tar files fetched by URL, shared by all runs."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from hashlib import file_digest, sha256
from pathlib import Path
from typing import BinaryIO

from saeviz.cache.pruning import Entry
from saeviz.formats.files import sync_all, write_atomic
from saeviz.values.regular import open_regular

logger = logging.getLogger("saeviz")
_DIGEST = re.compile("[0-9a-f]{64}")
_VERSION = re.compile("[0-9a-f]{8}")


class Downloads:
    """The folder `downloads` of the cache: maps each URL to the digest of its content, and each digest to the content.

    URLs are stored only as digests, because they may contain secrets.
    """

    def __init__(self, cache_dir: Path) -> None:
        self.folder = cache_dir / "downloads"

    def read(self, url: str) -> bytes | None:
        """The content of the URL, None if it is not cached. A damaged file is removed and counts as not cached."""
        path = self._found(url)
        if path is None:
            return None
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if sha256(data).hexdigest() != path.name:
            logger.warning("the cache has a damaged picture, which is fetched again: %s", path)
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):  # read-only access is enough
            os.utime(path)
        return data

    def has(self, url: str) -> bool:
        """Whether the URL is cached, without checking for damage."""
        path = self._found(url)
        return path is not None and path.is_file()

    def file(self, url: str) -> Path | None:
        """The file with the content of the URL, for what is too large to be read whole; None if it is not cached.

        A damaged file is removed and counts as not cached.
        """
        path = self._found(url)
        with suppress(OSError):  # the file is gone
            if path is not None and _digest_of(path) == path.name:
                with suppress(OSError):
                    os.utime(path)
                return path
            if path is not None:
                logger.warning("the cache has a damaged file, which is fetched again: %s", path)
                path.unlink()
        return None

    def keep(self, url: str, data: bytes) -> None:
        """Store fetched content atomically."""
        found = sha256(data).hexdigest()
        write_atomic(self._content(found), data)
        self._note(url, found)

    def keep_file(self, url: str, save: Callable[[BinaryIO], None]) -> None:
        """Store what `save` writes, without having it in memory; if it raises an error, nothing is stored.

        Processes that store the same URL take turns; one that had to wait stores nothing.
        """
        from filelock import FileLock

        part = self.folder / "parts" / _digest(url)
        part.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(part.with_suffix(".lock")):
            if self.has(url):
                return
            with part.open("wb") as file:
                save(file)
            found = _digest_of(part)
            content = self._content(found)
            content.parent.mkdir(parents=True, exist_ok=True)
            sync_all([part])
            part.replace(content)
            self._note(url, found)

    def _note(self, url: str, found: str) -> None:
        record = self._record(url)
        before = _text_of(record, _DIGEST) or found
        if before != found:
            write_atomic(self.folder / "changed" / _digest(url), found[:8])
        write_atomic(record, found)

    def version(self, url: str) -> str:
        """Text that changes with the URL, and when that was fetched again and had come to show something else.

        It is the same before the URL is fetched and after.
        """
        name = _digest(url)
        return f"url-{name[:16]}-{self._changed[name]}" if name in self._changed else f"url-{name[:16]}"

    def by_use(self) -> Iterator[Entry[Path]]:
        """The cached files, least recently used first."""
        found = []
        parts = (self.folder / "parts").glob("[0-9a-f]" * 64)  # of a process that was killed
        for path in (*(self.folder / "content").glob("*/[0-9a-f]*"), *parts):
            with suppress(FileNotFoundError):  # removed by another process
                status = path.stat()
                found.append(Entry(status.st_mtime, status.st_size, path))
        yield from sorted(found)

    def remove(self, paths: Iterable[Path]) -> None:
        """Remove files. The digests of their URLs are kept, to detect changes."""
        for path in paths:
            path.unlink(missing_ok=True)

    @cached_property
    def _changed(self) -> dict[str, str]:
        found = {path.name: _text_of(path, _VERSION) for path in (self.folder / "changed").glob("[0-9a-f]*")}
        return {name: text for name, text in found.items() if text}

    def _found(self, url: str) -> Path | None:
        """The file that should have the content of the URL."""
        name = _text_of(self._record(url), _DIGEST)
        return self._content(name) if name else None

    def _record(self, url: str) -> Path:
        name = _digest(url)
        return self.folder / "urls" / name[:2] / name

    def _content(self, name: str) -> Path:
        return self.folder / "content" / name[:2] / name


def _digest_of(path: Path) -> str:
    with open_regular(path) as file:
        return file_digest(file, "sha256").hexdigest()


def _text_of(path: Path, kind: re.Pattern[str]) -> str | None:
    """The content of a small file, None if it does not exist or does not have the expected form."""
    try:
        found = kind.fullmatch(path.read_text("ascii"))
    except (OSError, ValueError):
        return None
    return found[0] if found else None


def _digest(url: str) -> str:
    return sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
