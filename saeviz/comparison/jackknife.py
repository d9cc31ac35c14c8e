"""An interval for the agreement of two runs, by the images: features that fire together are not independent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saeviz.comparison.sources import PARTS, Source
from saeviz.values.keys import rows_in

if TYPE_CHECKING:
    import pandas as pd

    from saeviz.typing import FloatArray

FEWEST_IMAGES = 2 * PARTS


def agreement_interval(one: Source, other: Source, rating: str, table: pd.DataFrame) -> tuple[float, float]:
    """The 95 % interval of the correlation of r with r over the features in `table`; NaN where there is none.

    The images of each run are cut into parts, and the agreement is computed without each of them in turn (the delete-
    a-group jackknife, Kott 2001). On the scale of Fisher's z the variances of both runs add up; Student's t has the
    degrees of freedom of Welch and Satterthwaite.
    """
    import numpy as np
    from scipy.stats import t

    r = [_correlations(source, rating, table) for source in (one, other)]
    if any(columns.shape[1] < 3 for columns in r):
        return float("nan"), float("nan")
    known = np.isfinite(r[0]).all(axis=1) & np.isfinite(r[1]).all(axis=1)
    if known.sum() < 3:
        return float("nan"), float("nan")
    all_a, all_b = r[0][known], r[1][known]
    estimate = _z(all_a[:, :1], all_b[:, 0])[0]
    without = _z(all_a[:, 1:], all_b[:, 0]), _z(all_b[:, 1:], all_a[:, 0])
    if not (np.isfinite(estimate) and all(np.isfinite(z).all() for z in without)):
        return float("nan"), float("nan")
    variances = [(z.size - 1) ** 2 / z.size * np.var(z, ddof=1) for z in without]
    total = sum(variances)
    if not total > 0:
        return float("nan"), float("nan")
    df = total**2 / sum(part**2 / (z.size - 1) for part, z in zip(variances, without, strict=True))
    half = t.ppf(0.975, df) * np.sqrt(total)
    return float(np.tanh(estimate - half)), float(np.tanh(estimate + half))


def _correlations(source: Source, rating: str, table: pd.DataFrame) -> FloatArray:
    """Those of the features in the table, `[len(table), 1 + n_parts]` in its order; empty with too few images."""
    import numpy as np

    item_ids, values = source.rated(rating)
    if len(item_ids) < FEWEST_IMAGES:
        return np.zeros((len(table), 0))
    n_parts = int(source.parts(item_ids).max()) + 1
    found = np.full((len(table), 1 + n_parts), np.nan)
    place = table.reset_index(drop=True)
    for space in source.run.spaces:
        own = rows_in(place, space)
        if len(own):
            found[own.index] = source.correlations(space, item_ids, values)[own["feature"]]
    return found


def _z(columns: FloatArray, one: FloatArray) -> FloatArray:
    """Fisher's z of Pearson's r of each column with another one; infinite or NaN where it has none."""
    import numpy as np

    x, y = columns - columns.mean(axis=0), one - one.mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.arctanh(y @ x / np.sqrt((x**2).sum(axis=0) * (y**2).sum())))
