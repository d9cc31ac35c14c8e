"""The correlation of one feature with one rating in each group of images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from saeviz.formats.plain import quoted
from saeviz.results.run import Run
from saeviz.values.errors import ConfigError
from saeviz.values.features import Feature

if TYPE_CHECKING:
    import pandas as pd

    from saeviz.typing import FloatArray

FEWEST = 4
"""Images from which Fisher's z has an interval."""


def by_group(run: Run, feature: Feature | str, rating: str, column: str | None = None) -> pd.DataFrame:
    """Pearson's r of a feature with a rating in each group of images, the largest group first.

    Groups are those of the run, or the values of a metadata `column`; images without one are left out. Columns are
    `group`, `n` (images that have the rating), `n_active`, `r` (NaN where feature or rating does not vary), `ci_low`
    and `ci_high` (95 %, Fisher's z, which takes the images of a group as independent). Nothing is tested here:
    `heterogeneity_p` and the scorer `moderation` test whether r differs between groups. Raises `ConfigError` for a
    rating or column that the run does not have, and if its images have no groups.
    """
    import numpy as np
    import pandas as pd

    if rating not in run.ratings:
        raise ConfigError(f"{run.dir} has no rating {quoted(rating)}; it has {', '.join(run.ratings) or 'none'}")
    table = pd.DataFrame({"group": _groups(run, column), "rating": run.ratings_table[rating].to_numpy()})
    table["activation"] = run.activations(feature)
    table = table[table["group"].astype(bool) & np.isfinite(table["rating"])]
    rows = [
        {"group": name, "n": len(own), "n_active": int((own["activation"] > 0).sum()), **_correlation(own)}
        for name, own in table.groupby("group", sort=True)
    ]
    found = pd.DataFrame(rows, columns=["group", "n", "n_active", "r", "ci_low", "ci_high"])
    return found.sort_values("n", ascending=False, kind="stable", ignore_index=True)


def _groups(run: Run, column: str | None) -> list[str]:
    if column is None:
        if not any(item.group for item in run.items):
            raise ConfigError(f"the images of {run.dir} have no groups; name a column of their metadata")
        return [item.group or "" for item in run.items]
    if column not in run.metadata:
        raise ConfigError(f"{run.dir} has no column {quoted(column)}; it has {', '.join(run.metadata) or 'none'}")
    return list(map(str, run.metadata[column]))


def _correlation(own: pd.DataFrame) -> dict[str, float]:
    import numpy as np

    values: FloatArray = own[["activation", "rating"]].to_numpy(dtype=np.float64).T
    if len(own) < 2 or not np.ptp(values, axis=1).all():
        return {}
    r = float(np.clip(np.asarray(np.corrcoef(values))[0, 1], -1.0, 1.0))
    if len(own) < FEWEST or abs(r) == 1:
        return {"r": r}
    half = 1.959963984540054 / math.sqrt(len(own) - 3)
    return {"r": r, "ci_low": math.tanh(math.atanh(r) - half), "ci_high": math.tanh(math.atanh(r) + half)}
