"""Scores from parts of 1,024 images: size of a state, and the share of the time that merging takes.

The baseline is what a part costs anyway: its sums. Also prints by how much scores differ if the images are divided at
random instead, and states merged in any order. 49,152 features, 8 ratings, of which two are by 12 raters.

    python benchmarks/merging.py [--images 20000]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from time import process_time
from typing import Any

import numpy as np
from scoring_memory import made_up

import saeviz
from saeviz.testing.merging import part_of
from saeviz.values.merging import MergeTree

SCORERS: dict[str, dict[str, Any]] = {
    "pearson-bh": {},
    "point-biserial": {},
    "partial": {"control": ["brightness", "kind"]},
    "raters": {"splits": 2},
    "redundancy": {},
}
N_RATERS = 12


def main() -> None:
    """Print a line for each scorer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    data = with_raters(made_up(parser.parse_args().images)[0])
    batch = saeviz.FeatureBatch(data.space, data.item_ids, data.features.matrix())
    data = replace(data, features=saeviz.FeatureStream(data.space, lambda: iter([batch])))
    data.features.statistics  # noqa: B018  every run has them anyway
    print(f"{data.space.n_features} features, {data.n_items} images")
    for name, options in SCORERS.items():
        measure(name, saeviz.component("scorer", name, **options), data)


def with_raters(data: saeviz.ScoreInput) -> saeviz.ScoreInput:
    """The same with individual ratings for two of the ratings: about half of the raters rate each image."""
    random = np.random.default_rng(0)
    individual = {}
    for name in list(data.ratings)[:2]:
        rows, raters = np.nonzero(random.random((data.n_items, N_RATERS)) < 0.5)
        given = data.ratings[name][rows] + random.normal(size=rows.size)
        names = tuple(f"rater {number}" for number in range(N_RATERS))
        individual[name] = saeviz.IndividualRatings(rows, raters, given, names)
    return replace(data, individual=individual)


def measure(name: str, scorer: Any, data: saeviz.ScoreInput) -> None:
    """Print what parts, merging and the end take, the size of a state, and the largest difference by division."""
    scores = scorer.in_parts(data)
    seconds = {"parts": 0.0, "merging": 0.0}

    def merge(one: Any, other: Any) -> Any:
        start = process_time()
        merged = scores.merge(one, other)
        seconds["merging"] += process_time() - start
        return merged

    tree, n_parts = MergeTree(merge), 0
    for number, part in enumerate(data.parts()):
        start = process_time()
        state = scores.partial(part)
        seconds["parts"] += process_time() - start
        tree.add(number, state)
        n_parts = number + 1
    start = process_time()
    expected = list(scores.finish(tree.result()))
    end = process_time() - start
    size = sum(array.nbytes for array in state.values()) / 2**20
    print(f"{name:15} a state {size:5.1f} MiB; a part {1000 * seconds['parts'] / n_parts:4.0f} ms", end="")
    print(f", merging {1000 * seconds['merging'] / (n_parts - 1):4.1f} ms", end="")
    print(f", ratio {seconds['merging'] / seconds['parts']:.2f}; the end {end:.1f} s", end="")
    print(f"; other divisions differ by {difference(scores, data, expected):.0e}", flush=True)


def difference(scores: Any, data: saeviz.ScoreInput, expected: list[Any]) -> float:
    """The largest difference of a score, relative where it is above 1, of two random divisions and orders."""
    largest = 0.0
    for seed in range(2):
        random = np.random.default_rng(seed)
        states = [scores.partial(part) for part in at_random(data, random)]
        while len(states) > 1:
            one, other = (states.pop(random.integers(len(states))) for _ in range(2))
            states.append(scores.merge(one, other))
        for found, column in zip(scores.finish(states[0]), expected, strict=True):
            if isinstance(column, saeviz.ScoreColumn):
                apart = np.abs(found.values - column.values) / np.maximum(np.abs(column.values), 1)
                largest = max(largest, float(np.nan_to_num(apart).max()))
    return largest


def at_random(data: saeviz.ScoreInput, random: np.random.Generator) -> Iterator[saeviz.ScoreInput]:
    """Parts of any size."""
    edges = np.unique([0, *random.integers(0, data.n_items, 9), data.n_items])
    for start, stop in pairwise(edges):
        yield part_of(data, slice(int(start), int(stop)))


if __name__ == "__main__":
    main()
