"""A copy of the features of a run from which one feature, or one image, is read at once.

A store has batches of images, so that one feature would be read from all of it. The copy is a folder. For the K-th
space `K.starts` has for each feature where its images begin, and after the last where they end (int64); `K.items` has
places among the images of the run (uint32), strongest first, `K.values` the activations (float32). By image the same
are `K.image_starts`, `K.features` (uint32), `K.image_values`. All are little-endian. `about.json` is written last and
has the CRC-32 of every file.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeviz.formats.files import explain_disk_errors
from saeviz.values.errors import RunDirError
from saeviz.values.features import FeatureBatch, FeatureSpace
from saeviz.values.regular import open_regular, read_regular

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from saeviz.typing import CSR, Float32Array, FloatArray

FORMAT = 3
TOGETHER = 4_000_000
"""Activations in memory at once, some 40 bytes each."""
_ABOUT, _BYTES = "about.json", 2**20
_PART = 2**20
"""Bytes of a file in memory at once."""
_Order = tuple[str, tuple[str, str]]
_BY_FEATURE: _Order = ("starts", ("items", "values"))
_BY_IMAGE: _Order = ("image_starts", ("features", "image_values"))
"""Where the rows of an order begin, and the files with what is in them."""


class ByFeature:
    """Such a copy, opened."""

    def __init__(self, folder: Path) -> None:
        """Raises `RunDirError` or `OSError` if the copy is not whole; what is in its files is for `check`."""
        import numpy as np

        about = json.loads(read_regular(folder / _ABOUT, _BYTES))
        if about["format"] != FORMAT:
            raise RunDirError(f"{folder} has format {about['format']}, but this saeviz reads {FORMAT}")
        self.n_images = int(about["n_images"])
        self._folder, self._crc = folder, dict(about["crc"])
        self._numbers = {name: number for number, name in enumerate(about["spaces"])}
        self._starts: dict[str, npt.NDArray[np.int64]] = {}
        for number, (starts_file, files) in product(self._numbers.values(), (_BY_FEATURE, _BY_IMAGE)):
            starts = np.fromfile(folder / f"{number}.{starts_file}", "<i8")
            sizes = {(folder / f"{number}.{name}").stat().st_size for name in files}
            if not len(starts) or sizes != {4 * int(starts[-1])}:
                raise RunDirError(f"{folder} is not whole")
            self._starts[f"{number}.{starts_file}"] = starts

    def check(self) -> None:
        """Read all files once. Raises `RunDirError` if one is not as it was written."""
        if {path.name: _crc_of(path) for path in _files_in(self._folder)} != self._crc:
            raise RunDirError(f"{self._folder} was changed or damaged since it was written")

    def images_of(self, space: str, index: int) -> tuple[npt.NDArray[Any], Float32Array]:
        """The places of the images on which a feature fires, strongest first, and how strongly."""
        return self._read(space, slice(index, index + 1), _BY_FEATURE)

    def features_of(self, space: str, place: int) -> tuple[npt.NDArray[Any], Float32Array]:
        """The features of a space that fire on the image at a place, as the store has them, and how strongly."""
        return self._read(space, slice(place, place + 1), _BY_IMAGE)

    def weighted_sum(self, space: str, places: npt.NDArray[Any], weights: FloatArray) -> FloatArray:
        """The sum over the images at these places of their features times a weight each, `[n_features]`."""
        import numpy as np

        starts, features, values = self._mapped(space, _BY_IMAGE)
        found = np.zeros(self._n_features(space))
        lengths = starts[places + 1] - starts[places]
        for first, last in ranges(np.concatenate([[0], np.cumsum(lengths)])):
            rows = [slice(*starts[place : place + 2]) for place in places[first:last]]
            if sum(row.stop - row.start for row in rows):
                times = np.repeat(weights[first:last], lengths[first:last])
                where = np.concatenate([features[row] for row in rows])
                found += np.bincount(where, np.concatenate([values[row] for row in rows]) * times, found.size)
        return found

    def moments(self, space: str) -> tuple[FloatArray, FloatArray]:
        """The sum of the activations of each feature over all images, and that of their squares, `[n_features]`."""
        import numpy as np

        starts, _, values = self._mapped(space, _BY_FEATURE)
        totals, squares = np.zeros(self._n_features(space)), np.zeros(self._n_features(space))
        for first, last in ranges(starts):
            own = np.asarray(values[starts[first] : starts[last]], np.float64)
            rows = np.repeat(np.arange(last - first), np.diff(starts[first : last + 1]))
            totals[first:last] = np.bincount(rows, own, last - first)
            squares[first:last] = np.bincount(rows, own**2, last - first)
        return totals, squares

    def _n_features(self, space: str) -> int:
        return len(self._starts[f"{self._numbers[space]}.{_BY_FEATURE[0]}"]) - 1

    def _mapped(self, space: str, order: _Order) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any], npt.NDArray[Any]]:
        """Where the rows of an order begin, and what is in them, read when it is used."""
        import numpy as np

        number, (starts_file, files) = self._numbers[space], order
        starts = self._starts[f"{number}.{starts_file}"]
        if not starts[-1]:  # an empty file cannot be mapped
            return starts, np.zeros(0, np.uint32), np.zeros(0, np.float32)
        with explain_disk_errors(self._folder, "read"):
            others, values = (
                np.memmap(self._folder / f"{number}.{name}", kind, "r")
                for name, kind in zip(files, ("<u4", "<f4"), strict=True)
            )
        return starts, others, values

    def _read(self, space: str, rows: slice, order: _Order) -> tuple[npt.NDArray[Any], Float32Array]:
        import numpy as np

        number, (starts_file, (others, values)) = self._numbers[space], order
        of_rows = self._starts[f"{number}.{starts_file}"][rows.start : rows.stop + 1]
        start, stop = int(of_rows[0]), int(of_rows[-1])
        with explain_disk_errors(self._folder, "read"):
            found = (
                np.fromfile(self._folder / f"{number}.{others}", "<u4", stop - start, offset=4 * start),
                np.fromfile(self._folder / f"{number}.{values}", "<f4", stop - start, offset=4 * start),
            )
        if {len(array) for array in found} != {stop - start}:
            raise RunDirError(f"{self._folder} was changed while it was used; start again, and it is made again")
        return found


def write_by_feature(folder: Path, spaces: Sequence[tuple[FeatureSpace, Iterable[FeatureBatch]]]) -> None:
    """Fill an empty folder from the features of all images of a run, in their order, in bounded memory."""
    with explain_disk_errors(folder):
        sizes = [_write_space(folder, number, *space) for number, space in enumerate(spaces)]
        about = {"format": FORMAT, "spaces": [str(space) for space, _ in spaces], "n_images": max(sizes, default=0)}
        crc = {path.name: _crc_of(path) for path in _files_in(folder)}
        (folder / _ABOUT).write_text(json.dumps({**about, "crc": crc}))


def _files_in(folder: Path) -> list[Path]:
    """Those with arrays."""
    return [path for path in folder.iterdir() if path.name != _ABOUT]


def _crc_of(path: Path) -> int:
    found = 0
    with open_regular(path) as file:
        while part := file.read(_PART):
            found = zlib.crc32(part, found)
    return found


def _write_space(folder: Path, number: int, space: FeatureSpace, batches: Iterable[FeatureBatch]) -> int:
    """Write parts of the images by feature, one after the other; then read a range of features from all parts.

    Returns the number of images.
    """
    import numpy as np

    counts = np.zeros(space.n_features, np.int64)
    lengths = [np.zeros(0, np.int64)]
    parts: list[_Part] = []
    unmerged = folder / f"{number}.parts"
    with unmerged.open("wb") as file, _opened(folder, number, _BY_IMAGE) as by_image:
        for first, matrix in _together(batches):
            part = _Part(matrix, first, file.tell())
            counts += np.diff(part.starts)
            lengths.append(np.diff(matrix.indptr).astype(np.int64))
            parts.append(part)
            for array in part.arrays:
                file.write(array)
            part.arrays = ()
            by_image(matrix.indices.astype("<u4").tobytes(), matrix.data.astype("<f4").tobytes())
    starts = _write_starts(folder / f"{number}.{_BY_FEATURE[0]}", counts)
    with _opened(folder, number, _BY_FEATURE) as by_feature:
        for start, stop in ranges(starts):
            by_feature(*_merged(unmerged, parts, start, stop))
    unmerged.unlink()
    of_images = np.concatenate(lengths)
    _write_starts(folder / f"{number}.{_BY_IMAGE[0]}", of_images)
    return len(of_images)


@contextmanager
def _opened(folder: Path, number: int, order: _Order) -> Iterator[Callable[[bytes, bytes], None]]:
    """A function that appends to both files of an order."""
    others, values = order[1]
    with (folder / f"{number}.{others}").open("wb") as first, (folder / f"{number}.{values}").open("wb") as second:

        def write(one: bytes, other: bytes) -> None:
            first.write(one)
            second.write(other)

        yield write


def _write_starts(path: Path, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    import numpy as np

    starts: npt.NDArray[np.int64] = np.concatenate([[0], np.cumsum(counts)]).astype("<i8")
    path.write_bytes(starts.tobytes())
    return starts


class _Part:
    """Some images by feature: where each feature begins, where in the file the part lies, and its arrays to write."""

    def __init__(self, matrix: CSR, first: int, offset: int) -> None:
        import numpy as np

        columns = matrix.tocsc()
        self.offset = offset
        self.starts = columns.indptr.astype(np.int64)
        self.arrays: tuple[bytes, ...] = (
            (columns.indices.astype(np.int64) + first).astype("<u4").tobytes(),
            columns.data.astype("<f4").tobytes(),
        )


def _together(batches: Iterable[FeatureBatch]) -> Iterator[tuple[int, CSR]]:
    """The batches without explicit zeros, joined to some million activations, each with the place of its first row."""
    from scipy.sparse import csr_array, vstack

    waiting: list[CSR] = []
    first = n = 0

    def joined() -> CSR:
        return csr_array(waiting[0]) if len(waiting) == 1 else vstack(waiting, format="csr")

    for batch in batches:
        matrix = batch.matrix
        if not matrix.data.all():
            matrix = matrix.copy()
            matrix.eliminate_zeros()
        if waiting and n + matrix.nnz > TOGETHER:
            whole = joined()
            yield first, whole
            first, n, waiting = first + whole.shape[0], 0, []
        waiting.append(matrix)
        n += matrix.nnz
    if waiting:
        yield first, joined()


def ranges(starts: npt.NDArray[Any], n_values: int = TOGETHER) -> Iterator[tuple[int, int]]:
    """Ranges of features that together have at most so many activations, or of one that has more."""
    import numpy as np

    start, last = 0, len(starts) - 1
    while start < last:
        stop = int(np.searchsorted(starts, starts[start] + n_values, side="right")) - 1
        yield start, max(stop, start + 1)
        start = max(stop, start + 1)


def _merged(file: Path, parts: Sequence[_Part], start: int, stop: int) -> tuple[bytes, bytes]:
    """The images and activations of a range of features from all parts, strongest first."""
    import numpy as np

    found: list[tuple[Any, Any, Any]] = [(np.zeros(0, np.int64), np.zeros(0, "<u4"), np.zeros(0, "<f4"))]
    for part in parts:
        low, high, n = int(part.starts[start]), int(part.starts[stop]), int(part.starts[-1])
        owners = np.repeat(np.arange(start, stop), np.diff(part.starts[start : stop + 1]))
        items = np.fromfile(file, "<u4", high - low, offset=part.offset + 4 * low)
        values = np.fromfile(file, "<f4", high - low, offset=part.offset + 4 * (n + low))
        found.append((owners, items, values))
    owners, items, values = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    order = np.lexsort((-values, owners))  # stable: of equal activations the earlier image first
    return items[order].tobytes(), values[order].tobytes()
