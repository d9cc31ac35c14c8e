"""Pictures fetched by URL, kept for all runs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from saeviz.files import write_atomic


class Downloads:
    """The folder `downloads` of the cache: for each URL the digest of what it shows, for each digest the content.

    URLs are known by their digests; they may hold secrets.
    """

    def __init__(self, cache_dir: Path) -> None:
        self.folder = cache_dir / "downloads"

    def read(self, url: str) -> bytes | None:
        """What the URL shows, None where it is not kept."""
        try:
            path = self._content(self._record(url).read_text())
            with suppress(OSError):  # whoever may only read it may use it
                os.utime(path)
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def has(self, url: str) -> bool:
        """Whether what the URL shows is kept."""
        try:
            return self._content(self._record(url).read_text()).is_file()
        except FileNotFoundError:
            return False

    def keep(self, url: str, data: bytes) -> None:
        """Keep what was fetched; readers and other writers see all of it or nothing."""
        found = sha256(data).hexdigest()
        record = self._record(url)
        before = record.read_text() if record.is_file() else found
        write_atomic(self._content(found), data)
        if before != found:
            write_atomic(self.folder / "changed" / _digest(url), found[:8])
        write_atomic(record, found)

    def version(self, url: str) -> str:
        """Text that changes with the URL, and when that was fetched again and had come to show something else.

        It is the same before the URL is fetched and after.
        """
        name = _digest(url)
        return f"url-{name[:16]}-{self._changed[name]}" if name in self._changed else f"url-{name[:16]}"

    def by_use(self) -> Iterator[tuple[float, int, Path]]:
        """When each picture was last used, its size and its file, longest ago first."""
        found = []
        for path in (self.folder / "content").glob("*/[0-9a-f]*"):
            with suppress(FileNotFoundError):  # somebody else prunes it
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        yield from sorted(found)

    def remove(self, paths: Iterable[Path]) -> None:
        """Remove pictures. What their URLs showed is remembered, to see when it changes."""
        for path in paths:
            path.unlink(missing_ok=True)

    @cached_property
    def _changed(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in (self.folder / "changed").glob("[0-9a-f]*")}

    def _record(self, url: str) -> Path:
        name = _digest(url)
        return self.folder / "urls" / name[:2] / name

    def _content(self, name: str) -> Path:
        return self.folder / "content" / name[:2] / name


def _digest(url: str) -> str:
    return sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
