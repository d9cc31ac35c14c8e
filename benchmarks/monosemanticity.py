"""Monosemanticity of every feature by every definition, against the plain loop over pairs of images.

Run it with `python benchmarks/monosemanticity.py`. The loop takes the pairs of images that have weight (the published
code takes all pairs), one row of cosines at a time. It is timed on some features and extrapolated to all.
"""

from __future__ import annotations

from time import perf_counter
from typing import get_args

import numpy as np
from made_up import score_input

import saeviz

LOOP_FEATURES = 20


def main() -> None:
    """Print seconds and their ratio per definition."""
    from saeviz_monosemanticity import Definition, MonosemanticityOptions
    from saeviz_monosemanticity.scorer import Monosemanticity

    data = score_input(embedding_dim=768)
    print(f"{data.space.n_features} features, {data.n_items} images, embeddings of {data.embeddings.shape[1]}")
    dense = data.features.matrix()[:, :LOOP_FEATURES].toarray().astype(np.float64)
    for definition in get_args(Definition):
        fresh = saeviz.FeatureStream(data.space, data.features.batches)
        scorer = Monosemanticity(MonosemanticityOptions(definition=definition), saeviz.Context())
        start = perf_counter()
        results = list(scorer.score(saeviz.ScoreInput(data.space, data.item_ids, fresh, data.embeddings, {})))
        seconds = perf_counter() - start
        scores = next(result.values for result in results if result.name == "monosemanticity")

        start = perf_counter()
        expected = [pair_loop(column, data.embeddings, definition) for column in dense.T]
        loop_seconds = (perf_counter() - start) / LOOP_FEATURES * data.space.n_features
        difference = np.nanmax(np.abs(scores[:LOOP_FEATURES] - expected))
        print(
            f"{definition}: {seconds:.2f} s; pair loop {loop_seconds:.0f} s, extrapolated from {LOOP_FEATURES} "
            f"features; ratio {loop_seconds / seconds:.0f}; largest difference {difference:.1e}"
        )


def pair_loop(activations: np.ndarray, embeddings: np.ndarray, definition: str, top_k: int = 20) -> float:
    """One feature's score: all pairs n < m of the images that have weight."""
    images = np.argsort(-activations, kind="stable")[: None if definition == "global" else top_k]
    scale = activations[images] if definition == "top-k" else activations
    weights = (activations[images] - scale.min()) / (scale.max() - scale.min())
    images, weights = images[weights > 0], weights[weights > 0]
    unit = embeddings[images] / np.linalg.norm(embeddings[images], axis=1, keepdims=True)
    total = norm = 0.0
    for n in range(len(images) - 1):
        pair_weights = weights[n] * weights[n + 1 :]
        total += float(pair_weights @ (unit[n + 1 :] @ unit[n]))
        norm += float(pair_weights.sum())
    return total / norm


if __name__ == "__main__":
    main()
