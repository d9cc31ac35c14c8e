"""The embeddings of a run's images, each of length 1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from saeviz import Texts
from saeviz.toolkit.mapped import release

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, IntArray

IMAGES_AT_ONCE = 8192
HELD_NUMBERS = 1 << 23


class UnitVectors:
    """`unit[images]` gives float64 rows of length 1; images are numbered among those that have an embedding.

    An embedding with NaN or infinity, or of length zero, does not count. Rows are computed on demand from the float32
    embeddings; at most 64 MB of them are held, and a byte for each image.
    """

    def __init__(self, embeddings: Any) -> None:
        self.dim = int(embeddings.shape[1])
        self.is_usable = np.empty(len(embeddings), dtype=bool)
        for start in range(0, len(embeddings), IMAGES_AT_ONCE):
            length = _lengths(np.asarray(embeddings[start : start + IMAGES_AT_ONCE], dtype=np.float64))
            self.is_usable[start : start + IMAGES_AT_ONCE] = np.isfinite(length) & (length > 0)
            release(embeddings)
        self._embeddings = embeddings
        self._rows = None if self.is_usable.all() else np.flatnonzero(self.is_usable)
        self._order: IntArray | None = None
        self._n = len(embeddings) if self._rows is None else self._rows.size
        self._held: FloatArray | None = None
        if self._n * self.dim <= HELD_NUMBERS:
            self._held = self[:]

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, images: Any) -> FloatArray:
        places = images if self._order is None else self._order[images]
        if self._held is not None:
            return np.asarray(self._held[places])
        vectors = np.array(self._embeddings[places if self._rows is None else self._rows[places]], dtype=np.float64)
        release(self._embeddings)
        vectors /= _lengths(vectors)[:, None]
        return vectors

    def sorted_by(self, item_ids: Sequence[str]) -> UnitVectors:
        """The same images in the order of their ids: what is drawn at random from these does not depend on theirs."""
        ordered, rows = copy(self), Texts.of(item_ids).order()
        ordered._order = rows if self._rows is None else np.cumsum(self.is_usable)[rows[self.is_usable[rows]]] - 1
        return ordered

    @property
    def order(self) -> IntArray:
        """The numbers that these images have in the order of the embeddings."""
        return np.arange(len(self)) if self._order is None else self._order

    def pieces(self) -> Iterator[slice]:
        """All images, some at a time."""
        for start in range(0, len(self), IMAGES_AT_ONCE):
            yield slice(start, min(start + IMAGES_AT_ONCE, len(self)))


def _lengths(vectors: FloatArray) -> FloatArray:
    """Of each row, whatever other rows there are."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.sqrt(np.einsum("ij,ij->i", vectors, vectors)))
