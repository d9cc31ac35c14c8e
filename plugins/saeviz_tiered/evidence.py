"""The evidence about each feature: its monosemanticity, and the correlations that count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saeviz import KEYS, ConfigError, ScoreTable, main_relation
from saeviz_tiered import Requirement

if TYPE_CHECKING:
    import pandas as pd


def gather_relations(table: ScoreTable, require: Requirement | None) -> pd.DataFrame:
    """The correlations that count, the strongest first: a row per feature and rating.

    Those count that were tested (have a q) and meet the requirement. Columns are the keys, `rating`, `r`, `size` (|r|),
    `q`, and `found`, whether it is significant; significant ones go before all others, whatever their size.
    """
    correlations = main_relation(table.correlations)
    if "r" not in correlations:
        return table.scores[KEYS].head(0).assign(rating="", r=0.0, size=0.0, q=0.0, found=False)
    if require == "significant" and "significant" not in correlations:
        raise ConfigError(
            'selector.require = "significant": no scorer of this run says which correlations are significant; '
            "add the scorer pearson-bh, or remove this option"
        )
    if require == "replicated" and "replicated" not in correlations:
        raise ConfigError(
            'selector.require = "replicated": no correlation of this run was tested again on held-out images; '
            "give its scorer split = 0.5, or remove this option"
        )
    counts = correlations["r"].notna()
    if "q" in correlations:
        counts &= correlations["q"].notna()
    if require is not None:
        counts &= correlations[require] == 1
    counted = correlations[counts]
    found = counted["significant"] == 1 if "significant" in counted else False
    counted = counted.assign(size=counted["r"].abs(), q=counted.get("q", np.nan), found=found)
    order = ["found", "size", *KEYS, "rating"]
    upwards = [False, False, *[True] * len(KEYS), True]
    counted = counted.astype({"tokens": object, "rating": object}).sort_values(order, ascending=upwards)
    counted = counted[[*KEYS, "rating", "r", "size", "q", "found"]]
    types = {**table.scores.dtypes[KEYS], "tokens": object}
    return counted.astype(types) if counted.empty else counted


def gather_features(table: ScoreTable, relations: pd.DataFrame, *, min_active: int) -> pd.DataFrame:
    """A row per feature that fires on at least `min_active` images, with the strongest of its relations.

    Columns are the keys, `n_active`, `max`, `ms`, and those of the relation. NaN or None if there is none.
    """
    scores = table.scores[table.scores["n_active"] >= min_active]
    features = scores[[*KEYS, "n_active", "max"]].astype({"tokens": object})  # a category has an order of its own
    features["ms"] = scores["monosemanticity"].astype(float) if "monosemanticity" in scores else np.nan
    if relations.empty:
        return features.assign(rating=None, r=np.nan, size=np.nan, q=np.nan, found=False)
    strongest = relations.drop_duplicates(KEYS)
    features = features.merge(strongest, on=KEYS, how="left", validate="one_to_one")
    return features.assign(found=features["found"].eq(True))
