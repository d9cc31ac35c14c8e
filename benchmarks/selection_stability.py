"""Selecting again by random halves of the images: seconds a half and peak memory, 49,152 features with 8 ratings.

Run it with `python benchmarks/selection_stability.py [HALVES]`. The floor is the scorer itself on half of the images.
Printed are also how many relations are significant on all images, on halves, and on bootstrap samples of the images,
and how stable the selected features are.

The features are made up, 800 active on each of 5,000 images; 20 of them, which fire on 30 % of the images, have to do
with a rating each, at r = .05 to .25.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from dataclasses import replace
from time import process_time
from typing import Any

import numpy as np
import pandas as pd
from arguments import how_many
from made_up import N_FEATURES, N_IMAGES, score_input
from scipy.sparse import csr_array, hstack

import saeviz
from saeviz.pipeline.relations import correlations_table, run_scorer

RATINGS, RELATED = 8, 20


def main(n_halves: int) -> None:
    """Print the figures."""
    data, matrix = made_up()
    table = as_table(data, correlations_of(data))
    selector: Any = saeviz.component("selector", "tiered")
    chosen = selector.select(table)
    before, n_found, again = peak_now(), [], np.zeros(len(chosen))
    scoring = selecting = 0.0
    random = np.random.default_rng(0)
    for _ in range(n_halves):
        rows = np.sort(random.permutation(N_IMAGES)[: N_IMAGES // 2])
        start = process_time()
        correlations = correlations_of(part_of(data, matrix, rows))
        scoring += process_time() - start
        n_found.append(significant(correlations))
        start = process_time()
        found = {one.feature for one in selector.select(replace(table, correlations=correlations))}
        selecting += process_time() - start
        again += [one.feature in found for one in chosen]
    drawn = [part_of(data, matrix, np.sort(random.integers(N_IMAGES, size=N_IMAGES))) for _ in range(2)]
    seconds = (scoring + selecting) / n_halves
    related = np.array([one.feature.index < RELATED for one in chosen])
    print(
        f"{N_FEATURES} features x {RATINGS} ratings, {N_IMAGES} images, {n_halves} halves: {seconds:.2f} s a half, of "
        f"which {selecting / n_halves:.2f} s to select (ratio to the scorer alone "
        f"{(scoring + selecting) / scoring:.2f}); peak {peak_now():.0f} MiB ({before:.0f} before)"
    )
    print(
        f"significant: {significant(table.correlations)} on all images, {np.mean(n_found):.0f} on halves, "
        f"{np.mean([significant(correlations_of(one)) for one in drawn]):.0f} on bootstrap samples; stability of "
        f"{related.sum()} related features {(again[related] / n_halves).mean():.2f}, of {(~related).sum()} others "
        f"{(again[~related] / n_halves).mean():.2f}"
    )


def made_up() -> tuple[saeviz.ScoreInput, csr_array]:
    """Features and ratings, and all features as a matrix."""
    data, random = score_input(), np.random.default_rng(1)
    strong = random.exponential(size=(N_IMAGES, RELATED)) * (random.random((N_IMAGES, RELATED)) < 0.3)
    matrix = csr_array(hstack([csr_array(strong.astype(np.float32)), data.features.matrix()[:, RELATED:]]))
    wanted = np.linspace(0.05, 0.25, RELATED)
    scaled = (strong - strong.mean(axis=0)) / strong.std(axis=0)
    ratings = {}
    for place in range(RATINGS):
        own = slice(place, RELATED, RATINGS)
        ratings[f"rating {place}"] = scaled[:, own] @ wanted[own] + random.normal(size=N_IMAGES)
    return part_of(replace(data, ratings=ratings), matrix, np.arange(N_IMAGES)), matrix


def part_of(data: saeviz.ScoreInput, matrix: csr_array, rows: np.ndarray) -> saeviz.ScoreInput:
    """Some images, which may be several times the same."""
    ids, own = tuple(f"image {number}" for number in range(rows.size)), matrix[rows]

    def read() -> Iterator[saeviz.FeatureBatch]:
        for start in range(0, rows.size, 128):
            batch = slice(start, start + 128)
            yield saeviz.FeatureBatch(data.space, ids[batch], own[batch])

    ratings = {name: values[rows] for name, values in data.ratings.items()}
    return saeviz.ScoreInput(data.space, ids, saeviz.FeatureStream(data.space, read), None, ratings)


def correlations_of(data: saeviz.ScoreInput) -> pd.DataFrame:
    """What the scorer makes of it."""
    results = run_scorer(saeviz.component("scorer", "pearson-bh"), [data])
    columns = [one for one in results if isinstance(one, saeviz.ScoreColumn)]
    return correlations_table([data.space], columns, list(data.ratings))


def as_table(data: saeviz.ScoreInput, correlations: pd.DataFrame) -> saeviz.ScoreTable:
    """All that the selector sees; monosemanticity is noise."""
    statistics = data.features.statistics
    scores = correlations[saeviz.KEYS].head(N_FEATURES)
    scores = scores.assign(n_active=statistics.n_active, max=statistics.maximum)
    scores["monosemanticity"] = np.random.default_rng(1).normal(0.25, 0.02, N_FEATURES)
    return saeviz.ScoreTable(scores, correlations, (data.space,), {})


def significant(correlations: pd.DataFrame) -> int:
    """How many relations are."""
    return int((correlations["significant"] == 1).sum())


def peak_now() -> float:
    """MiB of the largest resident set so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(how_many(__doc__, 20))
