"""Chooses the features worth a name, in three tiers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from saeviz import (
    KEYS,
    Context,
    ScoreTable,
    Selected,
    TierCutoff,
    feature_of,
    measure_of,
    relation_prefixes,
    relation_words,
)
from saeviz_tiered import TieredOptions
from saeviz_tiered.clusters import add_clusters
from saeviz_tiered.dealing import deal
from saeviz_tiered.evidence import gather_features, gather_relations

if TYPE_CHECKING:
    import pandas as pd

FREQUENCY_BANDS = 4
SPACE = [key for key in KEYS if key != "feature"]
"""The columns that name the space of a feature."""
DOCUMENT_CUTOFFS = [0.35, 0.50]
"""Used if the scorer reports none: 1 and 2 standard deviations above random pairs, for DINOv2 on one data set."""


class TieredSelector:
    """Tier 1: monosemantic and correlated. Tier 2: either. Tier 3: significant but weaker, and a sample of the rest.

    A feature's tier depends on its own numbers only; the limit decides how many are selected. Its strongest correlation
    is the largest |r| among significant ones, or among all if none is significant. The cut-offs of MS are those that
    the scorer reports, unless the options give others.

    Features of tiers 1 and 2, and others with a significant correlation, are chosen as `deal` says: half of them are
    the strongest of the run, the rest fair shares of the ratings and of monosemanticity. The remaining features are
    spread over the feature space: those of every space are cut into four bands by how often they fire, and
    each band in turn gives its most monosemantic feature (its most active one in a run without monosemanticity). They
    get `diverse_share` of the limit; places that one part cannot fill go to the other. Within a tier the strongest come
    first.

    Features that fire together (the column `cluster` of the scorer `redundancy`) count once, in all tiers: the
    strongest one of the best tier is selected and represents the others.

    Correlations that were not tested (no q: too few active images) do not count.
    """

    def __init__(self, options: TieredOptions, context: Context) -> None:
        self.options = options
        self.context = context

    @property
    def n_halves(self) -> int:
        """On how many halves of the images the selection is repeated."""
        return self.options.stability

    def select(self, table: ScoreTable, limit: int | None = None) -> list[Selected]:
        """At most `limit` features (default: the option), best first; equally good ones by layer, tokens, index.

        Raises `ConfigError` if no scorer of the run gives what the requirement needs.
        """
        limit = self.options.limit if limit is None else limit
        relations = gather_relations(table, self.options.require)
        features = gather_features(table, relations, min_active=self.options.min_active)
        features = add_clusters(features, table.scores if self.options.one_per_cluster else None)
        ms_good, ms_elite = self._ms_cutoffs(table.facts)
        features = features.assign(tier=self._tiers(features, ms_good, ms_elite))
        best = _strongest_first(features[(features["tier"] < 3) | features["found"]]).drop_duplicates("cluster")
        rest = _spread(features[(features["tier"] == 3) & ~features["cluster"].isin(best["cluster"])])
        reserved = math.floor(round(limit * self.options.diverse_share, 6))  # .29 of 100 is 28.999... in a float
        n_rest = min(len(rest), max(reserved, limit - len(best)))
        telling = relations[relations["found"] | (relations["size"] >= self.options.r_good)]
        best = _strongest_first(deal(best, telling, limit - n_rest, ms_good=ms_good))
        chosen = [*_rows(best), *_rows(rest.head(n_rest))]
        measure = measure_of(next(iter(relation_prefixes(table.correlations)), ""), table.facts)
        return [
            Selected(
                feature_of(row._asdict()),
                row.tier,
                _reason(row, measure),
                None if np.isnan(row.r) else row.rating,
            )
            for row in chosen
        ]

    def tier_cutoffs(self, facts: Mapping[str, Any]) -> list[TierCutoff]:
        """Tier 1 requires both, tier 2 one of them."""
        good, elite = self._ms_cutoffs(facts)
        return [TierCutoff(1, elite, self.options.r_elite), TierCutoff(2, good, self.options.r_good, either=True)]

    def _ms_cutoffs(self, facts: Mapping[str, Any]) -> tuple[float, float]:
        """Monosemanticity from which a feature is good and elite: by option, else as the scorer reports."""
        reported = facts.get("monosemanticity_cutoffs")
        if not (isinstance(reported, list) and len(reported) == 2 and all(isinstance(one, float) for one in reported)):
            reported = DOCUMENT_CUTOFFS
        good, elite = self.options.ms_good, self.options.ms_elite
        return reported[0] if good is None else good, reported[1] if elite is None else elite

    def _tiers(self, features: pd.DataFrame, ms_good: float, ms_elite: float) -> Any:
        ms, size = features["ms"], features["size"]
        elite = (ms >= ms_elite) & (size >= self.options.r_elite)
        good = (ms >= ms_good) | (size >= self.options.r_good)
        return np.select([elite, good], [1, 2], default=3)


def _strongest_first(features: pd.DataFrame) -> pd.DataFrame:
    """By tier, within a tier by |r|, then by monosemanticity."""
    ranked = features.assign(size=features["size"].astype(float).fillna(0.0))
    return ranked.sort_values(["tier", "size", "ms", *KEYS], ascending=[True, False, False, *[True] * len(KEYS)])


def _spread(rest: pd.DataFrame) -> pd.DataFrame:
    """Ordered so that the first n cover spaces and frequencies as evenly as possible, for every n."""
    worth = "ms" if rest["ms"].notna().any() else "max"
    rest = rest[rest[worth].notna()]
    rest = rest.sort_values([worth, *KEYS], ascending=[False, *[True] * len(KEYS)]).drop_duplicates("cluster")
    frequency = rest.groupby(SPACE, observed=True)["n_active"].rank(pct=True)
    cells = [*SPACE, rest.assign(band=np.ceil(frequency * FREQUENCY_BANDS))["band"]]
    by_cell = rest.groupby(cells, observed=True)
    rest = rest.assign(
        turn=by_cell.cumcount(), least=by_cell["n_active"].transform("min"), most=by_cell["n_active"].transform("max")
    )
    return rest.sort_values(["turn", worth, *KEYS], ascending=[True, False, *[True] * len(KEYS)])


def _rows(features: pd.DataFrame) -> Any:
    return features.astype({"feature": int}).itertuples(index=False)


def _reason(row: Any, measure: str) -> str:
    """For instance `MS 0.61, r -0.31 with valence (q 0.002); represents 2 more that fire with it`."""
    fire = "fires" if row.others == 1 else "fire"
    copies = f"; represents {int(row.others)} more that {fire} with it" if row.others else ""
    parts = [] if np.isnan(row.ms) else [f"MS {row.ms:.2f}"]
    if not np.isnan(row.r):
        adjusted = "" if np.isnan(row.q) else f" (q {row.q:.1g})"
        parts.append(f"{relation_words(row.rating, row.r, measure)}{adjusted}")
    if not hasattr(row, "turn"):  # chosen for what it says, not as one of the sample
        return ", ".join(parts) + copies
    if np.isnan(row.ms):
        parts.append(f"activation up to {row.max:.3g}")
    place = f"{feature_of(row._asdict()).space_name} features that fire on {row.least} to {row.most} images"
    return f"{', '.join(parts)}; high for {place}{copies}"
