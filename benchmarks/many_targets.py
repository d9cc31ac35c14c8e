"""49,152 features with 1,000 ratings over 5,000 images: processor seconds and peak memory, against all columns at once.

Run it with `python benchmarks/many_targets.py`. The baseline is the scorer as it is with few ratings, in parts of 100,
its peak memory and its time measured for one part and multiplied: it keeps every column of every pair. The floor is one
sparse product of features and ratings in float64, p-values from SciPy's incomplete beta function, and sorting them, and
in memory the p-values of the family. Each scorer is a process of its own.

`python benchmarks/many_targets.py --spaces 12` tests the ratings with as many spaces of this size as a model with SAEs
at twelve layers has, and prints the peak memory after each.

`python benchmarks/many_targets.py --groups 500 --features 4096` has errors that are robust to groups, of some of the
features. The floor is the product of features, by group, with ratings, and four passes over its result.

`python benchmarks/many_targets.py --all-pairs` has `pearson-bh` write all pairs as well, and reads one rating and one
feature of them.

The features are made up, 800 active on each image; a tenth of the ratings follows one feature each.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import numpy as np
from made_up import N_FEATURES, N_IMAGES, score_input
from scipy.sparse import csr_array

import saeviz
from saeviz.formats.pairs import PairFiles, files_of_pairs
from saeviz.formats.parquet import rows_where
from saeviz.pipeline.relations import correlations_table

SCORERS = ("pearson-bh", "spearman", "point-biserial")
PART = 100
MIB = 2**20


def main() -> None:
    """Print a line per scorer, then the floor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=int, default=1000)
    parser.add_argument("--scorers", nargs="+", default=SCORERS)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--all-pairs", action="store_true")
    parser.add_argument("--spaces", type=int, default=1)
    parser.add_argument("--groups", type=int, default=0)
    parser.add_argument("--features", type=int, default=N_FEATURES)
    arguments = parser.parse_args()
    if arguments.all_pairs:
        write_and_read(arguments.ratings)
        return
    if arguments.groups:
        measure_groups(arguments.ratings, arguments.groups, arguments.features)
        return
    if arguments.spaces > 1:
        measure_spaces(arguments.ratings, arguments.spaces)
        return
    if arguments.measure:
        use, ratings = arguments.measure
        print(*(floor if use == "floor" else measure)(use, int(ratings)))
        return
    n = arguments.ratings
    print(f"{N_FEATURES} features x {n} ratings, {N_IMAGES} images: {N_FEATURES * n:,} tests")
    for use in arguments.scorers:
        seconds, peak, before, kept = child(use, n)
        part_seconds, part_peak, part_before, _ = child(use, PART)
        all_seconds = part_seconds * n / PART
        all_peak = part_before + (part_peak - part_before) * n / PART
        print(
            f"{use}: {seconds:.1f} s, peak {peak:.0f} MiB ({before:.0f} before it began), {kept:,.0f} rows; with all "
            f"columns in memory {all_seconds:.0f} s and {all_peak:,.0f} MiB (from {PART} ratings): ratios "
            f"{seconds / all_seconds:.2f} and {peak / all_peak:.2f}"
        )
    product, p_values, order, operations = child("floor", n)
    print(
        f"floor: {product + p_values + order:.1f} s on one thread ({product:.1f} s for {operations / 1e9:.0f} billion "
        f"operations of the product, {p_values:.1f} s for p, {order:.1f} s to sort), p of the family "
        f"{8 * N_FEATURES * n / MIB:.0f} MiB"
    )


