"""Correlations of images in groups: seconds of robust p-values and intervals, against those of independent images.

    python benchmarks/groups.py [GROUPS] [--cpu-time]

The floor is what no way of computing avoids: the sums of every feature times every rating over each group, as sparse
products of the features, sorted by group, with the ratings, and one p-value and one interval each. `hc2` is the same
without groups.
"""

from __future__ import annotations

import argparse
from time import perf_counter, process_time
from typing import Any

import numpy as np
from made_up import N_FEATURES, score_input
from scipy.special import betainc

import saeviz
from saeviz_correlation.options import LinearOptions
from saeviz_correlation.scorer import PearsonBH


def main() -> None:
    """Print seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="?", type=int, default=500)
    parser.add_argument("--cpu-time", action="store_true", help="measure processor time, for a shared machine")
    arguments = parser.parse_args()
    clock = process_time if arguments.cpu_time else perf_counter
    data = score_input(ratings=8, groups=arguments.groups)
    print(f"{data.space.n_features} features x {len(data.ratings)} ratings, {data.n_items} images", end="")
    print(f" in {arguments.groups} groups")
    for errors in ("independent", "clusters", "hc2"):
        start = clock()
        scorer = PearsonBH(LinearOptions(errors=errors), saeviz.Context())
        columns = list(scorer.score(data))
        list(scorer.combine(columns))
        print(f"{errors}: {clock() - start:.1f} s", flush=True)
    start = clock()
    floor(data, arguments.groups)
    print(f"floor of clusters: {clock() - start:.1f} s")


def floor(data: saeviz.ScoreInput, n_groups: int) -> None:
    """Sums of squares and products by group and feature, and p-values."""
    ratings = np.column_stack(list(data.ratings.values()))
    names = np.unique(np.array(data.groups), return_inverse=True)[1]
    features = data.features.matrix()
    for group in range(n_groups):
        own = np.flatnonzero(names == group)
        part: Any = features[own].astype(np.float64)
        part.T @ ratings[own]
        part.power(2).sum(axis=0)
    betainc(100.0, 0.5, np.random.default_rng(0).random((N_FEATURES, ratings.shape[1])))


if __name__ == "__main__":
    main()
