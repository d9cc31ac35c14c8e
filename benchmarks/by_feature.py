"""Blocks of features: what the copy by feature takes, and what `monosemanticity` over all images and `moderation` do.

Each number of images is measured in a process of its own, of which the peak is that of the whole process. Embeddings
are mapped from a file. Processor time, which other work on the machine hardly changes. The baseline of the copy is a
single file per space in which the images of a feature are sorted, as `saeviz serve` makes it, by image as well.
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
from scipy.sparse import csr_array, random_array

import saeviz
from saeviz.formats.by_feature import write_by_feature
from saeviz.formats.feature_parts import FeatureParts, write_feature_part
from saeviz.formats.mapped import MappedArrays

VALUES, ACTIVE, N_FEATURES, DIM, AT_ONCE = 1 << 23, 800, 49_152, 768, 4096
SPACE = saeviz.FeatureSpace(11, "cls", N_FEATURES)
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
    return saeviz.ScoreInput(SPACE, ids, saeviz.FeatureStream(SPACE, lambda: iter(())), arrays["embeddings"], ratings)


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


def made_batch(start: int) -> saeviz.FeatureBatch:
    """Some images, each with features of which a few may be the same."""
    random = np.random.default_rng(start)
    features = np.sort(random.integers(0, N_FEATURES, (1024, ACTIVE)), axis=1).astype(np.int32).ravel()
    values, bounds = random.random(1024 * ACTIVE, dtype=np.float32) + 0.1, np.arange(1025, dtype=np.int32) * ACTIVE
    matrix = csr_array((values, features, bounds), shape=(1024, N_FEATURES))
    matrix.sum_duplicates()
    return saeviz.FeatureBatch(SPACE, tuple(str(start + number) for number in range(1024)), matrix)


def measure_copy(n_files: int) -> None:
    """Print what it takes to copy features and to read them in blocks, and the ratio to the baseline."""
    made = [[made_batch(start + 1024 * place) for place in range(8)] for start in range(0, 8192 * n_files, 8192)]
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        paths = [Path(folder) / str(number) for number in range(n_files)]
        for number, (path, batches) in enumerate(zip(paths, made, strict=True)):
            write_feature_part(path, SPACE.stack([batch.matrix for batch in batches]), 8192 * number)
        copied = time.process_time() - start
        parts = FeatureParts(paths, N_FEATURES, 8192 * n_files)
        n_blocks = sum(1 for _ in map(parts.block, parts.blocks(VALUES)))
        read = time.process_time() - start - copied
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        write_by_feature(Path(folder), [(SPACE, (batch for batches in made for batch in batches))])
        baseline = time.process_time() - start
    print(
        f"copy by feature of {8192 * n_files:,} images: {copied:.1f} s, {copied / baseline:.2f} of the baseline's "
        f"{baseline:.1f}; read in {n_blocks} blocks: {read:.1f} s"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[100_000, 200_000])
    parser.add_argument("--scorers", nargs="*", default=list(SCORERS), choices=list(SCORERS))
    parser.add_argument("--copied", type=int, default=7, help="files of 8,192 images that are copied")
    given = parser.parse_args()
    measure_copy(given.copied)
    for name in given.scorers:
        for n_items in given.images:
            process = multiprocessing.get_context("spawn").Process(target=measure, args=(name, n_items))
            process.start()
            process.join()
