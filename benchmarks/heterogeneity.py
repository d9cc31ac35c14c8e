"""How often Cochran's Q says that r differs between groups although it is the same in all.

    python benchmarks/heterogeneity.py [FEATURES]

Simulated: five groups of 120 images, whose r with a rating is the same. A feature fires on a share of the images with
exponential strengths; or it is normal; or each image is in its group four times, as near-duplicates are. Prints the
share of p up to .05, which is .05 where the test is right.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from arguments import how_many
from scipy.sparse import csr_array

import saeviz
from saeviz_correlation.options import LinearOptions
from saeviz_correlation.scorer import PearsonBH

if TYPE_CHECKING:
    from saeviz.typing import FloatArray

GROUPS, SIZE = 5, 120
CORRELATIONS = (0.0, 0.3, 0.5)


def fires_on(share: float) -> Callable[[np.random.Generator, int], FloatArray]:
    """Exponential strengths on a share of the images, standardized."""

    def made(generator: np.random.Generator, n: int) -> FloatArray:
        values = generator.exponential(size=n) * (generator.random(n) < share)
        return np.asarray((values - share) / np.sqrt(2 * share - share**2))

    return made


FEATURES: dict[str, tuple[Callable[[np.random.Generator, int], FloatArray], int]] = {
    "normal": (lambda generator, n: generator.normal(size=n), 1),
    "fires on 30 %": (fires_on(0.3), 1),
    "fires on 15 %": (fires_on(0.15), 1),
    "normal, four times each": (lambda generator, n: generator.normal(size=n), 4),
}


def share_up_to_5_percent(kind: str, r: float, n_features: int) -> float:
    """Of the p of one kind of features, each with a rating of its own."""
    made, copies = FEATURES[kind]
    generator = np.random.default_rng([int(10 * r), len(kind)])
    n = GROUPS * SIZE // copies
    features = np.column_stack([made(generator, n) for _ in range(n_features)])
    small, tested = 0, 0
    scorer = PearsonBH(LinearOptions(), saeviz.Context())
    rating = r * features + np.sqrt(1 - r**2) * generator.normal(size=features.shape)
    groups = tuple(str(number % GROUPS) for number in range(n)) * copies
    ids = tuple(map(str, range(n * copies)))
    for one in range(n_features):
        space = saeviz.FeatureSpace(1, "cls", 1)
        x = np.tile(features[:, one : one + 1] - features[:, one].min(), (copies, 1))
        batch = saeviz.FeatureBatch(space, ids, csr_array(x.astype(np.float32)))
        stream = saeviz.FeatureStream(space, partial(iter, [batch]))
        ratings = {"rating": np.tile(rating[:, one], copies)}
        data = saeviz.ScoreInput(space, ids, stream, None, ratings, groups=groups)
        columns = {column.name: column.values for column in scorer.score(data)}
        p = float(columns["heterogeneity_p"][0])
        small, tested = small + int(p <= 0.05), tested + int(np.isfinite(p))
    return small / tested


def main(n_features: int) -> None:
    """Print the table."""
    print(f"{'':<25}" + "".join(f"{f'r = {r}':>10}" for r in CORRELATIONS))
    for kind in FEATURES:
        shares = [share_up_to_5_percent(kind, r, n_features) for r in CORRELATIONS]
        print(f"{kind:<25}" + "".join(f"{share:>10.2f}" for share in shares))


if __name__ == "__main__":
    main(how_many(__doc__, 1000))
