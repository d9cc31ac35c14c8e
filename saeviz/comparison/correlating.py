"""Correlate the features of two runs over the same images, in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from saeviz.results.run import Run
from saeviz.values.features import FeatureSpace
from saeviz.values.keys import KEYS

if TYPE_CHECKING:
    import pandas as pd

    from saeviz.typing import CSR, FloatArray, IntArray

MIN_ACTIVE = 10
BLOCK = 256
"""Features of the first run at a time; a block takes 8 bytes for each image and for each feature of the second run."""
SHUFFLED = 1024
"""Features for which the best correlation by chance is found."""


@dataclass(frozen=True)
class Side:
    """The features of one run over the images of both: those that fire on enough of them, and vary.

    `matrix` is CSR, a row per feature `[n_features, n_images]`; `table` has the keys and `n_active` of each row.
    """

    matrix: CSR
    mean: FloatArray
    spread: FloatArray
    table: pd.DataFrame


@dataclass(frozen=True)
class Best:
    """For each feature of either run, the row of the feature of the other that it correlates with most, and r."""

    row_a: IntArray
    r_a: FloatArray
    row_b: IntArray
    r_b: FloatArray


def side_of(run: Run, item_ids: Sequence[str]) -> Side:
    """The features of all spaces of a run."""
    import numpy as np
    import pandas as pd
    from scipy.sparse import csr_array, vstack

    parts, tables = [], []
    for space in run.spaces:
        matrix = csr_array(space.stack(batch.matrix for batch in run.batches(space, item_ids)).T.tocsr())
        n_active = np.diff(csr_array(matrix > 0).indptr)
        often = np.flatnonzero(n_active >= MIN_ACTIVE)
        parts.append(matrix[often])
        tables.append(_table(space, often, n_active[often]))
    matrix, table = csr_array(vstack(parts, format="csr")), pd.concat(tables, ignore_index=True)
    mean = np.asarray(matrix.sum(axis=1, dtype=np.float64)).ravel() / len(item_ids)
    squares = np.asarray(matrix.astype(np.float64).power(2).sum(axis=1)).ravel()
    spread = np.sqrt(np.maximum(squares - len(item_ids) * mean**2, 0))
    varies = spread > 1e-6 * np.sqrt(squares)
    return Side(matrix[varies], mean[varies], spread[varies], table[varies].reset_index(drop=True))


def best_partners(one: Side, other: Side) -> Best:
    """By the largest |r|, in blocks: the table of all pairs is never held."""
    import numpy as np

    n_a, n_b = len(one.table), len(other.table)
    row_a, r_a = np.zeros(n_a, dtype=np.int64), np.full(n_a, np.nan)
    row_b, r_b = np.zeros(n_b, dtype=np.int64), np.zeros(n_b)
    for start, r in _blocks(one, other):
        size = np.abs(r)
        rows = slice(start, start + r.shape[1])
        row_a[rows] = size.argmax(axis=0)
        r_a[rows] = np.take_along_axis(r, row_a[rows][None], axis=0)[0]
        nearest = size.argmax(axis=1)
        found = np.take_along_axis(r, nearest[:, None], axis=1)[:, 0]
        better = np.abs(found) > np.abs(r_b)
        row_b[better], r_b[better] = nearest[better] + start, found[better]
    return Best(row_a, r_a, row_b, r_b)


def best_by_chance(one: Side, other: Side, seed: int) -> float:
    """What the best |r| of 5 % of the first run's features exceeds when its images are shuffled."""
    import numpy as np

    random = np.random.default_rng(seed)
    rows = np.sort(random.permutation(len(one.table))[:SHUFFLED])
    order = random.permutation(one.matrix.shape[1])
    shuffled = Side(one.matrix[rows][:, order], one.mean[rows], one.spread[rows], one.table.iloc[rows])
    return float(np.quantile(np.abs(best_partners(shuffled, other).r_a), 0.95))


def _blocks(one: Side, other: Side) -> Iterator[tuple[int, FloatArray]]:
    """Where a block of features of the first run begins, and r `[features of the second, features of the block]`."""
    import numpy as np

    for start in range(0, len(one.table), BLOCK):
        rows = slice(start, start + BLOCK)
        unit = (one.matrix[rows].toarray().astype(np.float64) - one.mean[rows, None]) / one.spread[rows, None]
        yield start, np.clip((other.matrix @ unit.T) / other.spread[:, None], -1.0, 1.0)


def _table(space: FeatureSpace, features: IntArray, n_active: IntArray) -> pd.DataFrame:
    import pandas as pd

    table = pd.DataFrame({"feature": features, "n_active": n_active})
    keys = {"sae": space.sae, "layer": str(space.layer), "tokens": space.tokens}
    return table.assign(**keys)[[*KEYS, "n_active"]]
