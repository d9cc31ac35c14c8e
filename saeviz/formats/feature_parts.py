"""The features of a space, in files of some images each that are ordered by feature: blocks of features are read.

A store has batches of images, so that one feature would be read from all of it. A file has for each feature where its
images begin, and after the last where they end (int64), the places of these images among those of the run (uint32), in
their order, their activations (float32), and the CRC-32 of all that (uint32), little-endian. It is whole or not there.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from saeviz.formats.by_feature import ranges
from saeviz.formats.files import atomic_path, explain_disk_errors
from saeviz.values.errors import RunDirError
from saeviz.values.regular import open_regular

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from saeviz.typing import CSR, Float32Array

FORMAT = 1
_AT_ONCE = 2**20
"""Bytes of a file in memory at once, when it is checked."""
_CRC_SIZE = 4


class FeatureParts:
    """The files of all images of a space, in the order of the images."""

    def __init__(self, paths: Sequence[Path], n_features: int, n_images: int) -> None:
        self._paths = paths
        self._shape = n_features, n_images

    def blocks(self, n_values: int) -> list[slice]:
        """All features, in blocks that have so many activations together at most, or are of one feature.

        A block has few features where there are many files, because it takes a number for each feature of each file.
        """
        import numpy as np

        n_features, most = self._shape[0], max(1, n_values // max(1, len(self._paths)))
        totals = np.zeros(n_features + 1, np.int64)
        for path in self._paths:
            with _opened(path, n_features) as part:
                totals += part.starts(slice(0, n_features))
        blocks = ranges(totals, n_values)
        return [slice(first, min(first + most, stop)) for start, stop in blocks for first in range(start, stop, most)]

    def block(self, features: slice) -> CSR:
        """The activations of some features, `[n_features, n_images]` with the images in their order."""
        import numpy as np
        from scipy.sparse import csr_array

        parts = [self._read(path, features) for path in self._paths]
        counts = np.array([np.diff(starts) for starts, _, _ in parts])
        indptr = np.concatenate([[0], np.cumsum(counts.sum(axis=0))])
        firsts = indptr[:-1] + np.cumsum(counts, axis=0) - counts
        items, values = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.float32)
        for (starts, some_items, some_values), first, n in zip(parts, firsts, counts, strict=True):
            places = np.repeat(first - starts[:-1] + starts[0], n) + np.arange(n.sum())
            items[places], values[places] = some_items, some_values
        return csr_array((values, items, indptr), shape=(features.stop - features.start, self._shape[1]))

    def _read(self, path: Path, features: slice) -> tuple[NDArray[np.int64], NDArray[Any], Float32Array]:
        """Where features begin in a file, the images on which they fire, and how strongly."""
        n_features, n_images = self._shape
        with _opened(path, n_features) as part:
            starts = part.starts(features)
            items, values = part.images(int(starts[0]), int(starts[-1]))
        if len(items) and items.max() >= n_images:
            raise _changed(path)
        return starts, items, values


@dataclass(frozen=True)
class _Opened:
    """An opened file, of which the size is right."""

    file: BinaryIO
    path: Path
    n_features: int
    n_values: int

    def starts(self, features: slice) -> NDArray[np.int64]:
        """Where the images of these features begin, and where the last ends. Raises `RunDirError` for nonsense."""
        found = self._array("<i8", 8 * features.start, features.stop - features.start + 1)
        if found[0] < 0 or found[-1] > self.n_values or (found[1:] < found[:-1]).any():
            raise _changed(self.path)
        return found

    def images(self, start: int, stop: int) -> tuple[NDArray[Any], Float32Array]:
        """Places of images, and activations."""
        begin = 8 * (self.n_features + 1) + 4 * start
        return self._array("<u4", begin, stop - start), self._array("<f4", begin + 4 * self.n_values, stop - start)

    def _array(self, kind: str, offset: int, n: int) -> NDArray[Any]:
        import numpy as np

        self.file.seek(offset)
        found = np.frombuffer(self.file.read(n * np.dtype(kind).itemsize), kind)
        if len(found) != n:
            raise _changed(self.path)
        return found


@contextmanager
def _opened(path: Path, n_features: int) -> Iterator[_Opened]:
    with explain_disk_errors(path, "read"), open_regular(path) as file:
        n_values, rest = divmod(os.fstat(file.fileno()).st_size - 8 * (n_features + 1) - _CRC_SIZE, 8)
        if n_values < 0 or rest:
            raise _changed(path)
        yield _Opened(file, path, n_features, n_values)


def _changed(path: Path) -> RunDirError:
    return RunDirError(f"{path} was changed or damaged while it was used; the same command makes it again")


def write_feature_part(path: Path, matrix: CSR, first: int) -> None:
    """Write the features of images that follow one another, of which the first has this place in the run."""
    import numpy as np

    columns = matrix.tocsc()
    columns.eliminate_zeros()
    columns.sort_indices()
    arrays = (
        columns.indptr.astype("<i8"),
        (columns.indices.astype(np.int64) + first).astype("<u4"),
        columns.data.astype("<f4"),
    )
    crc = 0
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        for array in arrays:
            crc = zlib.crc32(array, crc)
            file.write(array)
        file.write(crc.to_bytes(_CRC_SIZE, "little"))


def is_whole(path: Path) -> bool:
    """Whether a file is there as it was written; reads it once."""
    try:
        crc, size = 0, path.stat().st_size - _CRC_SIZE
        with explain_disk_errors(path, "read"), open_regular(path) as file:
            while some := file.read(min(max(size - file.tell(), 0), _AT_ONCE)):
                crc = zlib.crc32(some, crc)
            return size > 0 and file.read() == crc.to_bytes(_CRC_SIZE, "little")
    except FileNotFoundError:
        return False
