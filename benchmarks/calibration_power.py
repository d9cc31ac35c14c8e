"""Whether tests find as much as they should, and whether the judge's intervals hold.

    python benchmarks/calibration_power.py [FEATURES]

First table: of normal features with a true r, the share with p up to .05, .001 and .00001 by `pearson-bh`, beside the
power by the noncentral t distribution (for a fixed feature) and by Fisher's z. Second: the share of features found at
the r that the run says it finds with a power of 80 %, in a family of a thousand tests. Third: the exact coverage of the
judge's 95 % interval of a balanced accuracy, mean and range over true sensitivities and specificities from .5 to .95.
"""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np
from arguments import how_many
from scipy.sparse import csr_array
from scipy.stats import binom, nct, norm, t

import saeviz
from saeviz.formats.accuracy import mean_of, proportion
from saeviz_correlation.options import LinearOptions
from saeviz_correlation.scorer import PearsonBH

N_IMAGES = (100, 600)
CORRELATIONS = (0.1, 0.2, 0.3)
LEVELS = (0.05, 1e-3, 1e-5)
FAMILY = 1000
JUDGED = ((6, 6), (12, 12), (12, 24), (40, 40))


def scored(dense: np.ndarray, rating: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """The columns of `pearson-bh`, and its facts."""
    space, ids = saeviz.FeatureSpace(1, "cls", dense.shape[1]), tuple(map(str, range(len(dense))))
    batch = saeviz.FeatureBatch(space, ids, csr_array(dense.astype(np.float32)))
    data = saeviz.ScoreInput(space, ids, saeviz.FeatureStream(space, partial(iter, [batch])), None, {"liked": rating})
    scorer = PearsonBH(LinearOptions(min_active=1, correction="bonferroni"), saeviz.Context())
    columns = list(scorer.score(data))
    results = list(scorer.combine(columns))
    facts = {one.name: one.value for one in results if isinstance(one, saeviz.ScoreFact)}
    columns += [one for one in results if isinstance(one, saeviz.ScoreColumn)]
    return {column.name: column.values for column in columns}, facts


def related(n: int, r: float, n_features: int, generator: np.random.Generator) -> np.ndarray:
    """P of features that each have this true r with a rating; a rating serves a hundred of them."""
    found = []
    for _ in range(-(-n_features // 100)):
        rating = generator.normal(size=n)
        dense = r * rating[:, None] + np.sqrt(1 - r**2) * generator.normal(size=(n, 100))
        found.append(scored(dense, rating)[0]["p"])
    return np.concatenate(found)


def power(n_features: int) -> None:
    """Print the first table."""
    print("images  true r      level  measured  noncentral t  Fisher's z")
    for n, r in product(N_IMAGES, CORRELATIONS):
        p = related(n, r, n_features, np.random.default_rng([n, int(100 * r)]))
        for level in LEVELS:
            least = t.isf(level / 2, n - 2)
            shift = r / np.sqrt(1 - r**2) * np.sqrt(n)
            by_t = nct.sf(least, n - 2, shift) + nct.cdf(-least, n - 2, shift)
            bound = np.arctanh(least / np.sqrt(n - 2 + least**2))
            by_z = norm.sf((bound - np.arctanh(r)) * np.sqrt(n - 3))
            print(f"{n:>6}  {r:>6}  {level:>9.0e}  {(p <= level).mean():>8.4f}  {by_t:>12.4f}  {by_z:>10.4f}")


def detectable(n_features: int) -> None:
    """Print the second table."""
    print("\nimages  detectable r  found of these")
    for n in N_IMAGES:
        generator = np.random.default_rng(n)
        _, facts = scored(generator.normal(size=(n, FAMILY)), generator.normal(size=n))
        r = float(str(facts["correlation_detectable_liked"]))
        p = related(n, r, n_features, generator)
        print(f"{n:>6}  {r:>12.3f}  {(p <= 0.05 / FAMILY).mean():>14.4f}")


def judge() -> None:
    """Print the third table."""
    print("\nactive  silent  coverage: mean  least  largest")
    rates = np.linspace(0.5, 0.95, 10)
    for n_active, n_silent in JUDGED:
        bounds = np.array(
            [
                [mean_of(proportion(a, n_active), proportion(b, n_silent))[1:] for b in range(n_silent + 1)]
                for a in range(n_active + 1)
            ]
        )
        covered = []
        for sensitivity, specificity in product(rates, rates):
            chance = np.outer(
                binom.pmf(np.arange(n_active + 1), n_active, sensitivity),
                binom.pmf(np.arange(n_silent + 1), n_silent, specificity),
            )
            truth = (sensitivity + specificity) / 2
            covered.append(float(chance[(bounds[..., 0] <= truth) & (truth <= bounds[..., 1])].sum()))
        line = f"{np.mean(covered):>14.3f}  {min(covered):>5.3f}  {max(covered):>7.3f}"
        print(f"{n_active:>6}  {n_silent:>6}  {line}")


def main(n_features: int) -> None:
    """Print all three."""
    power(n_features)
    detectable(n_features)
    judge()


if __name__ == "__main__":
    main(how_many(__doc__, 20_000))
