"""Extraction by several worker processes compared with the run's own process.

`clip-b32-prisma` with random weights: ViT-B-32, CLS of layer 7, 49,152 features, JPEG pictures of 640 x 480, the store
`npz`. Each measurement is a whole `saeviz run --until extract` over many pictures, minus one over few, so that starting
processes and loading models do not count. Both kinds of run alternate; printed are the medians, and the median of the
ratios within a round. Processor time is that of all processes together, which other work on the machine disturbs less.

    python benchmarks/workers.py [--few 128] [--many 512] [--rounds 3] [--workers 2]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from extraction import pictures, write_models

LAYER = 7
RUN_FILE = f"""
[run]
device = "cpu"
cache = false
[images]
path = "pictures"
[extractor]
clip_checkpoint = "clip"
layers = [{LAYER}]
saes = {{ {LAYER} = "{LAYER}" }}
[embeddings]
use = "none"
[[scorers]]
use = "pearson-bh"
"""


def measured(folder: Path, n_images: int, workers: int) -> tuple[float, float]:
    """Seconds of a run over the first images, by the clock and of all processors."""
    with tempfile.TemporaryDirectory() as out:
        settings = [f"executor.workers={workers}", "executor.shard_items=32"]
        command = [sys.executable, "-m", "saeviz", "run", folder / "run.toml", "--out", out, "--until", "extract"]
        command += ["--limit", n_images, "-q", *(word for one in settings for word in ("--set", one))]
        before, start = os.times(), time.perf_counter()
        subprocess.run(list(map(str, command)), check=True)
        seconds, after = time.perf_counter() - start, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, used


def main() -> None:
    """Print seconds an image, and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=128, help="images of a run that costs little but its start")
    parser.add_argument("--many", type=int, default=512, help="images of the other runs")
    parser.add_argument("--rounds", type=int, default=3, help="how often both are measured")
    parser.add_argument("--workers", type=int, default=2, help="worker processes")
    given = parser.parse_args()
    kinds = (1, given.workers)
    found: dict[int, list[tuple[float, float]]] = {n: [] for n in kinds}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_models(folder)
        (folder / "pictures").mkdir()
        for item in pictures(given.many)[1]:
            (folder / "pictures" / f"{int(item.item_id):05d}.jpg").write_bytes(item.read_bytes() or b"")
        (folder / "run.toml").write_text(RUN_FILE)
        for _ in range(given.rounds):
            for n in kinds:
                few, many = measured(folder, given.few, n), measured(folder, given.many, n)
                images = given.many - given.few
                found[n].append(((many[0] - few[0]) / images, (many[1] - few[1]) / images))
                print(
                    f"{n}: {found[n][-1][0]:.4f} seconds, {found[n][-1][1]:.4f} processor seconds an image", flush=True
                )
    for place, what in enumerate(("seconds", "processor seconds")):
        times = {n: [one[place] for one in found[n]] for n in kinds}
        for n in kinds:
            print(f"{'1 process' if n == 1 else f'{n} workers'}: {statistics.median(times[n]):.4f} {what} an image")
        ratios = [one / several for one, several in zip(times[1], times[given.workers], strict=True)]
        print(f"throughput by {what}: {statistics.median(ratios):.2f} of one process")


if __name__ == "__main__":
    main()
