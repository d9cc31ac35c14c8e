"""A map of features from their activations: seconds against the sparse products that it cannot do without.

    python benchmarks/map.py [--spaces 3] [--images 10000] [--method pacmap]

Features are noisy copies of 300 concepts, so that there are components to find.
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Iterator
from time import perf_counter, process_time

import numpy as np
from made_up import N_ACTIVE, N_FEATURES
from scipy.sparse import csr_array

import saeviz

N_CONCEPTS = 300
BATCH_SIZE = 128


def main() -> None:
    """Print seconds, the floor, memory and whether concepts are together on the map."""
    from saeviz_map import MapOptions
    from saeviz_map.coactivation import POWERS, SPARE
    from saeviz_map.scorer import DIMENSIONS, FeatureMap

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spaces", type=int, default=1)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--method", choices=("pca", "pacmap"), default="pca")
    arguments = parser.parse_args()
    inputs = [made_up(number, arguments.images) for number in range(arguments.spaces)]
    for data in inputs:
        data.features.statistics  # noqa: B018  every run has them anyway
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    scorer = FeatureMap(MapOptions(method=arguments.method), saeviz.Context())
    start, busy = perf_counter(), process_time()
    for data in inputs:
        scorer.score(data)
    results = list(scorer.combine([]))
    seconds, busy = perf_counter() - start, process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    facts = {result.name: result.value for result in results if isinstance(result, saeviz.ScoreFact)}
    width = SPARE + (2 if arguments.method == "pca" else DIMENSIONS)
    floor = (2 * POWERS + 1) * sum(one_product(data, width) for data in inputs)
    print(f"{arguments.spaces} x {N_FEATURES} features, {arguments.images} images: {facts}")
    print(f"{seconds:.1f} s, processor {busy:.1f} s, peak {peak:.0f} MiB, {before:.0f} before")
    print(f"floor: {2 * POWERS + 1} products with {width} columns, {floor:.1f} s; ratio {busy / floor:.2f}")


def made_up(number: int, n_images: int) -> saeviz.ScoreInput:
    """Features that fire with their concept or by chance; the batches are made once."""
    space = saeviz.FeatureSpace(number, "cls", N_FEATURES)
    ids = tuple(f"image {image}" for image in range(n_images))
    concept = np.random.default_rng(number).integers(0, N_CONCEPTS, N_FEATURES)
    members = [np.flatnonzero(concept == one) for one in range(N_CONCEPTS)]
    batches = []
    for start in range(0, n_images, BATCH_SIZE):
        part = ids[start : start + BATCH_SIZE]
        random = np.random.default_rng([number, start])
        batches.append(saeviz.FeatureBatch(space, part, csr_array(_rows(random, len(part), members), dtype=np.float32)))

    def read() -> Iterator[saeviz.FeatureBatch]:
        return iter(batches)

    return saeviz.ScoreInput(space, ids, saeviz.FeatureStream(space, read), None, {})


def _rows(random: np.random.Generator, n_images: int, members: list[np.ndarray]) -> csr_array:
    """Half of the active features of an image from its three concepts, half by chance."""
    columns, values, ends = [], [], [0]
    for _ in range(n_images):
        shown = np.concatenate([members[one] for one in random.choice(N_CONCEPTS, 3, replace=False)])
        shown = random.choice(shown, min(N_ACTIVE // 2, shown.size), replace=False)
        own = np.unique(np.concatenate([shown, random.choice(N_FEATURES, N_ACTIVE // 2, replace=False)]))
        columns.append(own)
        values.append(random.exponential(size=own.size))
        ends.append(ends[-1] + own.size)
    return csr_array((np.concatenate(values), np.concatenate(columns), ends), shape=(n_images, N_FEATURES))


def one_product(data: saeviz.ScoreInput, width: int) -> float:
    """Processor seconds of one pass in which all activations are multiplied with `width` columns of float64."""
    vectors = np.random.default_rng(0).normal(size=(data.space.n_features, width))
    start = process_time()
    for batch in data.features.batches():
        batch.matrix @ vectors
    return process_time() - start


if __name__ == "__main__":
    main()
