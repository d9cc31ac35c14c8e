"""How often `raters` finds a relation significant that does not exist, by the number of raters.

    python benchmarks/raters_null.py [TESTS]

No feature is associated with the ratings on average; raters differ in level and in their slope for each feature.
Prints the share of p below .05, .01 and .001, divided by the nominal one: 1 is exact, less conservative, more not.
`alike` raters do not differ in features at all, `mild` ones about as much as images do, `far apart` ones much more.
"""

from __future__ import annotations

import logging

import numpy as np
from arguments import how_many
from scipy.sparse import csr_array

import saeviz
from saeviz import FeatureBatch, FeatureSpace, FeatureStream, IndividualRatings, ScoreInput
from saeviz_raters import RatersOptions
from saeviz_raters.scorer import Raters

RATERS = (2, 3, 4, 5, 8, 12, 20)
LEVELS = (0.05, 0.01, 0.001)
SPREADS = {"alike": 0.0, "mild": 0.05, "far apart": 0.3}
N_IMAGES, N_FEATURES = 200, 20


def p_values(n_raters: int, spread: float, generator: np.random.Generator) -> np.ndarray:
    """Of one made-up data set, a p per feature."""
    features = generator.exponential(size=(N_IMAGES, N_FEATURES)) * (generator.random((N_IMAGES, N_FEATURES)) < 0.5)
    slopes = spread * generator.normal(size=(n_raters, N_FEATURES))
    of_image = generator.normal(size=N_IMAGES)
    ratings = features @ slopes.T + of_image[:, None] + generator.normal(size=n_raters)
    ratings = ratings + generator.normal(size=ratings.shape)
    images, raters = np.divmod(np.arange(ratings.size), n_raters)
    given = IndividualRatings(images, raters, ratings.ravel(), tuple(f"rater {i}" for i in range(n_raters)))
    space, ids = FeatureSpace(0, "cls", N_FEATURES), tuple(f"image {i}" for i in range(N_IMAGES))
    batch = FeatureBatch(space, ids, csr_array(features.astype(np.float32)))
    stream = FeatureStream(space, lambda: iter([batch]))
    data = ScoreInput(space, ids, stream, None, {"liking": ratings.mean(axis=1)}, {"liking": given})
    scored = Raters(RatersOptions(splits=1), saeviz.Context()).score(data)
    return next(
        column.values for column in scored if isinstance(column, saeviz.ScoreColumn) and column.name == "rater_p"
    )


def main(n_tests: int) -> None:
    """Print a row per number of raters and kind of disagreement."""
    logging.getLogger("saeviz").setLevel(logging.ERROR)
    generator = np.random.default_rng(0)
    print(f"{'raters':>6}  {'they are':10}  " + "  ".join(f"p < {level:<5g}" for level in LEVELS) + "  times nominal")
    for n_raters in RATERS:
        for name, spread in SPREADS.items():
            sets = -(-n_tests // N_FEATURES)
            p = np.concatenate([p_values(n_raters, spread, generator) for _ in range(sets)])
            rates = "  ".join(f"{np.mean(p < level) / level:9.2f}" for level in LEVELS)
            print(f"{n_raters:>6}  {name:10}  {rates}  ({np.mean(np.isfinite(p)):.0%} have a p)")


if __name__ == "__main__":
    main(how_many(__doc__, 20_000))
