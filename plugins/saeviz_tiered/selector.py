"""Chooses the features worth a name, in three tiers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from saeviz import Context, Feature, ScoreTable, Selected
from saeviz_tiered import TieredOptions
from saeviz_tiered.clusters import add_clusters
from saeviz_tiered.evidence import KEYS, gather_evidence

if TYPE_CHECKING:
    import pandas as pd

FREQUENCY_BANDS = 4


class TieredSelector:
    """Tier 1: monosemantic and correlated. Tier 2: either. Tier 3: the most monosemantic of the rest, spread.

    A feature's tier depends on its own numbers only; the limit decides how many of a tier get in.
    Tier 1 is ordered by the weaker of MS and |r|, each in units of its cut-off, tier 2 by the stronger.
    Tier 3 is spread over the feature space: the features of every (layer, tokens) are cut into four bands
    by how often they fire, and all bands in turn give their most monosemantic one (most active one in a run
    without monosemanticity). It keeps `diverse_share` of the limit; what one side cannot fill, the other may.

    Features that fire together (the column `cluster` of the scorer `redundancy`) count once, in all tiers: the first
    of them in this order is selected and stands for the others.

    Correlations that were not tested (no q: too few active images) do not count.
    """

    def __init__(self, options: TieredOptions, context: Context) -> None:
        self.options = options
        self.context = context

    def select(self, table: ScoreTable, limit: int | None = None) -> list[Selected]:
        """At most `limit` features (default: the option), best first; equally good ones by layer, tokens, index.

        Raises `ConfigError` where significance is required and no scorer tells it.
        """
        limit = self.options.limit if limit is None else limit
        features = gather_evidence(
            table, min_active=self.options.min_active, require_significant=self.options.require_significant
        )
        features = add_clusters(features, table.scores if self.options.one_per_cluster else None)
        tier = self._tiers(features)
        best = self._best_first(features, tier).drop_duplicates("cluster")
        rest = _spread(features[(tier == 3) & ~features["cluster"].isin(best["cluster"])])
        n_rest = min(len(rest), max(int(limit * self.options.diverse_share), limit - len(best)))
        chosen = [*_rows(best.head(limit - n_rest)), *_rows(rest.head(n_rest))]
        return [Selected(Feature(row.layer, row.tokens, row.feature), row.tier, _reason(row)) for row in chosen]

    def _tiers(self, features: pd.DataFrame) -> Any:
        ms, size = features["ms"], features["size"]
        elite = (ms >= self.options.ms_elite) & (size >= self.options.r_elite)
        good = (ms >= self.options.ms_good) | (size >= self.options.r_good)
        return np.select([elite, good], [1, 2], default=3)

    def _best_first(self, features: pd.DataFrame, tier: Any) -> pd.DataFrame:
        options = self.options
        weaker = np.fmin(features["ms"] / options.ms_elite, features["size"] / options.r_elite)
        stronger = np.fmax(features["ms"] / options.ms_good, features["size"] / options.r_good)
        ranked = features.assign(tier=tier, strength=np.where(tier == 1, weaker, stronger))[tier < 3]
        return ranked.sort_values(["tier", "strength", *KEYS], ascending=[True, False, True, True, True])


def _spread(rest: pd.DataFrame) -> pd.DataFrame:
    """Ordered so that every head of it covers spaces and frequencies as evenly as it can."""
    worth = "ms" if rest["ms"].notna().any() else "max"
    rest = rest[rest[worth].notna()].assign(tier=3)
    rest = rest.sort_values([worth, *KEYS], ascending=[False, True, True, True]).drop_duplicates("cluster")
    frequency = rest.groupby(["layer", "tokens"], observed=True)["n_active"].rank(pct=True)
    cells = ["layer", "tokens", rest.assign(band=np.ceil(frequency * FREQUENCY_BANDS))["band"]]
    by_cell = rest.groupby(cells, observed=True)
    rest = rest.assign(
        turn=by_cell.cumcount(), least=by_cell["n_active"].transform("min"), most=by_cell["n_active"].transform("max")
    )
    return rest.sort_values(["turn", worth, *KEYS], ascending=[True, False, True, True, True])


def _rows(features: pd.DataFrame) -> Any:
    return features.astype({"layer": int, "tokens": object, "feature": int}).itertuples(index=False)


def _reason(row: Any) -> str:
    """In words, for instance `MS 0.61, r -0.31 with valence (q 0.002); stands for 2 more that fire with it`."""
    copies = f"; stands for {int(row.others)} more that fire with it" if row.others else ""
    parts = [] if np.isnan(row.ms) else [f"MS {row.ms:.2f}"]
    if not np.isnan(row.r):
        adjusted = "" if np.isnan(row.q) else f" (q {row.q:.1g})"
        parts.append(f"r {row.r:.2f} with {row.rating}{adjusted}")
    if row.tier < 3:
        return ", ".join(parts) + copies
    if np.isnan(row.ms):
        parts.append(f"activation up to {row.max:.3g}")
    place = f"layer{row.layer}.{row.tokens} features that fire on {row.least} to {row.most} images"
    return f"{', '.join(parts)}; high for {place}{copies}"
