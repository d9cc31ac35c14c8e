"""Runs in object stores, as this machine has them: the states that were fetched, and the mirrors that runs work in."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from saeviz.cache.entries import Kept
from saeviz.cache.pruning import Entry
from saeviz.formats.mirror import FETCH_LOCK, holds_more
from saeviz.formats.rundir import RunDir
from saeviz.values.errors import SaevizError


class Mirrors:
    """The folder `runs` of the cache: for each address a mirror, and a folder for each state that was fetched."""

    def __init__(self, cache_dir: Path) -> None:
        self.folder = cache_dir / "runs"

    def usage(self) -> list[Kept]:
        """What they take, empty if there are none."""
        known = [_entry(path) for path in self._paths()]
        if not known:
            return []
        runs = {entry.key.parent: entry.key for entry in sorted(known)}
        n_runs, n_images = len(runs), sum(map(_n_images, runs.values()))
        title = f"{n_runs} {'run' if n_runs == 1 else 'runs'} in object stores, as they are on this machine"
        return [Kept("runs", title, n_images, sum(entry.size for entry in known), max(entry.used for entry in known))]

    def by_use(self) -> Iterator[Entry[Path]]:
        """Those of which the object store has everything, least recently used first."""
        yield from sorted(_entry(path) for path in self._paths() if not holds_more(path))

    def remove(self, paths: Iterable[Path]) -> None:
        """Remove folders, unless a run has begun to work in one."""
        for path in paths:
            if not holds_more(path):
                shutil.rmtree(path, ignore_errors=True)
                if not any(other.is_dir() for other in path.parent.iterdir()):
                    (path.parent / FETCH_LOCK).unlink(missing_ok=True)
                with suppress(OSError):  # other states are there
                    path.parent.rmdir()

    def _paths(self) -> Iterator[Path]:
        return (path for path in self.folder.glob("*/[0-9a-z]*") if path.is_dir())


def _n_images(path: Path) -> int:
    """Those of a run in its latest state here, as its manifest counts them."""
    with suppress(SaevizError, LookupError, TypeError, AttributeError):
        return int(RunDir(path).read_manifest()["stages"]["score"]["counts"]["images"])
    return 0


def _entry(path: Path) -> Entry[Path]:
    size = 0
    for file in path.rglob("*"):
        with suppress(FileNotFoundError):  # removed by another process
            size += file.lstat().st_size
    used = 0.0
    with suppress(FileNotFoundError):
        used = path.stat().st_mtime
    return Entry(used, size, path)
