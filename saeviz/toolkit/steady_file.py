"""Read a file in parts that belong together: a change in between is noticed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from saeviz.toolkit.table_stream import local_source
from saeviz.toolkit.text_encoding import PIECE


class SteadyFile:
    """A file that must not change from now on. Raises `OSError` or `ValueError`, as all of its calls do."""

    def __init__(self, path: Path) -> None:
        self.source = local_source(path, path.parent)
        self.source.open().close()  # fails for a pipe instead of blocking
        self._version = self.source.version()

    def pieces(self) -> Iterator[bytes]:
        """All bytes, a megabyte at a time."""
        with self.source.open() as file:
            yield from iter(partial(file.read, PIECE), b"")
        self.check()

    def read(self, part: range) -> bytes:
        """The bytes of a part."""
        with self.source.open() as file:
            file.seek(part.start)
            data = file.read(len(part))
        self.check()
        return data

    def check(self) -> None:
        """Raise `ValueError` if the file has changed since it was first read."""
        if self.source.version() != self._version:
            raise ValueError("it has changed since it was first read; start again when nothing writes to it")
