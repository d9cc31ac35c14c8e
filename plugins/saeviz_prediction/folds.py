"""Which images take part and in which fold: by a hash of their ids, so that their order changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from saeviz import TargetKind

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, IntArray


def in_random_order(item_ids: Sequence[str], rows: IntArray, seed: int) -> IntArray:
    """The same rows, shuffled by seed and id."""
    return np.array(sorted(rows.tolist(), key=lambda row: _hash(seed, item_ids[row])), dtype=np.int64)


def _hash(seed: int, item_id: str) -> bytes:
    return sha256(f"{seed}:{item_id}".encode()).digest()


def fold_rows(n: int, folds: int, groups: IntArray | None = None) -> list[IntArray]:
    """The rows of each fold: `n` in random order are dealt out in turn, so that sizes differ by one at most.

    Of `groups`, a number for each row, none is in two folds: each in turn, the largest first, goes into the fold with
    the fewest rows.
    """
    if groups is None:
        return [np.arange(fold, n, folds) for fold in range(folds)]
    _, first, of_row, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    fold_of, filled = np.zeros(sizes.size, dtype=np.int64), np.zeros(folds, dtype=np.int64)
    for group in np.lexsort((first, -sizes)):
        fold_of[group] = np.argmin(filled)
        filled[fold_of[group]] += sizes[group]
    return [np.flatnonzero(fold_of[of_row] == fold) for fold in range(folds)]


def group_numbers(groups: Sequence[str | None]) -> IntArray:
    """A number for each group; an image without one has its own."""
    names = [(row, "") if name is None else (-1, name) for row, name in enumerate(groups)]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], dtype=np.int64)


def others(n: int, *left_out: IntArray) -> IntArray:
    """The rows of `n` that are in none of these folds."""
    return np.setdiff1d(np.arange(n), np.concatenate(left_out))


class Accuracy:
    """How well held-out images are predicted, accumulated fold by fold.

    Of a rating with this `kind`; the area under the ROC curve is that of a binary one only.
    """

    def __init__(self, kind: TargetKind = "numeric") -> None:
        self.kind = kind
        self._areas: list[float] = []
        self._errors: list[float] = []
        self._squares: list[float] = []
        self._r: list[float] = []

    def add(self, truth: FloatArray, predicted: FloatArray, mean: float) -> None:
        """A fold; `mean` is the mean rating of the images that were fitted."""
        self._errors.append(float(np.sum((truth - predicted) ** 2)))
        self._squares.append(float(np.sum((truth - mean) ** 2)))
        x, y = predicted - predicted.mean(), truth - truth.mean()
        scale = float(np.sqrt(x @ x) * np.sqrt(y @ y))  # a product of squares overflows early
        # A prediction that is the same for all images within rounding has no r.
        if scale > 0 and float(x @ x) > 1e-20 * float(predicted @ predicted):
            self._r.append(float(x @ y) / scale)
        if self.kind == "binary" and truth.min() < truth.max():
            from sklearn.metrics import roc_auc_score

            self._areas.append(float(roc_auc_score(truth, predicted)))

    @property
    def r2(self) -> float:
        """1 - squared error / squared distance from the mean of the fitted images: 0 is as good as knowing nothing."""
        return 1 - sum(self._errors) / sum(self._squares) if sum(self._squares) > 0 else np.nan

    @property
    def r2_sd(self) -> float:
        """Standard deviation of R^2 over folds."""
        pairs = zip(self._errors, self._squares, strict=True)
        of_folds = [1 - error / square for error, square in pairs if square > 0]
        return float(np.std(of_folds, ddof=1)) if len(of_folds) > 1 else np.nan

    @property
    def auc(self) -> float:
        """Mean over folds of the area under the ROC curve; NaN without a fold in which the rating varies."""
        return float(np.mean(self._areas)) if self._areas else np.nan

    @property
    def auc_sd(self) -> float:
        """Standard deviation of that area over folds."""
        return float(np.std(self._areas, ddof=1)) if len(self._areas) > 1 else np.nan

    @property
    def r(self) -> float:
        """Mean over folds of the correlation with the truth; NaN where every prediction is a constant."""
        return float(np.mean(self._r)) if self._r else np.nan
