"""What the run's own process does with a shard that a worker has made: find it, read it, write it to the store `npz`.

1,024 images with 800 of 49,152 features in one space; processor time an image, median of some rounds. The baseline is
writing the same batches to the store without a shard, 32 at a time, as one process does.

    OMP_NUM_THREADS=1 python benchmarks/taking_in.py [--rounds 9]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import scipy.sparse as sp

import saeviz
from saeviz.formats.folders import Folder
from saeviz.formats.made import Made, MadeFiles

N_ITEMS, N_ACTIVE, BATCH = 1024, 800, 32
SPACE = saeviz.FeatureSpace(11, "cls", 49_152)
IDS = tuple(f"pictures/{number:07d}.jpg" for number in range(N_ITEMS))


def batches() -> Iterator[saeviz.FeatureBatch]:
    """Batches as an extractor gives them."""
    generator = np.random.default_rng(0)
    bounds = np.arange(0, N_ACTIVE * BATCH + 1, N_ACTIVE, dtype=np.int32)
    for start in range(0, N_ITEMS, BATCH):
        features = [np.sort(generator.choice(SPACE.n_features, N_ACTIVE, replace=False)) for _ in range(BATCH)]
        values = generator.gamma(1, 1, N_ACTIVE * BATCH).astype(np.float32)
        shape = (BATCH, SPACE.n_features)
        matrix = sp.csr_array((values, np.concatenate(features).astype(np.int32), bounds), shape=shape)
        yield saeviz.FeatureBatch(SPACE, IDS[start : start + BATCH], matrix)


def take_in(files: MadeFiles, shard: saeviz.Shard, store: saeviz.FeatureStore) -> None:
    """As `saeviz run` does."""
    name = files.find(shard)
    assert name is not None
    write(files.read(name).features, store)


def write(batches: Iterable[saeviz.FeatureBatch], store: saeviz.FeatureStore) -> None:
    """Write batches to a store, which ends the shards that it has begun."""
    with closing(store):
        for batch in batches:
            store.write(batch)


def milliseconds(do: Callable[[], None]) -> float:
    """Processor time for each image."""
    start = time.process_time()
    do()
    return (time.process_time() - start) / N_ITEMS * 1000


def main() -> None:
    """Print milliseconds an image, bytes an image, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="how often everything is done")
    given = parser.parse_args()
    made = list(batches())
    whole = saeviz.FeatureBatch(SPACE, IDS, SPACE.stack(batch.matrix for batch in made))
    shard = saeviz.Shard(0, "0" * 16, IDS, ("0" * 32,) * N_ITEMS)
    times: dict[str, list[float]] = {"write a shard": [], "take it in": [], "without a shard": []}
    for _ in range(given.rounds):
        with tempfile.TemporaryDirectory() as place:
            files = MadeFiles(Folder(Path(place) / "shards"), "0" * 16)
            taken, direct = (saeviz.component("store", "npz", path=Path(place) / name) for name in ("taken", "direct"))
            times["write a shard"].append(milliseconds(partial(files.write, shard, Made([whole]))))
            size = Path(place, "shards", files.name(shard)).stat().st_size / N_ITEMS
            times["take it in"].append(milliseconds(partial(take_in, files, shard, taken)))
            times["without a shard"].append(milliseconds(partial(write, made, direct)))
    for what, found in times.items():
        print(f"{what}: {statistics.median(found):.3f} ms of processor time an image")
    ratios = [sum(both) / directly for *both, directly in zip(*times.values(), strict=True)]
    print(f"ratio of both to writing without a shard: {statistics.median(ratios):.2f}")
    print(f"a shard has {size:,.0f} bytes an image, {size / N_ACTIVE:.1f} for each active feature")


if __name__ == "__main__":
    main()