def child(use: str, ratings: int) -> tuple[float, ...]:
    """The figures that a process of its own prints."""
    command = [sys.executable, __file__, "--measure", use, str(ratings)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return tuple(map(float, result.stdout.split()))


def made_up(ratings: int) -> saeviz.ScoreInput:
    """Normal ratings; every tenth is one feature, plus noise."""
    data = score_input(ratings=ratings)
    matrix = data.features.matrix()[:, : len(data.ratings)].toarray()
    values = {
        name: rating + (2 * matrix[:, place] if place % 10 == 0 else 0)
        for place, (name, rating) in enumerate(data.ratings.items())
    }
    return saeviz.ScoreInput(data.space, data.item_ids, data.features, None, values)


def measure(use: str, ratings: int) -> tuple[float, ...]:
    """Seconds and peak MiB of a scorer, the MiB before it began, and the number of rows it gives."""
    import scipy.special
    import scipy.stats  # noqa: F401 - part of what is there before

    data = made_up(ratings)
    scorer: Any = saeviz.component("scorer", use)
    before, start = peak_now(), process_time()
    columns = list(scorer.score(data))
    columns += [result for result in scorer.combine(columns) if isinstance(result, saeviz.ScoreColumn)]
    seconds = process_time() - start
    rows = sum(len(column.values) for column in columns if column.target and column.name.endswith("ci_low"))
    return seconds, peak_now(), before, rows


def measure_spaces(ratings: int, n_spaces: int) -> None:
    """Print the peak memory after each of several spaces, which have the same features, and after all together."""
    import scipy.special
    import scipy.stats  # noqa: F401 - part of what is there before

    data = made_up(ratings)
    with TemporaryDirectory(dir=Path.cwd()) as folder:
        scorer: Any = saeviz.component("scorer", "pearson-bh", context=saeviz.Context(workdir=Path(folder)))
        print(f"before: {peak_now():.0f} MiB")
        start = process_time()
        for layer in range(n_spaces):
            list(scorer.score(in_layer(data, layer)))
            print(f"{layer + 1} spaces: {process_time() - start:.0f} s, peak {peak_now():.0f} MiB", flush=True)
        columns = [one for one in scorer.combine([]) if isinstance(one, saeviz.ScoreColumn)]
        print(f"all: {process_time() - start:.0f} s, peak {peak_now():.0f} MiB", flush=True)
        spaces = [replace(data.space, layer=layer) for layer in range(n_spaces)]
        table = correlations_table(spaces, columns, list(data.ratings))
        print(f"table: {process_time() - start:.0f} s, peak {peak_now():.0f} MiB, {len(table):,} rows")


def measure_groups(ratings: int, groups: int, n_features: int) -> None:
    """Print seconds and peak memory with errors of groups, and the floor."""
    import scipy.special
    import scipy.stats  # noqa: F401 - part of what is there before

    data = made_up(ratings)
    names = tuple(f"group {number}" for number in np.random.default_rng(0).integers(0, groups, N_IMAGES))
    space = replace(data.space, n_features=n_features)

    def read() -> Iterator[saeviz.FeatureBatch]:
        for batch in data.features.batches():
            yield saeviz.FeatureBatch(space, batch.item_ids, batch.matrix[:, :n_features])

    part = replace(data, space=space, features=saeviz.FeatureStream(space, read), groups=names)
    scorer: Any = saeviz.component("scorer", "pearson-bh")
    before, start, at = peak_now(), process_time(), perf_counter()
    list(scorer.score(part))
    seconds, wall = process_time() - start, perf_counter() - at
    least = floor_of_groups(part, names)
    print(
        f"{n_features} features x {ratings} ratings, {groups} groups: {seconds:.0f} s of processor time, {wall:.0f} s, "
        f"peak {peak_now():.0f} MiB ({before:.0f} before it began); floor {least:.0f} s, ratio {seconds / least:.1f}"
    )


def floor_of_groups(data: saeviz.ScoreInput, names: tuple[str, ...]) -> float:
    """Seconds of the products of each feature, group by group, with each rating, and of four passes over them."""
    matrix = csr_array(data.features.matrix().T.astype(np.float64))
    _, group = np.unique(names, return_inverse=True)
    n_groups, start = int(group.max()) + 1, process_time()
    for first in range(0, matrix.shape[0], 256):
        block = matrix[first : first + 256]
        feature = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
        pair = feature * n_groups + group[block.indices]
        by_pair = csr_array((block.data, (pair, block.indices)), shape=(block.shape[0] * n_groups, N_IMAGES))
        for values in data.ratings.values():
            product = by_pair @ values
            product *= 2.0
            product += 1.0
            product -= product
            product @ product
    return process_time() - start


def in_layer(data: saeviz.ScoreInput, layer: int) -> saeviz.ScoreInput:
    """The same features as those of a layer."""
    space = replace(data.space, layer=layer)

    def read() -> Iterator[saeviz.FeatureBatch]:
        for batch in data.features.batches():
            yield saeviz.FeatureBatch(space, batch.item_ids, batch.matrix)

    return replace(data, space=space, features=saeviz.FeatureStream(space, read))


def write_and_read(ratings: int) -> None:
    """Print what it takes to write all pairs, how large they are, and what it takes to read some."""
    data = made_up(ratings)
    scorer: Any = saeviz.component("scorer", "pearson-bh", all_pairs=True)
    start, writing = process_time(), 0.0
    with TemporaryDirectory() as folder:
        pairs = PairFiles(Path(folder), [data.space])
        list(scorer.score(data))
        for result in scorer.combine([]):
            if isinstance(result, saeviz.PairBlock):
                at = process_time()
                pairs.add(result, "the benchmark")
                writing += process_time() - at
        files = files_of_pairs(Path(folder))
        print(
            f"all pairs of {ratings} ratings: {process_time() - start:.0f} s, {writing:.0f} of them for writing, peak "
            f"{peak_now():.0f} MiB; {len(files)} files, {sum(file.stat().st_size for file in files) / 1e6:.0f} MB"
        )
        for where in ({"rating": list(data.ratings)[ratings // 2]}, {"feature": N_FEATURES // 2}):
            at = process_time()
            rows = sum(rows_where(file, where).num_rows for file in files)
            print(f"{where}: {rows:,} rows in {process_time() - at:.2f} s")


def floor(_use: str, ratings: int) -> tuple[float, ...]:
    """Seconds of the product, of the p-values and of sorting them; operations of the product."""
    from scipy.special import betainc

    data = made_up(ratings)
    matrix = data.features.matrix().T.tocsr().astype(np.float64)
    values = np.column_stack(list(data.ratings.values()))
    seconds = [0.0, 0.0, 0.0]
    p = np.empty((N_FEATURES, ratings))
    for start in range(0, N_FEATURES, 1024):
        rows = slice(start, start + 1024)
        at = process_time()
        product = matrix[rows] @ values
        seconds[0] += process_time() - at
        at = process_time()
        p[rows] = betainc(N_IMAGES / 2 - 1, 0.5, 1 - np.clip(product / 1e4, -1, 1) ** 2)
        seconds[1] += process_time() - at
    at = process_time()
    p.reshape(-1).sort()
    seconds[2] = process_time() - at
    return *seconds, 2.0 * matrix.nnz * ratings


def peak_now() -> float:
    """The largest memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
