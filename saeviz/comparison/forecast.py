"""Do features that were chosen and weighted in one run predict the ratings of another?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from saeviz.comparison.sources import Source
from saeviz.values.features import Feature
from saeviz.values.keys import feature_of

if TYPE_CHECKING:
    import pandas as pd

    from saeviz.typing import FloatArray, IntArray

MOST_FEATURES = 100
RESAMPLES = 2000
FEWEST_IMAGES = 10
FEWEST_GROUPS = 10
"""Groups of images below which R² has no interval."""
_PENALTIES = 30


def forecasts(one: Source, other: Source, table: pd.DataFrame, seed: int) -> Iterator[dict[str, Any]]:
    """For each rating, ridge on the strongest significant features of the first run, applied to the second.

    R² compares with the mean rating of the second run, `r` only asks for the order and spread. Its interval is that of
    a percentile bootstrap over the images of the second run, whole groups at a time, the fit being given.
    """
    if "significant_a" not in table:
        return
    for rating in dict.fromkeys(table["rating"]):
        found = table[(table["rating"] == rating) & (table["significant_a"] == 1)]
        found = found.iloc[(-found["r_a"].abs()).argsort(kind="stable")][:MOST_FEATURES]
        features = [feature_of(row) for row in found.to_dict("records")]
        (ids_a, y_a), (ids_b, y_b) = one.rated(str(rating)), other.rated(str(rating))
        if not features or min(len(ids_a), len(ids_b)) < FEWEST_IMAGES:
            continue
        weights, intercept = ridge(_columns(one, ids_a, features), y_a)
        predicted = _columns(other, ids_b, features) @ weights + intercept
        yield {"rating": rating, "n_features": len(features), "n_fitted": len(ids_a), "n_predicted": len(ids_b)} | (
            _accuracy(y_b, predicted, other.clusters(ids_b), seed)
        )


def ridge(x: FloatArray, y: FloatArray) -> tuple[FloatArray, float]:
    """Weights and intercept of ridge regression on standardised columns; the penalty by leaving out single images.

    That is done exactly, as `RidgeCV` of scikit-learn does it, which is not a dependency of the core.
    """
    import numpy as np

    mean, sd = x.mean(axis=0), x.std(axis=0)
    sd = np.where(sd > 0, sd, 1.0)
    left, singular, right = np.linalg.svd((x - mean) / sd, full_matrices=False)
    squares, centred = singular**2, y - y.mean()
    shadow = left.T @ centred
    penalties = np.geomspace(1e-3, 1e5, _PENALTIES)
    errors = []
    for penalty in penalties:
        shrunk = squares / (squares + penalty)
        leverage = (left**2) @ shrunk + 1 / len(y)
        errors.append(float((((centred - left @ (shrunk * shadow)) / np.maximum(1 - leverage, 1e-12)) ** 2).mean()))
    best = penalties[int(np.argmin(errors))]
    weights = right.T @ (singular / (squares + best) * shadow) / sd
    return weights, float(y.mean() - mean @ weights)


def _accuracy(y: FloatArray, predicted: FloatArray, clusters: IntArray, seed: int) -> dict[str, float]:
    import numpy as np

    low, high = _interval(y, predicted, clusters, seed)
    varies = np.ptp(y) > 0 and np.ptp(predicted) > 0
    r = float(np.corrcoef(y, predicted)[0, 1]) if varies else float("nan")
    return {"r2": _r_squared(y, predicted, np.ones(len(y))), "r2_low": low, "r2_high": high, "r": r}


def _interval(y: FloatArray, predicted: FloatArray, clusters: IntArray, seed: int) -> tuple[float, float]:
    """Of R², by drawing as many clusters of images as there are, with replacement."""
    import numpy as np

    n_clusters = int(clusters.max()) + 1
    if n_clusters < FEWEST_GROUPS:
        return float("nan"), float("nan")
    random = np.random.default_rng(seed)
    found = []
    for _ in range(RESAMPLES):
        times = np.bincount(random.integers(0, n_clusters, size=n_clusters), minlength=n_clusters)
        found.append(_r_squared(y, predicted, times[clusters].astype(np.float64)))
    if not np.isfinite(found).any():
        return float("nan"), float("nan")
    low, high = np.nanquantile(found, [0.025, 0.975])
    return float(low), float(high)


def _r_squared(y: FloatArray, predicted: FloatArray, times: FloatArray) -> float:
    """With each image counted as often as `times` says."""
    mean = float(times @ y) / float(times.sum())
    total = float(times @ (y - mean) ** 2)
    return 1 - float(times @ (y - predicted) ** 2) / total if total > 0 else float("nan")


def _columns(source: Source, item_ids: Sequence[str], features: Sequence[Feature]) -> FloatArray:
    import numpy as np

    found = np.zeros((len(item_ids), len(features)))
    for space in source.run.spaces:
        places = [place for place, feature in enumerate(features) if feature in space]
        if places:
            found[:, places] = source.columns(space, item_ids, [features[place].index for place in places])
    return found
