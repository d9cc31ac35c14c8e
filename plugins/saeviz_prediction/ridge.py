"""Ridge regression from inner products of images; the penalty is chosen by exact leave-one-out error."""

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

    def predict(self, ratings: FloatArray) -> FloatArray:
        """Predictions for the other images, from the ratings of the fitted ones, with the best penalty on these."""
        mean = float(ratings.mean())
        weights = self.vectors.T @ (ratings - mean)
        return np.asarray(mean + self.projected @ (weights / (self.squares + self.best_penalty(ratings))))

    def penalties(self) -> FloatArray:
        """Candidate penalties, proportional to the mean square of an image, from almost none to almost no slope."""
        n = len(self.vectors)
        mean_square = float(self.squares.sum()) / n
        return np.geomspace(1e-3 * mean_square, 10 * n * mean_square, N_PENALTIES)

    def best_penalty(self, ratings: FloatArray) -> float:
        """The penalty with the least leave-one-out error, e_i / (1 - h_ii), where h includes the intercept."""
        if not self.squares.size:
            return 1.0
        centred = ratings - ratings.mean()
        weights = self.vectors.T @ centred
        penalties = self.penalties()
        kept = self.squares[:, None] / (self.squares[:, None] + penalties)
        residual = centred[:, None] - self.vectors @ (kept * weights[:, None])
        leverage = 1 / len(centred) + self.vectors**2 @ kept
        with np.errstate(divide="ignore", invalid="ignore"):
            left_out = np.where(leverage < 1, residual / (1 - leverage), np.inf)
        return float(penalties[np.argmin(np.sum(left_out**2, axis=0))])


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
