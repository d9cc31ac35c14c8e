"""Correlating every feature with every rating, against a plain loop over `scipy.stats.pearsonr`.

Run it with `python benchmarks/correlation.py`. The loop is timed on some features and extrapolated to all.
"""

from __future__ import annotations

import argparse
import warnings
from itertools import product
from time import perf_counter

import numpy as np
from made_up import score_input
from scipy.stats import pearsonr

import saeviz

LOOP_FEATURES = 100


def main() -> None:
    """Print seconds and their ratio."""
    from saeviz_correlation import CorrelationOptions
    from saeviz_correlation.scorer import PearsonBH

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--missing", type=float, default=0.0, help="share of ratings missing, differently per rating")
    data = score_input(ratings=8, missing=parser.parse_args().missing)
    scorer = PearsonBH(CorrelationOptions(), saeviz.Context())

    start = perf_counter()
    columns = list(scorer.score(data))
    scored = perf_counter()
    columns += [result for result in scorer.combine(columns) if isinstance(result, saeviz.ScoreColumn)]
    adjusted = perf_counter()

    seconds, difference = loop(data, columns)
    total = adjusted - start
    print(f"{data.space.n_features} features x {len(data.ratings)} ratings, {data.n_items} images")
    print(f"pearson-bh: r, p, intervals {scored - start:.2f} s, q {adjusted - scored:.2f} s, together {total:.2f} s")
    print(f"loop over scipy.stats.pearsonr: {seconds:.1f} s, extrapolated from {LOOP_FEATURES} features")
    print(f"ratio: {seconds / total:.0f}; largest difference in r {difference:.1e}")


def loop(data: saeviz.ScoreInput, columns: list[saeviz.ScoreColumn]) -> tuple[float, float]:
    """Seconds that SciPy would need for all features, and by how much its r differs at most."""
    warnings.simplefilter("ignore")  # constant features
    found = {column.target: column.values for column in columns if column.name == "r"}
    dense = data.features.matrix()[:, :LOOP_FEATURES].toarray().astype(np.float64)
    differences = []
    start = perf_counter()
    for feature, (name, rating) in product(range(LOOP_FEATURES), data.ratings.items()):
        rated = np.isfinite(rating)
        result = pearsonr(dense[rated, feature], rating[rated])
        differences.append(abs(result.statistic - found[name][feature]))
    seconds = (perf_counter() - start) / LOOP_FEATURES * data.space.n_features
    return seconds, float(np.nanmax(differences))


if __name__ == "__main__":
    main()
