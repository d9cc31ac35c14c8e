"""Features in dictionaries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import saeviz

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from saeviz.typing import Float32Array

    Row = tuple[NDArray[np.int32], Float32Array]

BATCH = 256
"""Items that `read` gives at once."""

_kept: dict[Path, dict[saeviz.FeatureSpace, dict[str, Row]]] = {}
"""What all stores of this process hold, by folder, because a run, its stages and `run.features` each open one."""


class MemoryStore(saeviz.OneItemStore):
    """A feature store in memory, shared by all stores of the same run in this process.

    The next process finds it empty, and a run extracts all images again. `clear` gives the memory back.
    """

    durable = False

    def __init__(self, options: saeviz.Options, context: saeviz.Context) -> None:  # noqa: ARG002
        self._spaces = _kept.setdefault(context.workdir.resolve(), {})

    def write(self, batch: saeviz.FeatureBatch) -> None:
        """Store a copy of a batch; an existing item is replaced, at the same position in the order.

        Raises `DataError` if the store has this layer and tokens with another number of features.
        """
        for space in self.spaces():
            if str(space) == str(batch.space) and space != batch.space:
                raise saeviz.DataError(
                    f"{space}: the store has {space.n_features} features of this layer, not {batch.space.n_features}; "
                    "clear it first"
                )
        rows = self._spaces.setdefault(batch.space, {})
        starts = batch.matrix.indptr
        for row, item_id in enumerate(batch.item_ids):
            part = slice(starts[row], starts[row + 1])
            rows[item_id] = batch.matrix.indices[part].copy(), batch.matrix.data[part].copy()

    def read(self, space: saeviz.FeatureSpace, item_ids: Sequence[str] | None = None) -> Iterator[saeviz.FeatureBatch]:
        """Batches of copies; with `item_ids` exactly these, in this order."""
        rows = self._spaces.get(space, {})
        wanted = list(rows) if item_ids is None else list(item_ids)
        missing = next((item_id for item_id in wanted if item_id not in rows), None)
        if missing is not None:
            raise saeviz.DataError(f"{space}: the store has no item {missing!r}")
        for start in range(0, len(wanted), BATCH):
            ids = tuple(wanted[start : start + BATCH])
            yield _batch(space, ids, [rows[item_id] for item_id in ids])

    def item_ids(self, space: saeviz.FeatureSpace) -> list[str]:
        """The items stored for a space, in the order of writing."""
        return list(self._spaces.get(space, {}))

    def spaces(self) -> list[saeviz.FeatureSpace]:
        """The spaces with at least one item, sorted."""
        return sorted(space for space, rows in self._spaces.items() if rows)

    def clear(self) -> None:
        """Remove everything."""
        self._spaces.clear()

    def close(self) -> None:
        """Nothing to release: a store opened later in this process has the same features."""


def _batch(space: saeviz.FeatureSpace, item_ids: tuple[str, ...], rows: Sequence[Row]) -> saeviz.FeatureBatch:
    import numpy as np
    from scipy.sparse import csr_array

    indptr = np.cumsum([0, *(len(features) for features, _ in rows)])
    indices = np.concatenate([features for features, _ in rows])
    data = np.concatenate([values for _, values in rows])
    return saeviz.FeatureBatch(space, item_ids, csr_array((data, indices, indptr), shape=(len(rows), space.n_features)))
