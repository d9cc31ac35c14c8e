"""Numbers that wait on disk: in files without a name, which are gone with the process."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from saeviz.toolkit.files import explain_disk_errors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import FloatArray

STEP = 1 << 12
"""Values, 32 KiB, between two that a sorted run keeps in memory."""


class Spilled:
    """Rows of numbers in a file."""

    def __init__(self, values: NDArray[Any], folder: Path) -> None:
        self._dtype, self.shape = values.dtype, values.shape
        self._folder = folder
        with explain_disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = TemporaryFile(dir=folder)  # noqa: SIM115 - as long as it is needed
            values.tofile(self._file)
            self._file.flush()

    def flat(self, start: int, stop: int) -> NDArray[Any]:
        """Some of all values, row after row."""
        with explain_disk_errors(self._folder, "read"):
            self._file.seek(start * self._dtype.itemsize)
            return np.fromfile(self._file, self._dtype, stop - start)

    def row(self, number: int) -> NDArray[Any]:
        """One of the rows."""
        length = self.shape[1]
        return self.flat(number * length, (number + 1) * length)


class SortedRun:
    """Values in ascending order, `size` of them from `start` on in a file; every `STEP`-th is kept in `index`."""

    def __init__(self, values: Spilled, start: int, size: int, index: FloatArray) -> None:
        self._values, self._start = values, start
        self.size, self.index = size, index

    def read(self, start: int, stop: int) -> FloatArray:
        """Some of the values."""
        return self._values.flat(self._start + start, self._start + stop)

    def n_below(self, value: float, *, or_equal: bool = False) -> int:
        """How many values are smaller."""
        side: Literal["left", "right"] = "right" if or_equal else "left"
        first = (int(np.searchsorted(self.index, value, side)) - 1) * STEP
        if first < 0:
            return 0
        return first + int(np.searchsorted(self.read(first, min(first + STEP, self.size)), value, side))


def sorted_runs(values: FloatArray, folder: Path) -> list[SortedRun]:
    """A run of each row of `values`, which are sorted in place; NaN is left out."""
    values.sort(axis=1)  # NaN last
    sizes = [int(np.searchsorted(row, np.nan)) for row in values]
    spilled = Spilled(values, folder)
    return [
        SortedRun(spilled, number * values.shape[1], size, row[:size:STEP].copy())
        for number, (row, size) in enumerate(zip(values, sizes, strict=True))
    ]
