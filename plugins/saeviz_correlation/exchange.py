"""Which images may exchange their ratings if no feature has to do with these: those of a group, or whole groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeviz import ImageItem
from saeviz_correlation.clusters import group_codes

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, IntArray


@dataclass(frozen=True)
class Exchange:
    """Ratings `names` are exchanged between images of the same one of `sets`, or `blocks` exchange theirs as a whole.

    Both are codes `[n_items]`. Where they are None, every image may have the rating of any other.
    """

    names: tuple[str, ...]
    sets: IntArray | None = None
    blocks: IntArray | None = None


def exchanges(
    ratings: Mapping[str, FloatArray], names: Sequence[str], codes: IntArray, *, whole_groups: bool
) -> list[Exchange]:
    """How each rating is exchanged, by the groups `codes` of all images.

    A rating that is the same for all images of each group goes from group to group, if `whole_groups` may. Any other
    stays within groups, and images that are alone in theirs exchange it with one another.
    """
    whole = [name for name in names if whole_groups and _is_constant(ratings[name], codes)]
    others = tuple(name for name in names if name not in whole)
    alone = np.bincount(codes)[codes] == 1
    found = [Exchange(tuple(whole), blocks=codes), Exchange(others, sets=np.where(alone, -1, codes))]
    return [exchange for exchange in found if exchange.names]


def both_ways(items: Sequence[ImageItem], names: Sequence[str] | None) -> bool:
    """Whether some of these ratings, or of all, stay within the groups of the images and others go between them."""
    if all(item.group is None for item in items):
        return False
    known = dict.fromkeys(name for item in items for name in item.ratings)
    ratings = {
        name: np.array([item.ratings.get(name, np.nan) for item in items], dtype=np.float64)
        for name in known
        if names is None or name in names
    }
    return len(exchanges(ratings, list(ratings), group_codes([item.group for item in items]), whole_groups=True)) > 1


def _is_constant(values: FloatArray, codes: IntArray) -> bool:
    """Whether a rating is the same within each group, and a group has two images with it."""
    rated = np.isfinite(values)
    _, of_row, sizes = np.unique(codes[rated], return_inverse=True, return_counts=True)
    if sizes.max(initial=0) < 2:
        return False
    low, high = np.full(sizes.size, np.inf), np.full(sizes.size, -np.inf)
    np.minimum.at(low, of_row, values[rated])
    np.maximum.at(high, of_row, values[rated])
    return bool((low == high).all())
