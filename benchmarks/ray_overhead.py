"""Workers of the executor `ray` compared with those of `local`, on this machine, by runs with the fake extractor.

Shards of 1,000 images, each of which takes some milliseconds. Each measurement is a whole `saeviz run --until extract`
over many images, minus one over few, so that starting Ray and the workers does not count. Both alternate; printed are
the medians, and the median of the ratios within a round.

    python benchmarks/ray_overhead.py [--seconds 0.01] [--few 2000] [--many 6000] [--rounds 3] [--workers 2]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUN_FILE = """
[run]
cache = false
[images]
use = "fake-images"
[extractor]
use = "fake-extractor"
[embeddings]
use = "none"
[[scorers]]
use = "pearson-bh"
[executor]
shard_items = 1000
[plugins]
use = ["module:saeviz.testing.fakes"]
"""


def seconds(run_file: Path, n_images: int, executor: str, given: argparse.Namespace) -> float:
    """The duration of a run."""
    settings = [
        f"images.n={n_images}",
        f"extractor.seconds_per_item={given.seconds}",
        f"executor.use={executor}",
        f"executor.workers={given.workers}",
    ]
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "saeviz", "run", str(run_file), "--out", out, "--until", "extract", "-q"]
        start = time.perf_counter()
        command += [word for one in settings for word in ("--set", one)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)  # warnings about the made-up images
        return time.perf_counter() - start


def main() -> None:
    """Print seconds an image, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.01, help="seconds that the extractor takes for an image")
    parser.add_argument("--few", type=int, default=2000, help="images of a run that costs little but its start")
    parser.add_argument("--many", type=int, default=6000, help="images of the other runs")
    parser.add_argument("--rounds", type=int, default=3, help="how often both are measured")
    parser.add_argument("--workers", type=int, default=2, help="workers")
    given = parser.parse_args()
    found: dict[str, list[float]] = {"local": [], "ray": []}
    with tempfile.TemporaryDirectory() as folder:
        run_file = Path(folder) / "run.toml"
        run_file.write_text(RUN_FILE)
        for _ in range(given.rounds):
            for executor, times in found.items():
                few, many = (seconds(run_file, n, executor, given) for n in (given.few, given.many))
                times.append((many - few) / (given.many - given.few))
    for executor, times in found.items():
        print(f"{executor}: {1000 * statistics.median(times):.2f} ms an image")
    ratios = [ray / local for local, ray in zip(found["local"], found["ray"], strict=True)]
    print(f"ray takes {statistics.median(ratios):.3f} times as long as local")


if __name__ == "__main__":
    main()
