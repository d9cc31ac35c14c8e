"""Moments of the cosines of all pairs of a run's images, as the null needs them, without storing the cosines."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np

from saeviz_monosemanticity.embeddings import UnitVectors

IMAGES_FOR_CUBES = 2048
ROWS_AT_ONCE = 256


class CubicSums(NamedTuple):
    """With c, r and q as in `Cosines`: the sums of r^3 and r q, r'cr, the trace of c^3, and the sum of all c_ij^3."""

    row_cubes: float
    rows_times_squares: float
    chains: float
    triangles: float
    cubes: float


class Cosines:
    """Sums over c, the cosines of different images minus their `mean`, zero on the diagonal. Needs at least two images.

    With r_i = sum_j c_ij, which add up to zero, and q_i = sum_j c_ij^2: `squares` is the sum of q, `row_squares` that
    of r^2. With E the unit vectors c = EE' - mean 11' - (1 - mean) I, so that all sums follow from E'1 and E'E in
    time n dim^2. Only `third.cubes` needs single cosines; beyond 2,048 images it is estimated from a random sample.
    """

    def __init__(self, unit: UnitVectors, seed: int) -> None:
        self._unit, self._seed = unit, seed
        self._total, self._gram = np.zeros(unit.dim), np.zeros((unit.dim, unit.dim))
        for some in unit.pieces():
            vectors = unit[some]
            self._total += vectors.sum(axis=0)
            self._gram += vectors.T @ vectors
        self.n_images = n = len(unit)
        self._length = float(self._total @ self._total)
        self.mean = (self._length - n) / (n * (n - 1))
        self._own = 1 - self.mean
        rows = np.concatenate([unit[some] @ self._total for some in unit.pieces()]) - 1 - (n - 1) * self.mean
        self.row_squares = float(rows @ rows)
        self.squares = float(np.sum(self._gram**2)) - 2 * self.mean * self._length + (self.mean * n) ** 2
        self.squares -= n * self._own**2

    @cached_property
    def third(self) -> CubicSums:
        """Further sums, which only the skewness needs."""
        n, mean, own, gram = self.n_images, self.mean, self._own, self._gram
        row_cubes = rows_times_squares = 0.0
        weighted = np.zeros(self._unit.dim)
        for some in self._unit.pieces():
            vectors = self._unit[some]
            along = vectors @ self._total
            r = along - 1 - (n - 1) * mean
            q = np.einsum("ij,ij->i", vectors @ gram, vectors) - 2 * mean * along + n * mean**2 - own**2
            row_cubes += float((r**3).sum())
            rows_times_squares += float(r @ q)
            weighted += r @ vectors
        # the trace of the third power of EE' - mean 11', which has `own` on its diagonal
        trace = float(np.sum((gram @ gram) * gram)) - 3 * mean * float(self._total @ gram @ self._total)
        trace += 3 * mean**2 * n * self._length - (mean * n) ** 3
        return CubicSums(
            row_cubes=row_cubes,
            rows_times_squares=rows_times_squares,
            chains=float(weighted @ weighted) - own * self.row_squares,
            triangles=trace - 3 * own * (self.squares + n * own**2) + 2 * n * own**3,
            cubes=self._cubes(),
        )

    def _cubes(self) -> float:
        n, m = self.n_images, min(self.n_images, IMAGES_FOR_CUBES)
        vectors = self._unit[np.random.default_rng(self._seed).choice(n, m, replace=False)]
        total = 0.0
        for start in range(0, m, ROWS_AT_ONCE):
            cosines = vectors[start : start + ROWS_AT_ONCE] @ vectors.T - self.mean
            np.fill_diagonal(cosines[:, start:], 0.0)
            total += float(np.sum(cosines**3))
        return total * (n * (n - 1)) / (m * (m - 1))
