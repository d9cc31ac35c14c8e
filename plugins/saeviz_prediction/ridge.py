"""Ridge regression from inner products of images; the penalty is chosen by the exact error on images left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from saeviz.typing import FloatArray, IntArray


N_PENALTIES = 30
_DENSE = 0.05
_NEGLIGIBLE = 1e-11


def gram(features: csr_array) -> FloatArray:
    """Inner products of all pairs of rows, float64 `[n, n]`; features that are often on are computed densely."""
    from scipy.sparse import csr_array

    n, n_features = features.shape
    often = np.bincount(features.indices, minlength=n_features) > _DENSE * n
    dense = np.asarray(features[:, often].toarray(), dtype=np.float64)
    products = np.asarray(dense @ dense.T)
    seldom = csr_array(features[:, ~often], dtype=np.float64)
    transposed = seldom.T.tocsr()
    for start in range(0, n, 512):
        rows = slice(start, start + 512)
        products[rows] += (seldom[rows] @ transposed).toarray()
    return products


@dataclass(frozen=True)
class Spectrum:
    """Singular values and vectors of the centred images to fit, and the other images projected on them.

    `squares` `[k]` are the squared singular values, `vectors` `[n_train, k]` the left singular vectors, `projected`
    `[n_test, k]` the inner products of the other images with the fitted ones times `vectors`.
    """

    squares: FloatArray
    vectors: FloatArray
    projected: FloatArray

    def predict(self, ratings: FloatArray, penalty: float) -> FloatArray:
        """Predictions for the other images, from the ratings of the fitted ones."""
        return np.asarray(float(ratings.mean()) + self.projected @ self.coefficients(ratings, penalty))

    def coefficients(self, ratings: FloatArray, penalty: float) -> FloatArray:
        """What the inner products in `projected` are multiplied by, `[k]`."""
        return np.asarray((self.vectors.T @ (ratings - float(ratings.mean()))) / (self.squares + penalty))

    def penalties(self) -> FloatArray:
        """Candidate penalties, proportional to the mean square of an image, from almost none to almost no slope."""
        n = len(self.vectors)
        mean_square = float(self.squares.sum()) / n
        return np.geomspace(1e-3 * mean_square, 10 * n * mean_square, N_PENALTIES)

    def best_penalties(self, ratings: FloatArray, groups: IntArray | None) -> FloatArray:
        """The penalty of each column of `ratings` `[n_train, n]` with the least error on images left out of the fit.

        One image is left out at a time or, of images in groups, a whole group. The error is exact without another fit:
        (I - H)^-1 e, with the residuals e and the hat matrix H, which includes the intercept, of the images left out.
        """
        if not self.squares.size:
            return np.ones(ratings.shape[1])
        centred = ratings - ratings.mean(axis=0)
        weights = self.vectors.T @ centred
        penalties = self.penalties()
        errors = np.zeros((penalties.size, ratings.shape[1]))
        single, together = _left_out(len(ratings), groups)
        for place, penalty in enumerate(penalties):
            kept = self.squares / (self.squares + penalty)
            residual = centred - self.vectors @ (kept[:, None] * weights)
            leverage = 1 / len(centred) + self.vectors[single] ** 2 @ kept
            with np.errstate(divide="ignore", invalid="ignore"):
                left_out = np.where(leverage[:, None] < 1, residual[single] / (1 - leverage[:, None]), np.inf)
            errors[place] = np.sum(left_out**2, axis=0)
            for rows in together:
                vectors = self.vectors[rows]
                hat = (vectors * kept) @ vectors.T + 1 / len(centred)
                errors[place] += np.sum(np.linalg.solve(np.eye(rows.size) - hat, residual[rows]) ** 2, axis=0)
        return np.asarray(penalties[np.argmin(errors, axis=0)])


def _left_out(n: int, groups: IntArray | None) -> tuple[IntArray, list[IntArray]]:
    """The rows of `n` that are left out alone, and those of each group of several."""
    if groups is None:
        return np.arange(n), []
    _, of_row, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    several = np.flatnonzero(sizes > 1)
    return np.flatnonzero(sizes[of_row] == 1), [np.flatnonzero(of_row == group) for group in several]


def spectrum_of_gram(products: FloatArray, train: IntArray, test: IntArray) -> Spectrum:
    """Build it from the inner products of all images, centred at the mean of the fitted ones."""
    fitted = products[np.ix_(train, train)]
    row_means = fitted.mean(axis=0)
    mean = float(row_means.mean())
    fitted -= row_means[:, None] + row_means - mean
    across = products[np.ix_(test, train)]
    across -= across.mean(axis=1)[:, None] + row_means - mean
    squares, vectors = _positive(*np.linalg.eigh(fitted))
    return Spectrum(squares, vectors, across @ vectors)


def spectrum_of_vectors(vectors: FloatArray, train: IntArray, test: IntArray) -> Spectrum:
    """Build it from vectors `[n, dim]`, one per image."""
    if vectors.shape[1] >= train.size:
        return spectrum_of_gram(vectors @ vectors.T, train, test)
    mean = vectors[train].mean(axis=0)
    fitted, new = vectors[train] - mean, vectors[test] - mean
    squares, directions = _positive(*np.linalg.eigh(fitted.T @ fitted))
    sizes = np.sqrt(squares)
    return Spectrum(squares, fitted @ directions / sizes, new @ directions * sizes)


def _positive(squares: FloatArray, vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
    kept = squares > _NEGLIGIBLE * max(float(squares.max(initial=0.0)), 1e-300)
    return squares[kept], vectors[:, kept]
