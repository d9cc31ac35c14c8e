"""Cut batches and matrices by rows, for the shards of a `saeviz.toolkit.shards.ShardStore`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from saeviz.values.errors import DataError
from saeviz.values.features import FeatureBatch

if TYPE_CHECKING:
    from saeviz.typing import CSR


def cut(batch: FeatureBatch, n_rows: int, n_values: int) -> Iterator[FeatureBatch]:
    """Split the batch into parts of at most `n_rows` rows and about `n_values` non-zeros."""
    import numpy as np

    starts = batch.matrix.indptr
    start = 0
    while start < len(batch):
        stop = min(int(np.searchsorted(starts, starts[start] + n_values)), start + n_rows, len(batch))
        whole = start == 0 and stop == len(batch)
        yield batch if whole else FeatureBatch(batch.space, batch.item_ids[start:stop], batch.matrix[start:stop])
        start = stop


def take(matrix: CSR, rows: list[int]) -> CSR:
    """These rows; the matrix itself if they are all, in order."""
    return matrix if rows == list(range(matrix.shape[0])) else matrix[rows]


def slices(matrix: CSR, n_rows: int) -> Iterator[CSR]:
    """Parts of at most `n_rows` rows."""
    if matrix.shape[0] <= n_rows:
        return iter([matrix])
    return (matrix[start : start + n_rows] for start in range(0, matrix.shape[0], n_rows))


def refuse_ids_that_are_not_text(item_ids: Sequence[str]) -> None:
    """Raise `DataError` for an id that no file can hold."""
    for item_id in item_ids:
        try:
            item_id.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"item id {item_id!r} is not valid unicode text (a lone surrogate)") from error
