"""Clusters of features that fire together, against the correlations of all pairs from a dense product.

Run it with `python benchmarks/redundancy.py`. 2,000 features are noisy copies of others. The dense product is that of
centred float32 columns in blocks; it is timed on some of them and extrapolated to all pairs.

    python benchmarks/redundancy.py [--spaces 3] [--images 100000]
    python benchmarks/redundancy.py --dense 512    two spaces, all features fire everywhere
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Iterator
from time import perf_counter, process_time

import numpy as np
from made_up import N_FEATURES, N_IMAGES, score_input
from scipy.sparse import csr_array, hstack

import saeviz

N_COPIES = 2000
DENSE_FEATURES = 4096


def main() -> None:
    """Print seconds, their ratio and how many of the copies were found."""
    from saeviz_redundancy import RedundancyOptions
    from saeviz_redundancy.scorer import Redundancy

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spaces", type=int, default=1, help="number of layers, with different features")
    parser.add_argument("--images", type=int, default=N_IMAGES, help="the same pictures come again, as other items")
    parser.add_argument(
        "--dense", type=int, default=0, help="instead, use two spaces of this many dense, correlated features"
    )
    arguments = parser.parse_args()
    if arguments.dense:
        dense_and_correlated(arguments.dense, arguments.images)
        return
    batches = list(score_input().features.batches())
    inputs = [with_copies(batches, number, arguments.images) for number in range(arguments.spaces)]
    for data in inputs:
        data.features.statistics  # noqa: B018  every run has them anyway
    scorer = Redundancy(RedundancyOptions(), saeviz.Context())

    start, busy = perf_counter(), process_time()
    for data in inputs:
        scorer.score(data)
    sketched = perf_counter()
    results = list(scorer.combine([]))
    seconds, busy = perf_counter() - start, process_time() - busy

    clusters = [result.values for result in results if getattr(result, "name", "") == "cluster"]
    found = [(cluster[:N_COPIES] == cluster[-N_COPIES:]).mean() for cluster in clusters]
    facts = {result.name: result.value for result in results if isinstance(result, saeviz.ScoreFact)}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{arguments.spaces} x {N_FEATURES} features, {arguments.images} images")
    print(f"sketch {sketched - start:.1f} s, together {seconds:.1f} s, processor {busy:.1f} s, peak {peak:.0f} MiB")
    print(
        f"{facts['redundancy_clusters']} clusters; of the copies found: {', '.join(f'{share:.2%}' for share in found)}"
    )
    if arguments.images == N_IMAGES:
        baseline = dense_product(inputs[0], arguments.spaces * N_FEATURES)
        print(f"dense product of all pairs: {baseline:.0f} s, extrapolated from {DENSE_FEATURES} features")
        print(f"ratio: {baseline / busy:.0f}")


def dense_and_correlated(n_features: int, n_images: int) -> None:
    """Print seconds and memory if every pair correlates just too little to share a cluster."""
    from saeviz_redundancy import RedundancyOptions
    from saeviz_redundancy.scorer import Redundancy

    scorer = Redundancy(RedundancyOptions(), saeviz.Context())
    start = perf_counter()
    for number in (1, 2):
        scorer.score(dense_input(saeviz.FeatureSpace(number, "cls", n_features), n_images))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    list(scorer.combine([]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"2 x {n_features} dense features, {n_images} images: {perf_counter() - start:.1f} s")
    print(f"peak {peak:.0f} MiB, {before:.0f} before pairs were compared")


def dense_input(space: saeviz.FeatureSpace, n_images: int) -> saeviz.ScoreInput:
    """Features that fire on all images and correlate by .76."""
    ids = tuple(f"image {image}" for image in range(n_images))

    def read() -> Iterator[saeviz.FeatureBatch]:
        for start in range(0, n_images, 1024):
            part = ids[start : start + 1024]
            common = np.random.default_rng([0, start]).normal(size=(len(part), 1))
            own = np.random.default_rng([space.layer, start]).normal(size=(len(part), space.n_features))
            yield saeviz.FeatureBatch(space, part, csr_array(np.abs(5 + 1.75 * common + own)))

    return saeviz.ScoreInput(space, ids, saeviz.FeatureStream(space, read), None, {})


def with_copies(batches: list[saeviz.FeatureBatch], number: int, n_images: int) -> saeviz.ScoreInput:
    """Other features per space; the last 2,000 are copies of the first."""
    space = saeviz.FeatureSpace(number, "cls", N_FEATURES)
    ids = tuple(f"image {image}" for image in range(n_images))
    matrices = [plant(np.random.default_rng([number, place]), batch.matrix) for place, batch in enumerate(batches)]

    def read() -> Iterator[saeviz.FeatureBatch]:
        start, place = 0, 0
        while start < n_images:
            matrix = matrices[place % len(matrices)][: n_images - start]
            yield saeviz.FeatureBatch(space, ids[start : start + matrix.shape[0]], matrix)
            start, place = start + matrix.shape[0], place + 1

    return saeviz.ScoreInput(space, ids, saeviz.FeatureStream(space, read), None, {})


def plant(random: np.random.Generator, matrix: csr_array) -> csr_array:
    """Other features on the same images, and the copies: twice the activation, with noise."""
    shuffled = csr_array(
        (matrix.data.copy(), random.permutation(N_FEATURES)[matrix.indices], matrix.indptr), shape=matrix.shape
    )
    shuffled.sort_indices()
    copies = 2 * shuffled[:, :N_COPIES]
    copies.data *= random.uniform(0.8, 1.2, copies.data.size)
    return csr_array(hstack([shuffled[:, :-N_COPIES], copies], format="csr"), dtype=np.float32)


def dense_product(data: saeviz.ScoreInput, n_features: int) -> float:
    """Processor seconds of the float32 product of all pairs of `n_features` centred columns, and a look at each."""
    dense = data.features.matrix()[:, :DENSE_FEATURES].toarray()
    dense -= dense.mean(axis=0)
    dense /= np.maximum(np.linalg.norm(dense, axis=0), 1e-9)
    columns = np.ascontiguousarray(dense.T)
    start = process_time()
    for block in np.split(columns, 2):
        np.count_nonzero(block @ columns.T >= 0.8)
    return (process_time() - start) * (n_features / DENSE_FEATURES) ** 2 / 2


if __name__ == "__main__":
    main()
