"""Which tar files a folder, a pattern or a URL means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from glob import glob, has_magic
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import saeviz
from saeviz.toolkit.fetch.files import FetchedFiles
from saeviz.toolkit.fetch.request import TAR
from saeviz.toolkit.names import same_form

if TYPE_CHECKING:
    from saeviz_webdataset import WebDatasetOptions

MOST = 1_000_000
"""Tar files that one pattern may name."""
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_BRACES = re.compile(r"\{([^{}]*)\}")


class Shards:
    """The tar files of a data set: `names`, in order, and where each of them is."""

    def __init__(self, options: WebDatasetOptions, context: saeviz.Context) -> None:
        self.options = options
        self.context = context

    @cached_property
    def names(self) -> dict[str, str]:
        """The path or URL of each tar file by its name: its path below the folder, without `.tar`.

        Raises `DataError` if there are none, or if one is missing.
        """
        pattern = self.options.url or str(self.options.path)
        places = expanded(pattern) if self.options.url else self._files(Path(pattern))
        start = _fixed_part(pattern)
        names: dict[str, str] = {}
        for place in places:
            name = same_form(_text(place[len(start) :].lstrip("/\\"))).removesuffix(".tar").replace("\\", "/")
            if names.setdefault(name, place) != place:
                raise saeviz.DataError(f"images: two tar files are called {name!r}: {names[name]} and {place}")
        return names

    def path(self, name: str) -> Path:
        """The tar file of this name, fetched now if it is a URL whose content is not in the cache."""
        place = self.names[name]
        return self._fetched.path(place) if self.options.url else Path(place)

    def version(self, name: str) -> str:
        """Text that changes with the content of the tar file, and is known without fetching it."""
        if self.options.url:
            return self._fetched.version(self.names[name])
        try:
            stat = Path(self.names[name]).stat()
        except OSError as error:
            raise saeviz.DataError(f"images.path: {self.names[name]} cannot be read: {error.strerror}") from error
        return f"{stat.st_size}-{stat.st_mtime_ns}"

    def close(self) -> None:
        """Fetch no more."""
        if "_fetched" in vars(self):
            self._fetched.close()

    @cached_property
    def _fetched(self) -> FetchedFiles:
        return FetchedFiles(self.options, self.context, TAR)

    def _files(self, path: Path) -> list[str]:
        if path.is_dir():
            found = sorted(str(file) for file in path.rglob("*.tar") if not _is_hidden(file.relative_to(path)))
            if not found:
                raise saeviz.DataError(f"images.path: no tar files (*.tar) in {path}")
            return found
        if path.exists():
            return [str(path)]
        files = []
        for place in expanded(str(path)):
            found = sorted(glob(place)) if has_magic(place) else [place]  # noqa: PTH207 - of an absolute path
            if not found or not Path(found[0]).is_file():
                raise saeviz.DataError(f"images.path: no file {place}")
            files += found
        return files


def expanded(pattern: str) -> list[str]:
    """What a pattern with braces names: `{a,b}` for each of its parts, `{000..127}` for each number, as wide as 000.

    Raises `DataError` for more than a million.
    """
    found = list(islice(_expanded(pattern), MOST + 1))
    if len(found) > MOST:
        raise saeviz.DataError(f"images: {pattern} names more than {MOST:,} tar files")
    return found


def _expanded(pattern: str) -> Iterator[str]:
    braces = _BRACES.search(pattern)
    if braces is None:
        yield pattern
        return
    before, after = pattern[: braces.start()], pattern[braces.end() :]
    numbers = _RANGE.fullmatch(braces[1])
    parts: Iterator[str] = iter(braces[1].split(","))
    if numbers:
        first, last = int(numbers[1]), int(numbers[2])
        step = 1 if first <= last else -1
        width = len(numbers[1]) if numbers[1].startswith("0") or numbers[2].startswith("0") else 1
        parts = (f"{number:0{width}}" for number in range(first, last + step, step))
    for part in parts:
        for rest in _expanded(after):
            yield f"{before}{part}{rest}"


def _fixed_part(pattern: str) -> str:
    """The folder of a pattern before its first variable part."""
    if Path(pattern).is_dir():
        return pattern
    fixed = re.split(r"[{*?\[]", pattern, maxsplit=1)[0]
    return fixed[: max(fixed.rfind("/"), fixed.rfind("\\")) + 1]


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _text(name: str) -> str:
    """As text that can be written anywhere."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
