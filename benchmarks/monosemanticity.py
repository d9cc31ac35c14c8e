"""Monosemanticity of every feature by every definition and its null, against plain loops.

Run it with `python benchmarks/monosemanticity.py`; `--images 20000` takes more images. The pair loop takes the pairs of
images that have weight (the published code takes all pairs), one row of cosines at a time. The null loop takes 1,000
random choices of images for a feature, one after the other. Both are timed on some features and extrapolated to all.
"""

from __future__ import annotations

import argparse
import resource
from time import perf_counter
from typing import get_args

import made_up
import numpy as np

import saeviz

LOOP_FEATURES = 20
DRAWS = 1000
REPEATS = 3


def main() -> None:
    """Print seconds and their ratio per definition, then the same for the null."""
    from saeviz_monosemanticity import Definition

    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=made_up.N_IMAGES)
    made_up.N_IMAGES = parser.parse_args().images
    data = made_up.score_input(embedding_dim=768)
    print(f"{data.space.n_features} features, {data.n_items} images, embeddings of {data.embeddings.shape[1]}")
    dense = first_features(data)
    for definition in get_args(Definition):
        seconds, scores = timed_scores(data, definition=definition, draws=0)
        start = perf_counter()
        expected = [pair_loop(column, data.embeddings, definition) for column in dense.T]
        loop_seconds = (perf_counter() - start) / LOOP_FEATURES * data.space.n_features
        difference = np.nanmax(np.abs(scores["monosemanticity"][:LOOP_FEATURES] - expected))
        print(
            f"{definition}, null in closed form: {seconds:.2f} s; pair loop {loop_seconds:.0f} s, extrapolated from "
            f"{LOOP_FEATURES} features; ratio {loop_seconds / seconds:.0f}; largest difference {difference:.1e}"
        )
    base, _ = timed_scores(data, draws=0)
    start = perf_counter()
    drawn = [null_loop(column, data.embeddings) for column in dense.T[:3]]
    loop_seconds = (perf_counter() - start) / 3 * data.space.n_features
    for draws in (DRAWS, 10 * DRAWS):
        seconds, scores = timed_scores(data, draws=draws)
        print(
            f"top-k, {draws} draws: {seconds:.2f} s, {seconds - base:.2f} s more than without; loop over {DRAWS} draws "
            f"{loop_seconds:.0f} s, extrapolated from 3 features; ratio of {seconds:.2f} s {loop_seconds / seconds:.0f}"
        )
    sd = scores["ms_null_sd"][:3]
    print(f"spread in closed form {sd.round(5)}, of the loop's draws {np.std(drawn, axis=1).round(5)}")
    product, memory = floor(data)
    print(f"floor of global: the bare sparse product {product:.2f} s, reading its result once {memory:.2f} s")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB, data and loops included")


def timed_scores(data: saeviz.ScoreInput, **options: object) -> tuple[float, dict[str, np.ndarray]]:
    """Seconds of a fresh scorer on a fresh stream, the best of three, and its columns."""
    from saeviz_monosemanticity import MonosemanticityOptions
    from saeviz_monosemanticity.scorer import Monosemanticity

    seconds = []
    for _ in range(REPEATS):
        stream = saeviz.FeatureStream(data.space, data.features.batches)
        scorer = Monosemanticity(MonosemanticityOptions(**options), saeviz.Context())
        start = perf_counter()
        results = scorer.score(saeviz.ScoreInput(data.space, data.item_ids, stream, data.embeddings, {}))
        columns = [result for result in results if isinstance(result, saeviz.ScoreColumn)]
        list(scorer.combine(columns))
        seconds.append(perf_counter() - start)
    return min(seconds), {column.name: column.values for column in columns}


def first_features(data: saeviz.ScoreInput) -> np.ndarray:
    """Dense, `[n_items, 20]`."""
    batches = (batch.matrix[:, :LOOP_FEATURES].toarray() for batch in data.features.batches())
    return np.concatenate(list(batches)).astype(np.float64)


def weights_of(activations: np.ndarray, definition: str, top_k: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """One feature's images that have weight, and their weights."""
    images = np.argsort(-activations, kind="stable")[: None if definition == "global" else top_k]
    scale = activations[images] if definition == "top-k" else activations
    weights = (activations[images] - scale.min()) / (scale.max() - scale.min())
    return images[weights > 0], weights[weights > 0]


def pair_loop(activations: np.ndarray, embeddings: np.ndarray, definition: str) -> float:
    """One feature's score: all pairs n < m of the images that have weight."""
    images, weights = weights_of(activations, definition)
    return mean_of_pairs(embeddings[images], weights)


def null_loop(activations: np.ndarray, embeddings: np.ndarray) -> list[float]:
    """One feature's top-k score on random images, repeatedly."""
    random = np.random.default_rng(0)
    _, weights = weights_of(activations, "top-k")
    choices = (random.choice(len(embeddings), len(weights), replace=False) for _ in range(DRAWS))
    return [mean_of_pairs(embeddings[images], weights) for images in choices]


def mean_of_pairs(embeddings: np.ndarray, weights: np.ndarray) -> float:
    """The weighted mean cosine of all pairs n < m."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    total = norm = 0.0
    for n in range(len(weights) - 1):
        pair_weights = weights[n] * weights[n + 1 :]
        total += float(pair_weights @ (unit[n + 1 :] @ unit[n]))
        norm += float(pair_weights.sum())
    return total / norm


def floor(data: saeviz.ScoreInput) -> tuple[float, float]:
    """A lower bound for `global`: seconds of the bare product, and of one pass over its result."""
    unit = data.embeddings.astype(np.float64)
    by_feature = data.features.matrix().astype(np.float64).T.tocsr()
    seconds = []
    for _ in range(REPEATS):
        start = perf_counter()
        sums = by_feature @ unit
        middle = perf_counter()
        np.einsum("ij,ij->i", sums, sums)
        seconds.append((middle - start, perf_counter() - middle))
    return min(seconds)


if __name__ == "__main__":
    main()
