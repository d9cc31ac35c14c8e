"""Features column by column, for computations that need all images of a feature at once, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz import ScoreInput
    from saeviz.typing import CSR, IntArray

MAX_ENTRIES = 1 << 24  # 8 bytes each: 128 MiB


def feature_blocks(
    data: ScoreInput,
    prepare: Callable[[CSR], CSR],
    max_entries: int = MAX_ENTRIES,
    *,
    chosen: IntArray | None = None,
) -> Iterator[tuple[slice, CSR]]:
    """Features and their values over all images, CSR float32 `[n_block, n_items]`, block by block.

    Streams the space once to count and once for each block of at most `max_entries` stored values (one feature at
    least). `prepare` is applied to every chunk of rows. With `chosen`, only these features, and the slices are of it.
    """
    stored = np.zeros(data.space.n_features, dtype=np.int64)
    for _, chunk in data.chunks():
        stored += np.bincount(chunk.indices, minlength=stored.size)
    for part in _cut(stored if chosen is None else stored[chosen], max_entries):
        features = part if chosen is None else chosen[part]
        yield part, _gather(data, prepare, features, stored[features])


def products(rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[Any]:
    """`rows @ columns`, where the rounding of a row does not depend on which others there are, unlike that of BLAS."""
    found = [np.einsum("fk,k->f", rows, column) for column in np.ascontiguousarray(columns.T)]
    return np.column_stack(found) if found else np.zeros((len(rows), 0))


def _cut(stored: IntArray, max_entries: int) -> Iterator[slice]:
    start = 0
    total = np.concatenate([[0], np.cumsum(stored)])
    while start < stored.size:
        stop = int(np.searchsorted(total, total[start] + max_entries, side="right")) - 1
        stop = max(stop, start + 1)
        yield slice(start, stop)
        start = stop


def _gather(data: ScoreInput, prepare: Callable[[CSR], CSR], features: slice | IntArray, stored: IntArray) -> CSR:
    from scipy.sparse import csr_array

    indptr = np.concatenate([[0], np.cumsum(stored)])
    images = np.empty(indptr[-1], dtype=np.int32)
    values = np.empty(indptr[-1], dtype=np.float32)
    free = indptr[:-1].copy()  # where the next value of each feature goes
    for rows, chunk in data.chunks():
        part = prepare(chunk)[:, features].tocsc()
        sizes = np.diff(part.indptr)
        places = np.repeat(free - part.indptr[:-1], sizes) + np.arange(part.nnz)
        images[places] = part.indices + rows.start
        values[places] = part.data
        free += sizes
    return csr_array((values, images, indptr), shape=(stored.size, data.n_items))
