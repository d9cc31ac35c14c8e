"""The contract of scorers, and what this one is about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import saeviz_enrichment
from saeviz_enrichment import Enrichment, EnrichmentOptions, saeviz_scorers
from scipy.stats import fisher_exact

import saeviz
from saeviz.testing import ScorerContract, run_with
from saeviz.testing.data import score_input


class TestEnrichment(ScorerContract):
    """All that saeviz expects of a scorer."""

    component = Enrichment
    declares = next(saeviz_scorers()).columns

    @pytest.fixture
    def make(self) -> Callable[[saeviz.Context], saeviz.Scorer]:
        """How the suite builds it."""
        return lambda context: Enrichment(EnrichmentOptions(), context)


def columns(data: saeviz.ScoreInput, **options: object) -> dict[str, np.ndarray]:
    """The columns about `liking`, by name."""
    found = Enrichment(EnrichmentOptions(**options), saeviz.Context()).score(data)
    return {column.name: column.values for column in found if column.target == "liking"}


def test_it_is_fishers_test_on_the_top_images() -> None:
    """Feature 2 makes the rating of this data; every fifth image is not rated."""
    data = score_input()
    found = columns(data, top_images=10, share=0.25)
    liking = data.ratings["liking"]
    activations = data.features.matrix().toarray()[:, 2]
    top = np.zeros(data.n_items, bool)
    top[np.argsort(-activations, kind="stable")[:10]] = True
    rated = np.isfinite(liking)
    high = liking >= np.quantile(liking[rated], 0.75)
    table = [[np.sum(a & b & rated) for b in (high, ~high)] for a in (top, ~top)]
    assert found["enrichment_p"][2] == pytest.approx(fisher_exact(table, "greater").pvalue)
    assert found["enrichment_lift"][2] > 2


def test_a_silent_feature_has_no_score_and_other_images_do_not_matter() -> None:
    """Feature 0 never fires; ratings of images in the middle may change without any effect."""
    data = score_input()
    found = columns(data, share=0.25)
    assert np.isnan(found["enrichment_p"][0])
    assert np.isnan(found["enrichment_lift"][0])
    liking = data.ratings["liking"]
    low = np.nan_to_num(liking, nan=np.inf) < np.nanquantile(liking, 0.5)
    again = columns(replace(data, ratings={"liking": np.where(low, liking - 5, liking)}), share=0.25)
    np.testing.assert_allclose(again["enrichment_p"], found["enrichment_p"])


def test_a_run_has_the_columns_and_says_what_they_are(tmp_path: Path) -> None:
    """Every rating has a lift, and q is never below p."""
    run = run_with(saeviz_enrichment, tmp_path / "run", top_images=4)
    table = run.correlations.dropna(subset="enrichment_p")
    assert set(table["rating"]) == set(run.ratings)
    assert (table["enrichment_q"] >= table["enrichment_p"]).all()
    assert run.columns["correlations"]["enrichment_lift"].better == "higher"
