"""The strongest of many correlations, as they come by: of each rating, and of each feature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import FloatArray, IntArray, Mask

Columns = Mapping[str, "NDArray[Any]"]


class StrongestOfRating:
    """Rows of one rating: those of the `most` largest sizes (more only if equal), and all favourites."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = 0.0
        self.rows: Columns = {}

    def add(self, columns: Columns, size: FloatArray, place: IntArray) -> None:
        """Add those of the rows that belong here; a size of NaN does not. `place` is that among favourites, 0 for none.

        A favourite is a feature that has this rating among its strongest, on place 1, 2 ...
        """
        rows = np.flatnonzero((place > 0) | (size >= self._limit))
        new = {name: values[rows] for name, values in columns.items()}
        new |= {"size": size[rows], "place": place[rows]}
        if self.rows:
            new = {name: np.concatenate([values, new[name]]) for name, values in self.rows.items()}
        if new["size"].size > self._most:
            self._limit = float(np.partition(new["size"], -self._most)[-self._most])
        self.rows = new
        self._drop(new["place"] > 0)

    def keep_places(self, last: int) -> None:
        """Keep favourites up to this place only."""
        if self.rows:
            self.rows = {**self.rows, "place": np.where(self.rows["place"] > last, 0, self.rows["place"])}
            self._drop(self.rows["place"] > 0)

    def _drop(self, favourite: Mask) -> None:
        keep = favourite | (self.rows["size"] >= self._limit)
        if not keep.all():
            self.rows = {name: values[keep] for name, values in self.rows.items()}


def favourites(sizes: FloatArray, most: int) -> IntArray:
    """For each feature the places, 1, 2 ..., of its `most` largest sizes, `[n_features, n_ratings]`; 0 for the others.

    None of them is NaN.
    """
    known = np.isfinite(sizes)
    negative = np.where(known, -sizes, np.inf)
    order = np.argpartition(negative, most - 1, axis=1)[:, :most]
    by_size = np.argsort(np.take_along_axis(negative, order, axis=1), axis=1, kind="stable")
    places = np.zeros(sizes.shape, dtype=np.uint8)
    order = np.take_along_axis(order, by_size, axis=1)
    np.put_along_axis(places, order, np.arange(1, most + 1, dtype=np.uint8)[None, :], axis=1)
    return np.where(known, places, 0)
