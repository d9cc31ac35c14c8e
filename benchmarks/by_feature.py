"""Blocks of features in a worker: what `monosemanticity` over all images and `moderation` take, and how much memory.

Each number of images is measured in a process of its own, of which the peak is that of the whole process. Embeddings
are mapped from a file. Processor time, which other work on the machine hardly changes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import random_array

import saeviz
from saeviz.formats.mapped import MappedArrays

VALUES, ACTIVE, N_FEATURES, DIM, AT_ONCE = 1 << 23, 800, 49_152, 768, 4096
SCORERS: dict[str, dict[str, Any]] = {
    "monosemanticity": {"definition": "global"},
    "moderation": {"moderators": ["kind"], "ratings": ["liking"]},
}


def made_input(n_items: int, folder: Path) -> saeviz.ScoreInput:
    """Images without features, with embeddings in a file."""
    random, arrays = np.random.default_rng(0), MappedArrays(folder)
    with arrays.rows("embeddings", (n_items, DIM), np.dtype(np.float32)) as put:
        for start in range(0, n_items, AT_ONCE):
            put(start, random.normal(size=(min(AT_ONCE, n_items - start), DIM)).astype(np.float32))
    ids = saeviz.Texts.of(f"image {number:08d}" for number in range(n_items))
    ratings = {"liking": random.normal(size=n_items), "kind": random.integers(0, 2, n_items).astype(float)}
    space = saeviz.FeatureSpace(11, "cls", N_FEATURES)
    return saeviz.ScoreInput(space, ids, saeviz.FeatureStream(space, lambda: iter(())), arrays["embeddings"], ratings)


def measure(name: str, n_items: int) -> None:
    """Print what a block takes, after a first one of one feature, which looks at all embeddings once."""
    n_features = max(1, VALUES // max(1, n_items * ACTIVE // N_FEATURES))
    with tempfile.TemporaryDirectory() as folder:
        data = made_input(n_items, Path(folder))
        scores = saeviz.component("scorer", name, **SCORERS[name]).in_blocks(data)
        values = random_array((n_features, n_items), density=ACTIVE / N_FEATURES, format="csr", dtype=np.float32, rng=0)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        scores.block(slice(0, 1), values[:1])
        start = time.process_time()
        state = scores.block(slice(0, n_features), values)
        seconds = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = sum(array.nbytes for array in state.values()) / 2**20
    n_blocks = -(-N_FEATURES // n_features)
    print(
        f"{name}, {n_items:,} images: {n_features:,} features with {values.nnz / 1e6:.1f} million values: "
        f"{seconds:.1f} s, {size:.2f} MiB of results, {n_blocks} blocks; peak {peak:.0f} MiB, {before:.0f} before"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[100_000, 200_000])
    parser.add_argument("--scorers", nargs="+", default=list(SCORERS), choices=list(SCORERS))
    given = parser.parse_args()
    for name in given.scorers:
        for n_items in given.images:
            process = multiprocessing.get_context("spawn").Process(target=measure, args=(name, n_items))
            process.start()
            process.join()
