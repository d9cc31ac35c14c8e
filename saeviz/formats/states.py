"""States of scores that workers share: files of arrays of numbers, named by a key of all that they depend on.

A file is whole or not there (`formats/folders.py`), and its arrays have checksums.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from saeviz.formats.files import explained
from saeviz.formats.folders import Folder
from saeviz.formats.npz import read_npz
from saeviz.values.errors import RunDirError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    State = Mapping[str, NDArray[Any]]
    Nodes = Mapping[tuple[int, int], State]

FORMAT = 1


class StateFiles:
    """A folder with nodes of merge trees. Several processes may write at once."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def has(self, key: str) -> bool:
        """Whether there is a file, damaged or not."""
        return self.folder.has(_name(key))

    def write(self, key: str, nodes: Nodes) -> None:
        """Write the nodes of a tree (`MergeTree.nodes`)."""
        import numpy as np

        arrays = {
            f"{level}.{number}.{name}": array
            for (level, number), state in nodes.items()
            for name, array in state.items()
        }
        with self.folder.writing(_name(key)) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # keywords are arrays

    def read(self, key: str) -> Nodes | None:
        """The nodes that were written; None if there is no such file, or a damaged one, which is removed.

        One that another process removes while it is read is not there, either: a shared folder calls it stale. Raises
        `RunDirError` if the disk does not let it be read.
        """
        nodes: dict[tuple[int, int], dict[str, NDArray[Any]]] = {}
        try:
            for place, array in read_npz(self.folder.source(_name(key))).items():
                level, number, name = place.split(".", 2)
                if array.dtype.kind not in "biuf":
                    raise ValueError("it has something else than numbers")
                nodes.setdefault((int(level), int(number)), {})[name] = array
            if not nodes:
                raise ValueError("it has nothing")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno == errno.ESTALE:
                return None
            if isinstance(error, OSError) and error.errno != errno.EINVAL:  # which nonsense in an archive leads to
                raise RunDirError(f"{self.folder}/{_name(key)} cannot be read: {explained(error)}") from error
            self.remove([key])
            return None
        return nodes

    def remove(self, keys: Iterable[str]) -> None:
        """Remove files."""
        self.folder.remove(map(_name, keys))

    def clear(self) -> None:
        """Remove everything."""
        self.folder.clear()

    def taken_in(self) -> None:
        """Remove everything: the run has what it needs of it."""
        self.folder.discard_all()


def _name(key: str) -> str:
    return f"{key}-{FORMAT}.npz"
