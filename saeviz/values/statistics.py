"""Statistics of the features of a space, which merge over parts of the images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import CSR, FloatArray, IntArray

    State = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class FeatureStatistics:
    """Statistics over all images, each `[n_features]`: the number of images above zero, the extremes and the mean.

    Extremes and mean are 0 for a feature that is never active, and for all features if there are no images.
    """

    n_active: IntArray
    maximum: FloatArray
    minimum: FloatArray
    mean: FloatArray


def counted(matrix: CSR) -> State:
    """Counts, sums and extremes of some images, CSR `[n_images, n_features]`; extremes of what is stored only."""
    import numpy as np

    n_features = matrix.shape[1]
    columns, values = matrix.indices.astype(np.intp), matrix.data
    maximum = np.full(n_features, -np.inf, dtype=np.float32)
    minimum = np.full(n_features, np.inf, dtype=np.float32)
    np.maximum.at(maximum, columns, values)
    np.minimum.at(minimum, columns, values)
    return {
        "n_items": np.array(matrix.shape[0]),
        "n_stored": np.bincount(columns, minlength=n_features),
        "n_active": np.bincount(columns[values > 0], minlength=n_features),
        "total": np.bincount(columns, weights=values, minlength=n_features).astype(float),  # of no values: integers
        "maximum": maximum,
        "minimum": minimum,
    }


def merged_counts(one: State, other: State) -> State:
    """Those of the images of both."""
    import numpy as np

    sums = {name: one[name] + other[name] for name in ("n_items", "n_stored", "n_active", "total")}
    return {
        **sums,
        "maximum": np.maximum(one["maximum"], other["maximum"]),
        "minimum": np.minimum(one["minimum"], other["minimum"]),
    }


def statistics_of(counts: State) -> FeatureStatistics:
    """The statistics of the images that were counted."""
    import numpy as np

    n_items = int(counts["n_items"])
    has_zero = counts["n_stored"] < n_items
    is_empty = counts["n_stored"] == 0
    maximum, minimum = (np.where(is_empty, 0.0, counts[name]).astype(float) for name in ("maximum", "minimum"))
    return FeatureStatistics(
        counts["n_active"],
        np.where(has_zero, np.maximum(maximum, 0.0), maximum),
        np.where(has_zero, np.minimum(minimum, 0.0), minimum),
        counts["total"] / max(n_items, 1),
    )
