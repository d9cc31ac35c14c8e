"""Peak memory and seconds of scoring a space of 49,152 features, 800 active, over 10,000 and over 100,000 images.

The features are generated whenever the stream is read, so that nothing is stored; the time for that is printed
separately. Each scorer is a process of its own.

    python benchmarks/scoring_memory.py [--images 10000 100000] [--scorers pearson-bh spearman ...]
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from collections.abc import Iterator
from time import perf_counter, process_time
from typing import Any

import numpy as np
from scipy.sparse import csr_array

import saeviz

N_FEATURES, N_ACTIVE, N_RATINGS, BATCH = 49_152, 800, 8, 128
SPACE = saeviz.FeatureSpace(11, "cls", N_FEATURES)
SCORERS: dict[str, tuple[str, dict[str, Any]]] = {
    "pearson-bh": ("pearson-bh", {}),
    "pearson-bh, split": ("pearson-bh", {"split": 0.5}),
    "point-biserial": ("point-biserial", {}),
    "partial": ("partial", {"control": ["brightness", "kind"]}),
    "spearman": ("spearman", {}),
    "pearson-bh, max-t": ("pearson-bh", {"correction": "max-t", "permutations": 100}),
    "spearman, max-t": ("spearman", {"correction": "max-t", "permutations": 100}),
}


def made_up(n_images: int) -> tuple[saeviz.ScoreInput, list[int]]:
    """Ratings, metadata and a stream that makes its batches up, the same each time; a list that grows with each."""
    generator = np.random.default_rng(0)
    ids = tuple(f"image {number}" for number in range(n_images))
    ratings = {f"rating {number}": generator.normal(size=n_images) for number in range(N_RATINGS)}
    metadata = {
        "brightness": [f"{value:.3f}" for value in generator.random(n_images)],
        "kind": generator.choice(["animal", "object", "person", "scene"], n_images).tolist(),
    }
    gaps = generator.integers(1, 2 * N_FEATURES // N_ACTIVE - 1, (64, N_ACTIVE))
    columns = np.minimum(np.cumsum(gaps, axis=1), N_FEATURES - N_ACTIVE) + np.arange(N_ACTIVE)

    reads: list[int] = []

    def read() -> Iterator[saeviz.FeatureBatch]:
        reads.append(n_images)
        for start in range(0, n_images, BATCH):
            n = min(BATCH, n_images - start)
            values = np.random.default_rng(start).random((n, N_ACTIVE), dtype=np.float32) + np.float32(0.01)
            shift = np.random.default_rng([start, 1]).integers(0, N_FEATURES, n)
            chosen = np.sort((columns[(start + np.arange(n)) % 64] + shift[:, None]) % N_FEATURES, axis=1)
            indptr = np.arange(0, n * N_ACTIVE + 1, N_ACTIVE)
            matrix = csr_array((values.ravel(), chosen.ravel(), indptr), shape=(n, N_FEATURES))
            yield saeviz.FeatureBatch(SPACE, ids[start : start + n], matrix)

    features = saeviz.FeatureStream(SPACE, read)
    return saeviz.ScoreInput(SPACE, ids, features, None, ratings, metadata=metadata), reads


def measure(name: str, n_images: int) -> None:
    """Print seconds and processor seconds of a scorer, how often it read, processor seconds of that, and peak MiB."""
    score(name, made_up(200)[0])  # imports what it needs
    data, reads = made_up(n_images)
    start, start_cpu = perf_counter(), process_time()
    score(name, data)
    seconds, cpu, passes = perf_counter() - start, process_time() - start_cpu, len(reads)
    start = process_time()
    for _ in data.features.batches():
        pass
    reading = process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{seconds} {cpu} {passes} {reading} {peak}")


def score(name: str, data: saeviz.ScoreInput) -> None:
    """As a run does."""
    use, options = SCORERS[name]
    scorer = saeviz.component("scorer", use, **options)
    for _ in scorer.combine(list(scorer.score(data))):
        pass


def main() -> None:
    """Print a line per scorer and number of images, and how both figures grow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--scorers", nargs="+", choices=SCORERS, default=list(SCORERS))
    parser.add_argument("--one", nargs=2, metavar=("SCORER", "IMAGES"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        measure(arguments.one[0], int(arguments.one[1]))
        return
    for name in arguments.scorers:
        for n_images in arguments.images:
            command = [sys.executable, __file__, "--one", name, str(n_images)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            seconds, cpu, passes, reading, peak = map(float, done.stdout.split())
            rest = cpu - passes * reading
            per_value = 1e9 * rest / n_images / N_ACTIVE
            print(f"{name:18} {n_images:8,} images: {seconds:6.1f} s, {cpu:6.1f} of processor time", end="")
            print(f", of these {passes:.0f} x {reading:.1f} of reading", end="")
            print(f"; the rest {per_value:5.0f} ns a value; peak {peak:5.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
