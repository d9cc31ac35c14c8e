"""The embeddings of a run's images, each of length 1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, IntArray

IMAGES_AT_ONCE = 8192
HELD_NUMBERS = 1 << 23


class UnitVectors:
    """`unit[images]` gives float64 rows of length 1; images are numbered among those that have an embedding.

    An embedding with NaN or infinity, or of length zero, does not count. Rows are computed on demand from the float32
    embeddings; at most 64 MB of them are held.
    """

    def __init__(self, embeddings: Any) -> None:
        length = np.sqrt(np.einsum("ij,ij->i", embeddings, embeddings, dtype=np.float64))
        self.is_usable = np.isfinite(length) & (length > 0)
        self.dim = int(embeddings.shape[1])
        self._rows = np.flatnonzero(self.is_usable)
        self._order = np.arange(self._rows.size)
        self._embeddings, self._length = embeddings, length[:, None]
        self._held: FloatArray | None = None
        if self._rows.size * self.dim <= HELD_NUMBERS:
            self._held = self[:]

    def __len__(self) -> int:
        return self._order.size

    def __getitem__(self, images: Any) -> FloatArray:
        places = self._order[images]
        vectors: FloatArray
        if self._held is not None:
            vectors = self._held[places]
            return vectors
        rows = self._rows[places]
        vectors = self._embeddings[rows].astype(np.float64)
        vectors /= self._length[rows]
        return vectors

    def sorted_by(self, item_ids: Sequence[str]) -> UnitVectors:
        """The same images in the order of their ids: what is drawn at random from these does not depend on theirs."""
        ordered = copy(self)
        rows = self._rows.tolist()
        ordered._order = np.array(sorted(range(len(rows)), key=lambda place: item_ids[rows[place]]), dtype=np.int64)
        return ordered

    @property
    def order(self) -> IntArray:
        """The numbers that these images have in the order of the embeddings."""
        return self._order

    def pieces(self) -> Iterator[slice]:
        """All images, some at a time."""
        for start in range(0, len(self), IMAGES_AT_ONCE):
            yield slice(start, min(start + IMAGES_AT_ONCE, len(self)))
