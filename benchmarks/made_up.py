"""A simulated space of the usual size: 49,152 features of which 800 fire on each of 5,000 images."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

import saeviz

N_IMAGES, N_FEATURES, N_ACTIVE, BATCH_SIZE = 5000, 49_152, 800, 128


def score_input(
    *, ratings: int = 0, missing: float = 0.0, embedding_dim: int = 0, groups: int = 0
) -> saeviz.ScoreInput:
    """Batches in memory, normal ratings (a share of them missing), normal embeddings, images in groups at random."""
    random = np.random.default_rng(0)
    space = saeviz.FeatureSpace(11, "cls", N_FEATURES)
    ids = tuple(f"image {number}" for number in range(N_IMAGES))
    batches = [_batch(random, space, ids[start : start + BATCH_SIZE]) for start in range(0, N_IMAGES, BATCH_SIZE)]
    rated = {f"rating {number}": random.normal(size=N_IMAGES) for number in range(ratings)}
    for values in rated.values():
        values[random.random(N_IMAGES) < missing] = np.nan
    embeddings = random.normal(size=(N_IMAGES, embedding_dim)).astype(np.float32) if embedding_dim else None
    names = tuple(f"group {number}" for number in random.integers(0, groups, N_IMAGES)) if groups else None
    stream = saeviz.FeatureStream(space, lambda: iter(batches))
    return saeviz.ScoreInput(space, ids, stream, embeddings, rated, groups=names)


def _batch(random: np.random.Generator, space: saeviz.FeatureSpace, ids: tuple[str, ...]) -> saeviz.FeatureBatch:
    columns = np.concatenate([np.sort(random.choice(N_FEATURES, N_ACTIVE, replace=False)) for _ in ids])
    values = random.exponential(size=columns.size).astype(np.float32)
    starts = np.arange(0, columns.size + 1, N_ACTIVE)
    return saeviz.FeatureBatch(space, ids, csr_array((values, columns, starts), shape=(len(ids), N_FEATURES)))
