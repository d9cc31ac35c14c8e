"""Time and peak memory of every stage of a whole run, by number of images and of workers.

Drawn pictures, the fake extractor (32 features) and fake embeddings, the store `npz`, `pearson-bh`, `partial` and
`monosemanticity`, the selector `tiered` and the report: what is measured is saeviz itself, not a model. Every stage is
a process of its own; peak memory is that of the largest process, the run's own or a worker. The last line of each size
has the ratio of the time of one process to that of the workers.

    python benchmarks/large_run.py [--images 10000 100000] [--workers 2] [--stages extract embed score select report]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fake_run import RUN_FILE

STAGES = ("extract", "embed", "score", "select", "report")


def measured(stage: str, folder: Path, n_images: int, workers: int) -> tuple[float, float]:
    """Seconds and MiB of a stage."""
    settings = ["images.use=fake-images", f"images.n={n_images}", f"executor.workers={workers}"]
    command = [sys.executable, "-m", "saeviz", "run", "run.toml", "--out", f"{n_images}-{workers}", "-q"]
    command += ["--from", stage, "--until", stage]
    command += [word for one in settings for word in ("--set", one)]
    start = time.perf_counter()
    with (folder / f"{n_images}-{workers}.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, stderr=log, stdout=log)
        _, status, used = os.wait4(process.pid, 0)  # with all processes that it has waited for
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 4):
        raise SystemExit((folder / f"{n_images}-{workers}.log").read_text()[-2000:])
    return time.perf_counter() - start, used.ru_maxrss / 1024


def main() -> None:
    """Print a table for each number of images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 100_000], help="numbers of images")
    parser.add_argument("--workers", type=int, default=2, help="workers that are compared with one process")
    parser.add_argument("--stages", nargs="+", default=STAGES, choices=STAGES, help="the stages, in their order")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "run.toml").write_text(RUN_FILE)
        for n_images in given.images:
            total = {1: 0.0, given.workers: 0.0}
            for stage in given.stages:
                cells = []
                for workers in total:
                    seconds, mebibytes = measured(stage, folder, n_images, workers)
                    total[workers] += seconds
                    cells.append(f"{seconds:8.1f} s {mebibytes:7.0f} MiB")
                print(f"{n_images:>9,} {stage:8}" + "   ".join(cells), flush=True)
            print(f"{n_images:>9,} images: 1 process takes {total[1] / total[given.workers]:.2f} times as long")


if __name__ == "__main__":
    main()
