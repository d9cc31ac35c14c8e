"""Find images that are nearly the same, by their embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from saeviz.typing import Float32Array, FloatArray, IntArray

ALIKE = 0.95
"""The least cosine of two images that are nearly the same, by default."""

AT_ONCE = 256


def near_duplicates(
    item_ids: Sequence[str], embeddings: FloatArray | Float32Array, threshold: float = ALIKE
) -> list[str]:
    """The group of every image: the id of the first image of its group, '' for an image that is like no other.

    Two images are alike if the cosine of their `embeddings`, `[n_items, dim]`, less the mean of all, is at least
    `threshold`; images that are linked by others in between share a group. An image whose embedding is missing (NaN) is
    like no other. Takes time in proportion to the square of their number, and little memory.
    """
    import numpy as np

    groups = [""] * len(item_ids)
    rows = np.flatnonzero(np.isfinite(embeddings).all(axis=1))
    if not rows.size:
        return groups
    unit = np.asarray(embeddings, dtype=np.float32)[rows]
    unit = unit - unit.mean(axis=0)
    length = np.linalg.norm(unit, axis=1, keepdims=True)
    unit /= np.where(length > 0, length, 1)
    of_image = np.arange(rows.size)
    for start in range(0, rows.size, AT_ONCE):
        of_image = _linked(of_image, unit[start : start + AT_ONCE] @ unit[start:].T >= threshold, start)
    sizes = np.bincount(of_image)
    for place, row in enumerate(rows.tolist()):
        if sizes[of_image[place]] > 1:
            groups[row] = item_ids[rows[of_image[place]]]
    return groups


def _linked(of_image: IntArray, alike: FloatArray, start: int) -> IntArray:
    """For each image the first of its group, after joining those from `start` on that are alike (rows, columns)."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    one, other = np.nonzero(alike)
    n = of_image.size
    ends = np.concatenate([np.arange(n), one + start]), np.concatenate([of_image, other + start])
    _, labels = connected_components(coo_array((np.ones(ends[0].size, dtype=bool), ends), shape=(n, n)), directed=False)
    first = np.unique(labels, return_index=True)[1]
    groups: IntArray = first[labels]
    return groups
