"""How often `monosemanticity` calls features that fire at random more alike than chance.

    python benchmarks/monosemanticity_null.py [DATA_SETS]

Features fire on random images, so every small `ms_p` is false. Prints the share of p up to .05, .01 and .001, each
divided by what it should be: 1 is exact, less is cautious, more is bold. Images are `plain` (each its own), in
`clusters` of about ten alike, or in `series` of three near-duplicates. In the last rows the series are the groups of
the run; and features fire on whole series, which are groups or are not.
"""

from __future__ import annotations

import logging

import numpy as np
from arguments import how_many
from scipy.sparse import csr_array

import saeviz
from saeviz import FeatureBatch, FeatureSpace, FeatureStream, ScoreColumn, ScoreInput
from saeviz_monosemanticity import MonosemanticityOptions
from saeviz_monosemanticity.scorer import Monosemanticity

N_IMAGES, N_FEATURES, DIM = 600, 1000, 64
LEVELS = (0.05, 0.01, 0.001)
KINDS = ("plain", "clusters", "series", "series grouped", "whole series", "whole series grouped")
OPTIONS = (
    {"definition": "top-k"},
    {"definition": "top-k", "top_k": 5},
    {"definition": "top-k-global-weights", "top_k": 16},
    {"definition": "global"},
)


def embeddings(kind: str, generator: np.random.Generator) -> np.ndarray:
    """`[N_IMAGES, DIM]`, with random cosines of about .2."""
    own = generator.normal(size=(N_IMAGES, DIM))
    if kind == "clusters":
        own = 0.3 * own + generator.normal(size=(N_IMAGES // 10, DIM))[generator.integers(0, N_IMAGES // 10, N_IMAGES)]
    if "series" in kind:
        own = 0.05 * own + np.repeat(generator.normal(size=(N_IMAGES // 3, DIM)), 3, axis=0)
    return (own + 0.5).astype(np.float32)


def p_values(kind: str, seed: int, options: dict[str, object]) -> np.ndarray:
    """Of one made-up data set, a p per feature."""
    generator = np.random.default_rng(seed)
    fires = generator.random((N_IMAGES, N_FEATURES)) < 0.1
    series = np.arange(N_IMAGES) // 3
    if "whole" in kind:
        fires = fires[series]
    features = generator.exponential(size=(N_IMAGES, N_FEATURES)) * fires
    groups = tuple(map(str, series)) if "grouped" in kind else None
    space, ids = FeatureSpace(0, "cls", N_FEATURES), tuple(f"image {i}" for i in range(N_IMAGES))
    batch = FeatureBatch(space, ids, csr_array(features.astype(np.float32)))
    stream = FeatureStream(space, lambda: iter([batch]))
    data = ScoreInput(space, ids, stream, embeddings(kind, generator), {}, groups=groups)
    scored = Monosemanticity(MonosemanticityOptions(**options), saeviz.Context(seed=seed)).score(data)
    return next(column.values for column in scored if isinstance(column, ScoreColumn) and column.name == "ms_p")


def main(n_sets: int) -> None:
    """Print a row per kind of images and definition."""
    logging.getLogger("saeviz").setLevel(logging.ERROR)
    for kind in KINDS:
        for options in OPTIONS[: 3 if " " in kind else None]:
            p = np.concatenate([p_values(kind, seed, options) for seed in range(n_sets)])
            rates = "  ".join(f"{np.mean(p <= level) / level:5.2f}" for level in LEVELS)
            print(f"{kind:22}  {' '.join(map(str, options.values())):24}  {rates}  times nominal, {p.size} features")


if __name__ == "__main__":
    main(how_many(__doc__, 20))
