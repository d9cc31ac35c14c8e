"""Peak memory of extraction, over 1,000 and over 20,000 images, and of a run that is up to date.

Each run is a process of its own: the stage `extract` of a whole run over images that are decoded, into 49,152 features
of which about 800 fire on an image, into the store `npz`. The features are made up and cost little; everything else is
the real thing. The second number is that of `saeviz run` over the finished directory.

    python benchmarks/extraction_memory.py [--images 1000 20000]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

import saeviz
from saeviz.toolkit.decode import decode_ahead
from saeviz.toolkit.images import to_rgb

N_FEATURES, N_ACTIVE, BATCH = 49_152, 800, 32
SPACE = saeviz.FeatureSpace(11, "cls", N_FEATURES)
RUN_FILE = """
[run]
dir = "run"
[images]
path = "pictures"
[extractor]
use = "made-up"
[embeddings]
use = "none"
[labeler]
use = "none"
[plugins]
use = ["{plugin}"]
"""


class MadeUp:
    """Features derived from the picture's mean colour; every picture is decoded."""

    spaces = (SPACE,)

    def __init__(self, _options: saeviz.Options, context: saeviz.Context) -> None:
        self.context = context

    def extract(self, items: Iterable[saeviz.ImageItem]) -> Iterator[saeviz.FeatureBatch]:
        """A batch per 32 pictures."""
        for chunk, pictures in decode_ahead(items, _pixels, batch_size=BATCH, context=self.context):
            generator = np.random.default_rng(int(np.sum(pictures)) % 2**32)
            n = len(chunk) * N_ACTIVE
            features = generator.integers(N_FEATURES, size=n)
            rows = np.repeat(np.arange(len(chunk)), N_ACTIVE)
            values = generator.exponential(size=n).astype(np.float32)
            matrix = csr_array((values, (rows, features)), shape=(len(chunk), N_FEATURES))
            yield saeviz.FeatureBatch(SPACE, tuple(item.item_id for item in chunk), matrix)


def _pixels(item: saeviz.ImageItem) -> np.ndarray:
    return np.asarray(to_rgb(item.open()).resize((224, 224)), dtype=np.float32)


@saeviz.hookimpl
def saeviz_feature_extractors() -> Iterator[saeviz.FeatureExtractorSpec]:
    """`made-up`."""
    yield saeviz.FeatureExtractorSpec(name="made-up", summary="made-up features, for a benchmark", factory=MadeUp)


def draw(folder: Path, n: int) -> None:
    """`n` small pictures, each with a colour of its own."""
    from PIL import Image

    folder.mkdir(parents=True)
    for number in range(n):
        colour = (number % 256, number // 256 % 256, 90)
        Image.new("RGB", (32, 32), colour).save(folder / f"{number:06d}.png")


def run(folder: Path) -> tuple[float, float]:
    """Seconds and peak MiB of one `saeviz run` up to the features."""
    code = (
        "import resource, sys; from saeviz.cli import main\n"
        "try: main(['run', 'run.toml', '--until', 'extract', '-q'])\n"
        "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, stderr=subprocess.PIPE, text=True, check=True)
    return time.perf_counter() - start, int(done.stderr.split()[-1]) / 1024


def main() -> None:
    """Print seconds, peak memory and the ratio of the peaks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 20_000])
    peaks = []
    for n in parser.parse_args().images:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            draw(folder / "pictures", n)
            (folder / "run.toml").write_text(RUN_FILE.format(plugin=Path(__file__).resolve()))
            seconds, peak = run(folder)
            again, peak_again = run(folder)
        peaks.append(peak)
        print(f"{n:7,} images: {seconds:7.1f} s, peak {peak:.0f} MiB; again: {again:.1f} s, {peak_again:.0f} MiB")
    print(f"peak ratio: {peaks[-1] / peaks[0]:.2f}")


if __name__ == "__main__":
    main()
