"""The scorer `auc` on 8 binary ratings against `spearman` on the same data: areas, precisions, tests and intervals.

Run it with `python benchmarks/auc.py`; `--cpu-time` on a machine that others use too, `--groups 500` for images in
groups.
"""

from __future__ import annotations

import argparse
import dataclasses
from time import perf_counter, process_time
from typing import Any

import numpy as np
from made_up import score_input

import saeviz

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.5)
"""Of the images, how many have a rating of 1."""


def main() -> None:
    """Print seconds and their ratio, and the largest difference to scikit-learn."""
    from saeviz_correlation.auc import AUC
    from saeviz_correlation.spearman import Spearman

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu-time", action="store_true", help="processor time, for a machine that others use too")
    parser.add_argument("--groups", type=int, default=0, help="number of groups of images")
    arguments = parser.parse_args()
    clock = process_time if arguments.cpu_time else perf_counter
    data = score_input(groups=arguments.groups)
    generator = np.random.default_rng(1)
    ratings = {f"{share:.0%} {n}": (generator.random(data.n_items) < share) * 1.0 for n, share in enumerate(SHARES)}
    data = dataclasses.replace(data, ratings=ratings)
    print(f"{data.space.n_features} features x {len(ratings)} ratings, {data.n_items} images")
    seconds, columns = {}, []
    for scorer in (Spearman, AUC):
        times = []
        for _ in range(3):
            start = clock()
            columns = _score(scorer, data)
            times.append(clock() - start)
        seconds[scorer] = min(times)
    print(f"spearman {seconds[Spearman]:.2f} s, auc {seconds[AUC]:.2f} s, ratio {seconds[AUC] / seconds[Spearman]:.2f}")
    print(f"largest difference to scikit-learn on 100 features: {_difference(data, columns):.1e}")


def _score(scorer: Any, data: saeviz.ScoreInput) -> list[saeviz.ScoreColumn]:
    from saeviz_correlation.options import LinearOptions

    built = scorer(LinearOptions(), saeviz.Context())
    columns = list(built.score(data))
    return columns + [result for result in built.combine(columns) if isinstance(result, saeviz.ScoreColumn)]


def _difference(data: saeviz.ScoreInput, columns: list[saeviz.ScoreColumn]) -> float:
    from sklearn.metrics import average_precision_score, roc_auc_score

    found = {(column.name, column.target): column.values for column in columns}
    dense = data.features.matrix()[:, :100].toarray()
    differences = [
        abs(found[name, rating][feature] - function(data.ratings[rating], dense[:, feature]))
        for name, function in (("auc_area", roc_auc_score), ("auc_average_precision", average_precision_score))
        for rating in data.ratings
        for feature in range(dense.shape[1])
    ]
    return max(differences)


if __name__ == "__main__":
    main()
