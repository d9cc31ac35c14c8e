"""Pairs of features, and the search for those whose vectors point the same way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from saeviz.typing import Float32Array, IntArray, Mask


COLUMNS_AT_ONCE = 2048


class Pairs(NamedTuple):
    """Pairs of features by their rank in order of activity, int64 `[n]` each; `earlier` is always the lower rank."""

    later: IntArray
    earlier: IntArray


def join(parts: Sequence[Pairs]) -> Pairs:
    """All of them."""
    return Pairs(np.concatenate([part.later for part in parts]), np.concatenate([part.earlier for part in parts]))


def take(pairs: Pairs, wanted: Mask) -> Pairs:
    """Those that are wanted."""
    return Pairs(pairs.later[wanted], pairs.earlier[wanted])


def similar_rows(one: Float32Array, other: Float32Array, lowest: float) -> tuple[IntArray, IntArray]:
    """Which rows of `one` and `other`, all of length 1, have a cosine of at least `lowest`.

    A dense product, a tile at a time.
    """
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for start in range(0, len(other), COLUMNS_AT_ONCE):
        tile = one @ other[start : start + COLUMNS_AT_ONCE].T
        if tile.max(initial=-1.0) >= lowest:
            rows, columns = np.nonzero(tile >= lowest)
            found.append((rows, columns + start))
    return np.concatenate([rows for rows, _ in found]), np.concatenate([columns for _, columns in found])
