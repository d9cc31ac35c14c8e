"""What is known of each feature, in one row: how monosemantic it is and its strongest correlation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saeviz import ConfigError, ScoreTable, main_relation

if TYPE_CHECKING:
    import pandas as pd

KEYS = ["layer", "tokens", "feature"]


def gather_evidence(table: ScoreTable, *, min_active: int, require_significant: bool) -> pd.DataFrame:
    """A row per feature that fires on at least `min_active` images.

    Columns are the keys, `n_active`, `max`, `ms`, and of the correlation with the largest |r| that counts
    `r`, `size` (|r|), `q` and `rating`. NaN in `ms`, or in the last four, where there is none.
    """
    scores = table.scores[table.scores["n_active"] >= min_active]
    features = scores[[*KEYS, "n_active", "max"]].copy()
    features["ms"] = scores["monosemanticity"].astype(float) if "monosemanticity" in scores else np.nan
    strongest = _strongest(main_relation(table.correlations), require_significant=require_significant)
    if strongest is None or strongest.empty:
        return features.assign(r=np.nan, size=np.nan, q=np.nan, rating=None)
    return features.merge(strongest, on=KEYS, how="left", validate="one_to_one")


def _strongest(correlations: pd.DataFrame, *, require_significant: bool) -> pd.DataFrame | None:
    """The correlation with the largest |r| of each feature, among those that were tested (have a q)."""
    if "r" not in correlations:
        return None
    if require_significant and "significant" not in correlations:
        raise ConfigError(
            "selector.require_significant: no scorer of this run says which correlations are significant; "
            "add the scorer pearson-bh, or leave this option out"
        )
    counts = correlations["r"].notna()
    if "q" in correlations:
        counts &= correlations["q"].notna()
    if require_significant:
        counts &= correlations["significant"] == 1
    counted = correlations[counts]
    counted = counted.assign(size=counted["r"].abs(), q=counted.get("q", np.nan))
    strongest = counted.loc[counted.groupby(KEYS, observed=True)["size"].idxmax()]
    return strongest[[*KEYS, "r", "size", "q", "rating"]]
