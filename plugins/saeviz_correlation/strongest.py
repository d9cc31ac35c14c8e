"""The strongest of many correlations, as they come by: of each rating, and of each feature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import FloatArray, Mask

Columns = Mapping[str, "NDArray[Any]"]


class StrongestOfRating:
    """Rows of one rating: those of the `most` largest sizes (more only if equal), and all `favourites`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = 0.0
        self.rows: Columns = {}

    def add(self, columns: Columns, size: FloatArray, favourite: Mask) -> None:
        """Add those of the rows that belong here; a size of NaN does not."""
        rows = np.flatnonzero(favourite | (size >= self._limit))
        new = {name: values[rows] for name, values in columns.items()}
        new |= {"size": size[rows], "favourite": favourite[rows]}
        if self.rows:
            new = {name: np.concatenate([values, new[name]]) for name, values in self.rows.items()}
        if new["size"].size > self._most:
            self._limit = float(np.partition(new["size"], -self._most)[-self._most])
            keep = new["favourite"] | (new["size"] >= self._limit)
            new = {name: values[keep] for name, values in new.items()}
        self.rows = new


def favourites(sizes: FloatArray, most: int) -> Mask:
    """For each feature its `most` largest sizes, `[n_features, n_ratings]`; none that is NaN."""
    known = np.isfinite(sizes)
    order = np.argpartition(np.where(known, -sizes, np.inf), most - 1, axis=1)[:, :most]
    chosen = np.zeros(sizes.shape, dtype=bool)
    np.put_along_axis(chosen, order, values=True, axis=1)
    return np.asarray(chosen & known)
