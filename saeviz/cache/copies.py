"""Copies of the features of runs that are ordered by feature, made when a run is served."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from saeviz.cache.entries import Kept
from saeviz.cache.pruning import Entry
from saeviz.formats.by_feature import ByFeature
from saeviz.formats.files import OneWriter, atomic_folder, remove_temporaries
from saeviz.values.errors import RunDirError


class Copies:
    """The folder `by-feature` of the cache: a copy per run and state of its features."""

    def __init__(self, cache_dir: Path) -> None:
        self.folder = cache_dir / "by-feature"

    def opened(self, run: str, state: str, fill: Callable[[Path], None]) -> ByFeature:
        """The copy of a run in a state. One that is missing or damaged is made by `fill`, and others of the run go.

        Raises `RunDirError` if it cannot be written, or if another process is making it.
        """
        wanted = self.folder / run / state
        if (found := _whole(wanted, checked=True)) is None:
            writer = OneWriter(wanted.parent)
            writer.claim()
            try:
                found = _whole(wanted, checked=True) or self._made(wanted, fill)
            finally:
                writer.release()
        with suppress(OSError):
            os.utime(wanted)
        return found

    def _made(self, wanted: Path, fill: Callable[[Path], None]) -> ByFeature:
        remove_temporaries(wanted.parent)
        self.remove(path for path in wanted.parent.glob("[0-9a-f]*") if path != wanted)
        with atomic_folder(wanted) as folder:
            fill(folder)
        return ByFeature(wanted)

    def usage(self) -> list[Kept]:
        """What they take, empty if there are none."""
        known = list(self.by_use())
        if not known:
            return []
        images = sum(found.n_images for entry in known if (found := _whole(entry.key)))
        title = f"features of {len(known)} served {'run' if len(known) == 1 else 'runs'}, ordered by feature"
        return [Kept("served", title, images, sum(entry.size for entry in known), known[-1].used)]

    def by_use(self) -> Iterator[Entry[Path]]:
        """The copies, least recently used first."""
        found = []
        for path in self.folder.glob("*/[0-9a-f]*"):
            with suppress(FileNotFoundError):  # removed by another process
                size = sum(file.stat().st_size for file in path.iterdir())
                found.append(Entry(path.stat().st_mtime, size, path))
        yield from sorted(found)

    def remove(self, paths: Iterable[Path]) -> None:
        """Remove copies."""
        for path in paths:
            shutil.rmtree(path, ignore_errors=True)


def _whole(folder: Path, *, checked: bool = False) -> ByFeature | None:
    try:
        found = ByFeature(folder)
        if checked:
            found.check()
        return found
    except (RunDirError, OSError, ValueError, LookupError, TypeError):
        return None
