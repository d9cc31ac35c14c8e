"""From principal components to a map: PaCMAP where it is wanted, then always the same orientation and scale."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saeviz.typing import FloatArray

ENOUGH = 50
"""Features that PaCMAP takes at least: it compares each with some twenty others."""
DIGITS = 5
"""Decimals of what PaCMAP is given, so that it is the same wherever it was computed."""
FLAT = 1e-6
"""Share of the spread along the first axis below which a second axis is rounding."""


def neighbours_together(components: FloatArray, seed: int) -> FloatArray:
    """PaCMAP's map `[n, 2]` of points given by their principal components, `[n, k]`."""
    from pacmap import PaCMAP

    logging.getLogger("pacmap.pacmap").setLevel(logging.ERROR)  # it warns of every seed
    points = np.round(components / np.abs(components).max(), DIGITS).astype(np.float32)
    found = PaCMAP(n_components=2, random_state=seed).fit_transform(points, init="pca")
    return np.asarray(found, dtype=np.float64)


def oriented(points: FloatArray) -> FloatArray:
    """The map `[n, 2]` about its mean, the axis of largest spread from left to right, the longer tails right and up.

    The coordinate that is furthest from 0 is 1 or -1; both axes have the same scale.
    """
    flat = np.zeros((len(points), 2))
    if not len(points):
        return flat
    flat[:, : points.shape[1]] = (points - points.mean(axis=0))[:, :2]
    spread, axes = np.linalg.eigh(flat.T @ flat)
    flat = flat @ axes[:, ::-1]
    if spread[0] <= FLAT**2 * spread[1]:
        flat[:, 1] = 0
    flat *= np.where((flat**3).sum(axis=0) < 0, -1, 1)
    found: FloatArray = flat / max(float(np.abs(flat).max(initial=0)), np.finfo(float).tiny)
    return found
