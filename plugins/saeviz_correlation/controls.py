"""Columns of the ratings table as numbers that can be held constant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from saeviz import ConfigError, ScoreInput

if TYPE_CHECKING:
    from saeviz.typing import FloatArray

MAX_CATEGORIES = 100


def control_columns(data: ScoreInput, names: Sequence[str], place: str) -> tuple[FloatArray, list[str]]:
    """Numbers of every image, `[n_items, n_columns]`, NaN where one is missing, and in words how each was taken.

    A rating is a number; so is a metadata column all of whose cells are numbers. Any other is a category, with a
    column of zeros and ones per value. Raises `ConfigError` for more than 100 categories, which are no category but a
    name or an id.
    """
    columns, words = [], []
    for name in names:
        if name in data.ratings:
            columns.append(np.asarray(data.ratings[name], dtype=np.float64)[:, None])
            words.append(f"{name} (rating)")
            continue
        cells = list(data.metadata[name])
        numbers = _numbers(cells)
        if numbers is not None and np.isinf(numbers).any():
            raise ConfigError(f"{place}: {name!r} has an infinite cell; leave it empty where there is no number")
        if numbers is not None:
            columns.append(numbers[:, None])
            words.append(f"{name} (number)")
        else:
            dummies = _dummies(cells, name, place)
            columns.append(dummies)
            words.append(f"{name} ({dummies.shape[1]} categories)")
    return np.hstack(columns), words


def _numbers(cells: Sequence[str]) -> FloatArray | None:
    """The cells as numbers, NaN for an empty one or `nan`; None where one is something else."""
    try:
        return np.array([float(cell) if cell.strip() else math.nan for cell in cells])
    except ValueError:
        return None


def _dummies(cells: Sequence[str], name: str, place: str) -> FloatArray:
    categories = sorted({cell for cell in cells if cell.strip()})
    if len(categories) > MAX_CATEGORIES:
        some = ", ".join(map(repr, categories[:3]))
        raise ConfigError(
            f"{place}: {name!r} has {len(categories)} different values, such as {some}; a category has at most "
            f"{MAX_CATEGORIES}, and a number has nothing but numbers in its cells"
        )
    codes = {category: code for code, category in enumerate(categories)}
    dummies = np.zeros((len(cells), len(categories)))
    for row, cell in enumerate(cells):
        if cell in codes:
            dummies[row, codes[cell]] = 1.0
        else:
            dummies[row] = np.nan
    return dummies
