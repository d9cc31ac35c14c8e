"""The whole job on real photographs with real ratings, a real vision transformer and an SAE in the published format.

The expected counts are those that were published with the SAE, from an independent computation.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

import saeviz
from tests.conftest import SHARED

pytestmark = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the folder of real photographs and weights is not beside the repository"
)

RUN_FILE = f"""
[run]
dir = "run"
[images]
path = "{SHARED / "oasis" / "images"}"
ratings = "{SHARED / "oasis" / "ratings.csv"}"
rating_columns = ["valence", "arousal", "beauty"]
[extractor]
use = "vit-sae"
model = "{SHARED / "models" / "vit-s14"}"
layers = [8]
tokens = ["patch-max", "cls"]
[extractor.saes]
8 = "{SHARED / "models" / "sae-vit-s14-block8"}"
[embeddings]
use = "timm"
model = "{SHARED / "models" / "efficientnet-lite0"}"
[[scorers]]
use = "monosemanticity"
thresholds = "calibrated"
[[scorers]]
use = "pearson-bh"
[[scorers]]
use = "redundancy"
[labeler]
use = "metadata-terms"
columns = ["theme"]
"""

PUBLISHED = {
    ("cls", "valence"): (105, 35, 16, 0.244),
    ("cls", "arousal"): (105, 43, 19, 0.326),
    ("cls", "beauty"): (105, 48, 20, 0.307),
    ("patch-max", "valence"): (3069, 443, 308, 0.231),
    ("patch-max", "arousal"): (3069, 980, 743, 0.395),
    ("patch-max", "beauty"): (3069, 1301, 732, 0.354),
}
"""Features tested, significant within pooling and rating, of these positive, largest |r|."""


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> saeviz.Run:
    folder: Path = tmp_path_factory.mktemp("photographs")
    (folder / "oasis.toml").write_text(RUN_FILE)
    return saeviz.run(folder / "oasis.toml")


def test_nothing_is_left_out(run):
    assert run.failures == []
    assert len(run.items) == 659
    assert run.ratings == ["valence", "arousal", "beauty"]


def test_as_many_features_fire_as_published(run):
    scores = run.scores.assign(live=run.scores["n_active"] > 0, always=run.scores["n_active"] == 659)
    assert scores.groupby("tokens")["live"].sum().to_dict() == {"cls": 757, "patch-max": 3072}
    assert scores.groupby("tokens")["always"].sum().to_dict() == {"cls": 8, "patch-max": 9}
    per_image = {str(space): run.features(space).matrix.nnz / 659 for space in run.spaces}
    assert per_image["layer8.cls"] == pytest.approx(40, abs=1e-9), "top-k with k = 40"
    assert per_image["layer8.patch-max"] == pytest.approx(934, abs=1)


@pytest.mark.parametrize(("tokens", "rating"), PUBLISHED)
def test_correlations_are_the_published_ones(run, tokens, rating):
    """Within a pooling and rating, as the figures were published; a feature at the edge may fall either way."""
    table = run.correlations
    family = table[(table["tokens"] == tokens) & (table["rating"] == rating) & table["q"].notna()]
    rejected = multipletests(family["p"], 0.05, "fdr_bh")[0]
    tested, significant, positive, largest = PUBLISHED[tokens, rating]
    assert len(family) == tested
    assert rejected.sum() == pytest.approx(significant, abs=2)
    assert (family["r"][rejected] > 0).sum() == pytest.approx(positive, abs=2)
    assert family["r"].abs().max() == pytest.approx(largest, abs=1e-3)


def test_the_family_is_the_whole_run(run):
    members = run.correlations.dropna(subset="q")
    assert len(members) == 3 * (105 + 3069)
    expected = multipletests(members["p"], 0.05, "fdr_bh")[1]
    pd.testing.assert_series_equal(members["q"], pd.Series(expected, members.index), check_names=False, rtol=1e-9)


def test_the_baseline_is_that_of_the_embedding(run):
    """Mean and sd of the cosine of two different images, published over all 216,811 pairs."""
    assert run.facts["monosemanticity_baseline_mean"] == pytest.approx(0.2329, abs=0.002)
    assert run.facts["monosemanticity_baseline_sd"] == pytest.approx(0.0791, abs=0.002)


def test_clusters_are_those_of_all_pairs(run):
    """Every member correlates with its leader; of no two leaders one could have joined the other."""
    features = np.hstack([run.features(space).matrix.toarray() for space in run.spaces]).astype(float)
    cluster = run.scores["cluster"].to_numpy()
    considered = np.flatnonzero(~np.isnan(cluster))
    assert len(considered) == 105 + 3069
    leaders, members = (considered[(cluster[considered] == considered) == lead] for lead in (True, False))
    assert len(members) >= 5
    r = np.corrcoef(features[:, leaders].T)
    assert np.max(r - np.eye(len(r))) < 0.8
    for member in members:
        assert np.corrcoef(features[:, member], features[:, int(cluster[member])])[0, 1] >= 0.8


def test_labels_say_what_is_on_the_top_images(run):
    """The features that are most of one thing; the words come from the themes, which the model never saw."""
    words = {label.label for label in run.labels.values()}
    assert any("face" in label for label in words)
    assert any("rocks" in label for label in words)
    assert any("sunset" in label for label in words)
    for feature, label in list(run.labels.items())[:20]:
        themes = " ".join(image.item.metadata["theme"].lower() for image in run.top_images(feature))
        assert all(word in themes for word in label.label.split(", ")[0].split())


def test_the_report_shows_every_selected_feature(run):
    page = (run.dir / "report" / "index.html").read_text()
    assert len(run.selected) == 200
    assert all(str(choice.feature) in page for choice in run.selected)


def test_a_heatmap_of_one_photograph(run):
    feature = next(choice.feature for choice in run.selected if choice.feature.tokens == "patch-max")
    best = run.top_images(feature, k=1)[0]
    heatmap = run.heatmap(feature, best.item.item_id)
    assert heatmap.shape == (16, 16)
    assert heatmap.max() == pytest.approx(best.activation, rel=1e-3)
