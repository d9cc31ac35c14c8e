"""How large r of significant relations is, and how often its 95 % interval contains the true one.

    python benchmarks/selection_coverage.py [DATA_SETS [ERRORS]]

Each data set has 300 features on 200 images with one rating; 60 of them have the same true correlation with it, the
others none. Features are normal, or exponential on 30 % of the images and 0 elsewhere; what relates them to the rating
is added on every image. Of the relations that
Benjamini-Hochberg finds, prints the mean r and the corrected one, and how often the plain and the corrected interval
contain the truth. 0.95 is exact.

The second table is of values whose standard error is estimated with few degrees of freedom, as in groups of images: of
1,000 that are significant at .001, the mean corrected value, divided by the true one, and the coverage; last, what the
coverage would be with the standard error of the interval in place of that with which a normal value has the same p.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.special import stdtr

import saeviz
from saeviz_correlation.options import LinearOptions
from saeviz_correlation.scorer import PearsonBH
from saeviz_correlation.selection import corrected

N_IMAGES, N_FEATURES, N_RELATED = 200, 300, 60
CORRELATIONS = (0.0, 0.1, 0.2, 0.3, 0.5)
SHARES = (1.0, 0.3)
FREEDOM, SIZES, UNIT, LARGEST_P = (5, 8, 15, 30, 60), (2, 4, 6, 9), 0.02, 0.001


def found(correlation: float, share: float, errors: Any, generator: np.random.Generator) -> np.ndarray:
    """Of one data set, a row per significant relation: the truth, r, its bounds, the same corrected.

    A feature with this correlation is made from the rating and noise, so that features are independent given it.
    """
    rating = generator.normal(size=N_IMAGES)
    truth = np.where(np.arange(N_FEATURES) < N_RELATED, correlation, 0.0)
    fires = generator.random((N_IMAGES, N_FEATURES)) < share
    strength = generator.exponential(size=fires.shape) * fires if share < 1 else generator.normal(size=fires.shape)
    sd = np.sqrt(2 * share - share**2) if share < 1 else 1.0
    slope = truth / np.sqrt(1 - truth**2) * sd
    # Stored activations may be negative here: what matters is their distribution.
    dense = strength + slope * rating[:, None]
    space, ids = saeviz.FeatureSpace(1, "cls", N_FEATURES), tuple(map(str, range(N_IMAGES)))
    batch = saeviz.FeatureBatch(space, ids, csr_array(dense.astype(np.float32)))
    data = saeviz.ScoreInput(space, ids, saeviz.FeatureStream(space, lambda: iter([batch])), None, {"liked": rating})
    scorer = PearsonBH(LinearOptions(min_active=1, errors=errors), saeviz.Context())
    columns = list(scorer.score(data))
    columns += [one for one in scorer.combine(columns) if isinstance(one, saeviz.ScoreColumn)]
    by_name = {one.name: one.values for one in columns}
    is_found = by_name["significant"] == 1
    parts = [by_name[f"{name}{part}"] for part in ("", "_corrected") for name in ("r", "ci_low", "ci_high")]
    return np.stack([truth, *parts])[:, is_found].T


def with_few_degrees_of_freedom(df: int, size: int, generator: np.random.Generator) -> tuple[float, float, float]:
    """The mean corrected value, divided by `size`, the true one in standard errors, and the interval's coverage.

    Last, the coverage of an interval that takes the standard error as it is.
    """
    value, se = size + generator.normal(size=100_000), np.sqrt(generator.chisquare(df, 100_000) / df)
    p = 2 * stdtr(df, -np.abs(value) / se)
    value, se, p = (given[p <= LARGEST_P][:1000] for given in (value, se, p))
    middles, covered = [], []
    for freedom in (float(df), np.inf):
        given = corrected(np.tanh(value * UNIT), p, se * UNIT, np.full(p.shape, freedom), LARGEST_P)
        middle, low, high = (np.arctanh(one) / UNIT for one in given)
        middles.append(float(middle.mean() / size))
        covered.append(float(((low <= size) & (size <= high)).mean()))
    return middles[0], covered[0], covered[1]


def main(n_sets: int, errors: str) -> None:
    """Print the tables."""
    generator = np.random.default_rng(0)
    print("fires on  true r   found     r  corrected  coverage  corrected")
    for share in SHARES:
        for correlation in CORRELATIONS:
            rows = np.concatenate([found(correlation, share, errors, generator) for _ in range(n_sets)])
            rows = rows[rows[:, 0] == correlation]
            if not len(rows):
                continue
            truth, r, low, high, better, better_low, better_high = rows.T
            sign = np.sign(r) if correlation == 0 else np.ones_like(r)
            inside = [((a <= truth) & (truth <= b)).mean() for a, b in ((low, high), (better_low, better_high))]
            figures = (sign * r).mean(), (sign * better).mean(), *inside
            print(f"{share:>8.0%}  {correlation:>6}  {len(rows):>6}" + "".join(f"  {one:6.3f}" for one in figures))
    print("df  true / se  corrected / true  coverage  by se")
    generator = np.random.default_rng(1)  # the same figures after any number of data sets
    for df in FREEDOM:
        for size in SIZES:
            share, covered, by_se = with_few_degrees_of_freedom(df, size, generator)
            print(f"{df:>2}  {size:>9}  {share:>16.2f}  {covered:>8.3f}  {by_se:>5.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_sets", nargs="?", type=int, default=400)
    parser.add_argument("errors", nargs="?", default="independent")
    given = parser.parse_args()
    main(given.data_sets, given.errors)
