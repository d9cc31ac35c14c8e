"""How often the interval of `saeviz compare` for r against r contains the agreement that such studies have on average.

    python benchmarks/agreement_coverage.py [PAIRS]

Each run has 300 images of its own and 200 features that fire on 30 % of them, driven by ten shared factors; true
correlations with the rating are the same in both runs, of several sizes, 0 included. The truth is the mean agreement
over all pairs of runs, on Fisher's scale. Beside it stands the interval that takes features as independent. 0.95 is
exact.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
from arguments import how_many
from scipy.sparse import csr_array

import saeviz
from saeviz.comparison.jackknife import agreement_interval
from saeviz.comparison.sources import Source

N_IMAGES, N_FEATURES, N_FACTORS = 300, 200, 10
SLOPES = (0.0, 0.1, 0.3, 1.0)
SPACE = saeviz.FeatureSpace(1, "cls", N_FEATURES)


def simulated(loadings: np.ndarray, slopes: np.ndarray, generator: np.random.Generator) -> Source:
    """A run over images of its own."""
    factors = generator.normal(size=(N_IMAGES, N_FACTORS))
    drive = factors @ loadings + generator.normal(size=(N_IMAGES, N_FEATURES))
    features = np.maximum(drive - np.quantile(drive, 0.7, axis=0), 0).astype(np.float32)
    rating = factors @ slopes + generator.normal(size=N_IMAGES)
    ids = tuple(map(str, range(N_IMAGES)))
    items = [saeviz.ImageItem(one, b"", {"liked": float(value)}) for one, value in zip(ids, rating, strict=True)]
    batch = saeviz.FeatureBatch(SPACE, ids, csr_array(features))
    table = pd.DataFrame({"liked": rating}, index=ids)
    split = pd.Series("found", index=ids)
    run = SimpleNamespace(
        spaces=[SPACE], items=items, split=split, ratings_table=table, batches=lambda *_: iter([batch])
    )
    return Source(cast("Any", run))


def main(n_pairs: int) -> None:
    """Print a line for each size of true correlations."""
    table = pd.DataFrame({"sae": "", "layer": 1, "tokens": "cls", "feature": np.arange(N_FEATURES)})
    print("slope  mean r of r  jackknife  features as independent")
    for slope in SLOPES:
        generator = np.random.default_rng(0)
        loadings = generator.normal(size=(N_FACTORS, N_FEATURES))
        slopes = slope * generator.normal(size=N_FACTORS)
        found = []
        for _ in range(n_pairs):
            pair = [simulated(loadings, slopes, generator) for _ in range(2)]
            r = [source.correlations(SPACE, *source.rated("liked"))[:, 0] for source in pair]
            found.append((np.corrcoef(*r)[0, 1], *agreement_interval(pair[0], pair[1], "liked", table)))
        agreement, low, high = np.arctanh(np.array(found)).T
        truth, half = agreement.mean(), 1.959964 / np.sqrt(N_FEATURES - 3)
        inside, naive = ((low <= truth) & (truth <= high)).mean(), (np.abs(agreement - truth) <= half).mean()
        print(f"{slope:>5}  {np.tanh(truth):>11.2f}  {inside:>9.3f}  {naive:>22.3f}")


if __name__ == "__main__":
    main(how_many(__doc__, 400))
