"""The store `npz` against the store `json`, and the bytes per non-zero for several kinds of data.

Features are written in batches of 32 images, as an extractor gives them, and read back in one stream; the runs
alternate. The features of the comparison are those of a sparse autoencoder with random weights, 49,152 wide, of which
about 800 fire on an image: a float32 product, a bias that keeps most below zero, ReLU. Below that, what other kinds of
data need, beside the entropy of where the non-zeros are, of their exponents and of their mantissas: no exact store can
do with less.

    python benchmarks/store.py [--images 2048] [--rounds 3]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array, vstack

import saeviz
from saeviz_json import JsonOptions
from saeviz_json.store import JsonStore
from saeviz_npz import NpzOptions
from saeviz_npz.store import NpzStore

N_FEATURES, N_ACTIVE, WIDTH, BATCH = 49_152, 800, 768, 32
SPACE = saeviz.FeatureSpace(11, "cls", N_FEATURES)
STORES = {
    "npz": lambda folder: NpzStore(NpzOptions(path=folder), saeviz.Context()),
    "npz, encoding scipy": lambda folder: NpzStore(NpzOptions(path=folder, encoding="scipy"), saeviz.Context()),
    "json": lambda folder: JsonStore(JsonOptions(path=folder), saeviz.Context()),
}


def of_an_sae(n: int, spread: float) -> csr_array:
    """Features of random activations; `spread` is how much the biases, and so the frequencies, differ."""
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(WIDTH, N_FEATURES)).astype(np.float32) / np.float32(WIDTH**0.5)
    bias = (spread * generator.normal(size=N_FEATURES)).astype(np.float32)
    products = generator.normal(size=(BATCH, WIDTH)).astype(np.float32) @ weights + bias
    bias -= np.partition(products.ravel(), -N_ACTIVE * BATCH)[-N_ACTIVE * BATCH]
    rows = []
    for _ in range(0, n, BATCH):
        activations = generator.normal(size=(BATCH, WIDTH)).astype(np.float32)
        rows.append(csr_array(np.maximum(activations @ weights + bias, np.float32(0))))
    return csr_array(vstack(rows, format="csr"))


def without_structure(n: int) -> csr_array:
    """Any 800 features of an image, all equally likely, with exponential values: the worst case."""
    generator = np.random.default_rng(0)
    columns = np.concatenate([np.sort(generator.choice(N_FEATURES, N_ACTIVE, replace=False)) for _ in range(n)])
    values = generator.exponential(size=columns.size).astype(np.float32)
    return csr_array((values, columns, np.arange(0, columns.size + 1, N_ACTIVE)), shape=(n, N_FEATURES))


def batches(matrix: csr_array) -> Iterator[saeviz.FeatureBatch]:
    """As an extractor gives them."""
    space = saeviz.FeatureSpace(SPACE.layer, SPACE.tokens, matrix.shape[1])
    for start in range(0, matrix.shape[0], BATCH):
        rows = matrix[start : start + BATCH]
        yield saeviz.FeatureBatch(space, tuple(f"image {start + row}" for row in range(rows.shape[0])), rows)


def write(store: saeviz.FeatureStore, matrix: csr_array) -> float:
    """Seconds."""
    given = list(batches(matrix))
    start = time.perf_counter()
    for batch in given:
        store.write(batch)
    store.close()
    return time.perf_counter() - start


def read(store: saeviz.FeatureStore, space: saeviz.FeatureSpace) -> float:
    """Seconds."""
    start = time.perf_counter()
    for _ in store.read(space):
        pass
    return time.perf_counter() - start


def check(store: saeviz.FeatureStore, matrix: csr_array) -> None:
    """Raise `AssertionError` unless every bit is there."""
    whole = vstack([batch.matrix for space in store.spaces() for batch in store.read(space)], format="csr")
    assert np.array_equal(whole.indices, matrix.indices)
    assert whole.data.tobytes() == matrix.data.tobytes()


def size_of(folder: Path) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def entropy(counts: np.ndarray) -> float:
    """Bits of one draw."""
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum())


def bound(matrix: csr_array) -> float:
    """Bytes a non-zero: entropy of the places given each feature's frequency, of exponents, of mantissas given these.

    Mantissas count as noise as far as they do not end in zeros.
    """
    frequency = np.bincount(matrix.indices, minlength=matrix.shape[1]) / matrix.shape[0]
    active = frequency[(frequency > 0) & (frequency < 1)]
    silent = 1 - active
    places = -matrix.shape[0] * (active * np.log2(active) + silent * np.log2(silent)).sum() / matrix.nnz
    bits = matrix.data.view(np.uint32)
    mantissas = bits & 0x7FFFFF
    zeros = np.where(mantissas, np.log2((mantissas & -mantissas.astype(np.int64)).clip(1)), 23)
    exponents = bits >> 23
    noise = 0.0
    for exponent in np.unique(exponents):
        here = zeros[exponents == exponent]
        noise += here.size * entropy(np.bincount(here.astype(int))) + np.maximum(22 - here, 0).sum()
    return (places + entropy(np.bincount(exponents)) + noise / matrix.nnz) / 8


def compare(matrix: csr_array, rounds: int) -> None:
    """Print the speeds of the stores, and their ratio."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in STORES}
    sizes = {}
    for _ in range(rounds):
        for name, opened in STORES.items():
            with tempfile.TemporaryDirectory() as folder:
                written = write(opened(Path(folder)), matrix)
                times[name].append((written, read(opened(Path(folder)), SPACE)))
                check(opened(Path(folder)), matrix)
                sizes[name] = size_of(Path(folder))
    n = matrix.nnz
    best = {name: [min(column) for column in zip(*found, strict=True)] for name, found in times.items()}
    for name, (writing, reading) in best.items():
        speeds = f"writes {n / writing / 1e6:6.2f} million/s   reads {n / reading / 1e6:6.2f} million/s"
        print(f"{name:20} {speeds}   {sizes[name] / n:6.2f} bytes a non-zero")
    print(f"npz reads {best['json'][1] / best['npz'][1]:.1f} times as fast as json")


def tabulate(kinds: dict[str, Callable[[], csr_array]]) -> None:
    """Print the bytes of a non-zero for each kind of data."""
    for name, make in kinds.items():
        matrix = make()
        with tempfile.TemporaryDirectory() as folder:
            write(STORES["npz"](Path(folder)), matrix)
            print(f"{name:45} {size_of(Path(folder)) / matrix.nnz:5.2f}   {bound(matrix):5.2f}")


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    matrix = of_an_sae(arguments.images, spread=0.0)
    active = matrix.nnz / matrix.shape[0]
    print(f"{matrix.shape[0]} images, {active:.0f} of {N_FEATURES:,} features active, best of {arguments.rounds}")
    compare(matrix, arguments.rounds)
    print(f"\n{'bytes a non-zero':45} {'packed':>6}  {'bound':>5}")
    tabulate(
        {
            "random SAE, all features alike": lambda: matrix,
            "random SAE, frequencies differ": lambda: of_an_sae(arguments.images, spread=0.7),
            "no structure at all": lambda: without_structure(arguments.images),
        }
    )


if __name__ == "__main__":
    main()
