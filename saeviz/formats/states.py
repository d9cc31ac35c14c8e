"""States of scores that workers share: files of arrays of numbers, named by a key of all that they depend on.

A file is written under another name and renamed, so it is whole or not there, and its arrays have checksums.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

from saeviz.formats.files import atomic_path, explain_disk_errors
from saeviz.formats.npz import read_npz

if TYPE_CHECKING:
    from numpy.typing import NDArray

    State = Mapping[str, NDArray[Any]]
    Nodes = Mapping[tuple[int, int], State]

FORMAT = 1


class StateFiles:
    """A folder with nodes of merge trees. Several processes may write at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, key: str) -> bool:
        """Whether there is a file, damaged or not."""
        return self._path(key).exists()

    def write(self, key: str, nodes: Nodes) -> None:
        """Write the nodes of a tree (`MergeTree.nodes`)."""
        import numpy as np

        arrays = {
            f"{level}.{number}.{name}": array
            for (level, number), state in nodes.items()
            for name, array in state.items()
        }
        with atomic_path(self._path(key)) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    def read(self, key: str) -> Nodes | None:
        """The nodes that were written; None if there is no such file, or a damaged one, which is removed."""
        nodes: dict[tuple[int, int], dict[str, NDArray[Any]]] = {}
        try:
            for place, array in read_npz(self._path(key)).items():
                level, number, name = place.split(".", 2)
                nodes.setdefault((int(level), int(number)), {})[name] = array
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            self.remove([key])
            return None
        return nodes

    def remove(self, keys: Iterable[str]) -> None:
        """Remove files."""
        for key in keys:
            path = self._path(key)
            with explain_disk_errors(path, "removed"):
                path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove everything."""
        rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # shards of other stages are there, or it is not there
            self.folder.parent.rmdir()

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}-{FORMAT}.npz"
