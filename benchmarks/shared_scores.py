"""The stage `score` by several worker processes compared with the run's own process.

Made-up features in a store `npz`: 49,152, of which 800 are active on each image, and 8 ratings. Each measurement is a
whole `saeviz run --from score --until score`, with the start of its processes. Both kinds of run alternate; printed are
the medians, and the median of the ratios within a round. Processor time is that of all processes together, which other
work on the machine disturbs less.

    python benchmarks/shared_scores.py [--images 40000] [--rounds 3] [--workers 2] [--scorers ...]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

import saeviz

SPACE = saeviz.FeatureSpace(11, "cls", 49_152)
N_ACTIVE = 800
BATCH = 1024
RUN_FILE = """
[run]
cache = false
[plugins]
use = ["module:shared_scores"]
[images]
use = "made-up"
[extractor]
use = "made-up"
[embeddings]
use = "none"
"""
OPTIONS = {"partial": 'controls = ["rating 7"]'}


class ImagesOptions(saeviz.Options):
    """The number of images."""

    n: int = 0


class Images:
    """Images without pictures."""

    def __init__(self, options: ImagesOptions, _context: saeviz.Context) -> None:
        self.n = options.n

    def iter_images(self, *, limit: int | None = None) -> Iterator[saeviz.ImageItem]:
        """The first of them."""
        values = np.random.default_rng(0).normal(size=(self.n, 8))
        for number, row in enumerate(values[:limit].tolist()):
            ratings = {f"rating {place}": value for place, value in enumerate(row)}
            yield saeviz.ImageItem(f"image {number}", str(number).encode(), ratings=ratings)

    def get_image(self, _item_id: str) -> saeviz.ImageItem | None:
        """None is needed."""
        return None


class Extractor:
    """Features by chance."""

    spaces = (SPACE,)

    def __init__(self, _options: saeviz.Options, _context: saeviz.Context) -> None:
        self.random = np.random.default_rng(0)

    def extract(self, items: Iterable[saeviz.ImageItem]) -> Iterator[saeviz.FeatureBatch]:
        """In batches."""
        ids = [item.item_id for item in items]
        for start in range(0, len(ids), BATCH):
            some = tuple(ids[start : start + BATCH])
            gaps = self.random.integers(1, SPACE.n_features // N_ACTIVE, (len(some), N_ACTIVE))
            values = self.random.random(gaps.size, dtype=np.float32) + np.float32(0.01)
            starts = np.arange(len(some) + 1) * N_ACTIVE
            matrix = csr_array((values, np.cumsum(gaps, axis=1).ravel(), starts), shape=(len(some), SPACE.n_features))
            yield saeviz.FeatureBatch(SPACE, some, matrix)


@saeviz.hookimpl
def saeviz_image_providers() -> Iterator[saeviz.ImageProviderSpec]:
    """The images."""
    yield saeviz.ImageProviderSpec(name="made-up", summary="images", options=ImagesOptions, factory=Images)


@saeviz.hookimpl
def saeviz_feature_extractors() -> Iterator[saeviz.FeatureExtractorSpec]:
    """The features."""
    yield saeviz.FeatureExtractorSpec(name="made-up", summary="features", options=saeviz.Options, factory=Extractor)


def measured(folder: Path, *arguments: Any) -> tuple[float, float]:
    """Seconds of a run, by the clock and of all processors."""
    command = [sys.executable, "-m", "saeviz", "run", folder / "run.toml", "--out", folder / "out", "-q", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    before, start = os.times(), time.perf_counter()
    subprocess.run(list(map(str, command)), check=True, env=environment)
    seconds, after = time.perf_counter() - start, os.times()
    return seconds, after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    """Print seconds of a run, and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=3, help="how often both are measured")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scorers", nargs="+", default=["pearson-bh", "point-biserial", "partial"])
    given = parser.parse_args()
    found: dict[int, list[tuple[float, float]]] = {1: [], given.workers: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scorers = [f'[[scorers]]\nuse = "{use}"\n{OPTIONS.get(use, "")}\n' for use in given.scorers]
        images = f"[images]\nn = {given.images}"
        (folder / "run.toml").write_text(RUN_FILE.replace("[images]", images) + "".join(scorers))
        measured(folder, "--until", "embed")
        for _ in range(given.rounds):
            for workers, seconds in found.items():
                words = ["--from", "score", "--until", "score", "--redo", "score"]
                seconds.append(measured(folder, *words, "--set", f"executor.workers={workers}"))
    for place, what in enumerate(("by the clock", "of processors")):
        one, several = ([seconds[place] for seconds in found[workers]] for workers in found)
        ratio = statistics.median(alone / shared for alone, shared in zip(one, several, strict=True))
        medians = (
            f"{statistics.median(one):.1f} s by one process, {statistics.median(several):.1f} s by {given.workers}"
        )
        print(f"{what}: {medians} workers; ratio {ratio:.2f}", flush=True)


if __name__ == "__main__":
    main()
