"""Principal components of the decoder directions of an SAE, at length 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saeviz.typing import Float32Array, FloatArray, Mask

FEATURES_AT_ONCE = 4096


def principal_components(decoder: Float32Array, placed: Mask, n_components: int) -> tuple[FloatArray, FloatArray]:
    """Coordinates `[n_features, <= n_components]` and each component's share of variance.

    `decoder` is `[n_features, d_in]`. Components are those of the `placed` features.
    """
    length = np.linalg.norm(decoder, axis=1).astype(float)
    weight = np.where(placed, 1 / np.where(length > 0, length, 1), 0)
    n_placed, d_in = max(int(placed.sum()), 1), decoder.shape[1]
    total, products = np.zeros(d_in), np.zeros((d_in, d_in))
    blocks = [slice(start, start + FEATURES_AT_ONCE) for start in range(0, len(decoder), FEATURES_AT_ONCE)]
    for some in blocks:
        unit = decoder[some] * weight[some, None]
        total += unit.sum(axis=0)
        products += unit.T @ unit
    mean = total / n_placed
    squares, axes = np.linalg.eigh(products - n_placed * np.outer(mean, mean))
    order = np.argsort(-squares)[:n_components]
    axes = axes[:, order]
    found = np.concatenate([(decoder[some] * weight[some, None] - mean) @ axes for some in blocks])
    return found * placed[:, None], np.maximum(squares[order], 0) / max(squares.sum(), np.finfo(float).tiny)
