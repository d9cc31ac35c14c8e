"""Arrays in files that several processes map into memory, so that none of them holds what grows with the images."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from saeviz.formats.files import atomic_path, explain_disk_errors
from saeviz.formats.folders import ObjectFolder
from saeviz.values.texts import Texts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[Any]


def release(array: Array) -> None:
    """Give back the memory of what was read of a mapped array; it is read from its file again when it is used.

    Does nothing for an array in memory. For whoever goes through one that is larger than the memory, a piece at a time.
    """
    owner: Any = array
    while owner is not None and not isinstance(owner, mmap.mmap):
        owner = getattr(owner, "base", None)
    if owner is not None and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)


class MappedArrays:
    """Arrays by name, each a file of a folder that is written once. Pickled is where they are.

    They are of use for as long as the stage that wrote them runs: they are not safe from a crash of the machine.
    `sent` is where they are put, too, for workers that do not see the folder; these fetch the arrays that they use.
    """

    def __init__(self, folder: Path, sent: ObjectFolder | None = None) -> None:
        self._folder = folder
        self._sent = sent
        self._fetched: TemporaryDirectory[str] | None = None
        self._known: dict[str, tuple[int, np.dtype[Any], tuple[int, ...]]] = {}
        self._mapped: dict[str, Array] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_mapped": {}, "_fetched": None}

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def __getitem__(self, name: str) -> Array:
        """The array, read-only and mapped from its file; the same one each time."""
        if name not in self._mapped:
            self._mapped[name] = self._map(*self._known[name])
        return self._mapped[name]

    def _map(self, number: int, kind: np.dtype[Any], shape: tuple[int, ...]) -> Array:
        import numpy as np

        if 0 in shape:
            return np.empty(shape, kind)
        path = self._at_hand(self._path(number))
        with explain_disk_errors(path, "read"):
            return np.asarray(np.memmap(path, kind, "r", shape=shape))

    def get(self, name: str) -> Array | None:
        """The same, None if there is no array of this name."""
        if name not in self:
            return None
        return self[name]

    def add(self, name: str, array: Array) -> Array:
        """Write an array, unless there is one of this name, and give the one that is there."""
        if name not in self:
            with self.rows(name, array.shape, array.dtype) as put:
                put(0, array)
        return self[name]

    def add_texts(self, name: str, texts: Texts) -> Texts:
        """Write texts, unless there are some of this name, and give those that are there."""
        self.add(f"{name} data", texts.data)
        self.add(f"{name} bounds", texts.bounds)
        return self.texts(name)

    def texts(self, name: str) -> Texts:
        """The texts of this name."""
        return Texts(self[f"{name} data"], self[f"{name} bounds"])

    def release(self) -> None:
        """Give back the memory of what was read of all arrays, as `release` does."""
        for array in self._mapped.values():
            release(array)

    @contextmanager
    def rows(self, name: str, shape: tuple[int, ...], kind: np.dtype[Any]) -> Iterator[Callable[[int, Array], None]]:
        """What puts rows into an array, from a place on. All have to be put before the block ends."""
        import numpy as np

        number = len(self._known)
        path = self._path(number)
        size = kind.itemsize * int(np.prod(shape[1:]))
        with explain_disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:

                def put(start: int, rows: Array) -> None:
                    file.seek(start * size)
                    file.write(np.ascontiguousarray(rows, kind).data)

                yield put
        if self._sent is not None:
            self._sent.put(path)
        self._known[name] = number, kind, shape

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.bin"

    def _at_hand(self, path: Path) -> Path:
        """The file, or, if this machine does not have it, one that is fetched."""
        if self._sent is None or path.exists():
            return path
        self._fetched = self._fetched or TemporaryDirectory(prefix="saeviz-")
        own = Path(self._fetched.name, path.name)
        if not own.exists():
            with atomic_path(own) as temporary:
                self._sent.fetch(path.name, temporary)
        return own
