"""Correlating every feature with every rating, against a plain loop over SciPy and against a lower bound.

Run it with `python benchmarks/correlation.py`. The loop is timed on some features and extrapolated to all. The bare
work is one sparse product of features and ratings in float64, and p-values from SciPy's incomplete beta function; for
`max-t` as many sparse products in float32 as it takes, on one thread.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from itertools import product
from time import perf_counter, process_time
from typing import Any

import numpy as np
from made_up import score_input
from scipy.special import betainc
from scipy.stats import pearsonr, spearmanr

import saeviz

LOOP_FEATURES = 100
clock = perf_counter


def main() -> None:
    """Print seconds and their ratios."""
    from saeviz_correlation.options import LinearOptions
    from saeviz_correlation.scorer import PearsonBH, PointBiserial
    from saeviz_correlation.spearman import Spearman

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--missing", type=float, default=0.0, help="share of missing ratings, at different images for each rating"
    )
    parser.add_argument("--permutations", type=int, default=1000)
    parser.add_argument("--cpu-time", action="store_true", help="measure processor time, for a shared machine")
    arguments = parser.parse_args()
    global clock  # noqa: PLW0603
    clock = process_time if arguments.cpu_time else perf_counter
    data = score_input(ratings=8, missing=arguments.missing)
    print(f"{data.space.n_features} features x {len(data.ratings)} ratings, {data.n_items} images")

    def scored(scorer: Any, **options: Any) -> list[saeviz.ScoreColumn]:
        return score(scorer(LinearOptions(**options), saeviz.Context()), data)

    seconds, columns = best_of(3, lambda: scored(PearsonBH))
    bare = bare_work(data)
    loop_seconds, difference = loop(data, columns, "r", pearsonr)
    print(f"pearson-bh: {seconds:.2f} s; bare product and p-values {bare:.2f} s, ratio {seconds / bare:.1f}")
    print(f"  loop over scipy.stats.pearsonr {loop_seconds:.0f} s, ratio {loop_seconds / seconds:.0f}", end="")
    print(f" (extrapolated from {LOOP_FEATURES} features); largest difference in r {difference:.1e}")

    seconds, columns = best_of(2, lambda: scored(Spearman))
    loop_seconds, difference = loop(data, columns, "spearman_r", spearmanr)
    print(f"spearman: {seconds:.2f} s; bare sort {bare_sort(data):.2f} s; loop over scipy.stats.spearmanr", end="")
    print(f" {loop_seconds:.0f} s, ratio {loop_seconds / seconds:.0f}; largest difference {difference:.1e}")

    seconds, _ = best_of(2, lambda: scored(PointBiserial))
    print(f"point-biserial: {seconds:.2f} s")

    seconds, _ = best_of(1, lambda: scored(PearsonBH, correction="max-t", permutations=arguments.permutations))
    bare = bare_permutations(data, arguments.permutations)
    print(f"max-t, {arguments.permutations} permutations: {seconds:.1f} s", end="")
    print(f"; bare products on one thread {bare:.1f} s, ratio {seconds / bare:.1f}")


def best_of(n: int, function: Callable[[], Any]) -> tuple[float, Any]:
    """The smallest time in seconds, and the result."""
    times = []
    for _ in range(n):
        start = clock()
        result = function()
        times.append(clock() - start)
    return min(times), result


def score(scorer: Any, data: saeviz.ScoreInput) -> list[saeviz.ScoreColumn]:
    """All columns, computed as in a run."""
    columns = list(scorer.score(data))
    return columns + [result for result in scorer.combine(columns) if isinstance(result, saeviz.ScoreColumn)]


def bare_work(data: saeviz.ScoreInput) -> float:
    """Seconds of one product, which converts the features to float64, and of the p-values of as many r."""
    features = data.features.matrix()
    ratings = np.nan_to_num(np.column_stack(list(data.ratings.values())))
    squares = np.random.default_rng(0).beta(0.5, data.n_items / 2, (data.space.n_features, len(data.ratings)))
    multiply, _ = best_of(5, lambda: features.T @ ratings)
    test, _ = best_of(5, lambda: betainc((data.n_items - 2) / 2, 0.5, 1 - squares))
    return multiply + test


def bare_sort(data: saeviz.ScoreInput) -> float:
    """Seconds to bring all values into the order of features and size."""
    features = data.features.matrix().tocsc()
    columns = np.repeat(np.arange(data.space.n_features), np.diff(features.indptr))
    return best_of(2, lambda: np.lexsort((features.data, columns)))[0]


def bare_permutations(data: saeviz.ScoreInput, permutations: int) -> float:
    """Seconds of the products of features with all permuted ratings, extrapolated from some."""
    features = data.features.matrix().T.tocsr()
    permuted = np.random.default_rng(0).normal(size=(data.n_items, 64)).astype(np.float32)
    return best_of(5, lambda: features @ permuted)[0] * permutations * len(data.ratings) / 64


def loop(
    data: saeviz.ScoreInput, columns: list[saeviz.ScoreColumn], name: str, correlate: Callable[..., Any]
) -> tuple[float, float]:
    """Seconds that SciPy would need for all features, and the largest difference of its r."""
    warnings.simplefilter("ignore")  # constant features
    found = {column.target: column.values for column in columns if column.name == name}
    dense = data.features.matrix()[:, :LOOP_FEATURES].toarray().astype(np.float64)
    differences = []
    start = clock()
    for feature, (rating, values) in product(range(LOOP_FEATURES), data.ratings.items()):
        rated = np.isfinite(values)
        result = correlate(dense[rated, feature], values[rated])
        differences.append(abs(result.statistic - found[rating][feature]))
    seconds = (clock() - start) / LOOP_FEATURES * data.space.n_features
    return seconds, float(np.nanmax(differences))


if __name__ == "__main__":
    main()
