"""Bundled scorers whose scores are computed from parts of the images."""

from __future__ import annotations

import numpy as np
import pytest

import saeviz
from saeviz.testing import MergingScorerContract
from saeviz.testing.data import score_input
from saeviz_correlation.options import BootstrapOptions, LinearOptions, PartialOptions
from saeviz_correlation.partial import Partial
from saeviz_correlation.scorer import PearsonBH, PointBiserial


class TestPearson(MergingScorerContract):
    @pytest.fixture
    def make(self):
        return lambda context: PearsonBH(LinearOptions(), context)


class TestPointBiserialWithASplit(MergingScorerContract):
    @pytest.fixture
    def make(self):
        return lambda context: PointBiserial(LinearOptions(split=0.6), context)


class TestPartial(MergingScorerContract):
    @pytest.fixture
    def make(self):
        return lambda context: Partial(PartialOptions(control=["calm"]), context)


@pytest.mark.parametrize(
    ("options", "groups"),
    [
        (BootstrapOptions(correction="max-t"), 0),
        (BootstrapOptions(errors="hc2"), 0),
        (BootstrapOptions(), 30),
        (BootstrapOptions(bootstrap=200), 0),
    ],
)
def test_what_needs_all_images_of_a_feature_does_not_merge(options, groups):
    scorer = PearsonBH(options, saeviz.Context())
    assert scorer.in_parts(score_input(60, groups=groups)) is None


@pytest.mark.parametrize("constant", [0.1, 1e6 + 0.1])
def test_a_constant_feature_has_no_r_however_images_are_divided(constant):
    data = score_input(2500, 3, ratings=("liking",))
    matrix = np.full((2500, 3), constant)
    matrix[::3, 0] += constant * 1e-6
    batch = saeviz.FeatureBatch(data.space, data.item_ids, matrix)
    data = saeviz.ScoreInput(
        data.space, data.item_ids, saeviz.FeatureStream(data.space, lambda: iter([batch])), None, data.ratings
    )
    r = next(column for column in PearsonBH(LinearOptions(), saeviz.Context()).score(data) if column.name == "r")
    assert np.isfinite(r.values[0])
    assert np.isnan(r.values[1])
    rated = np.isfinite(data.ratings["liking"])
    expected = np.corrcoef(batch.matrix.toarray()[rated, 0].astype(float), data.ratings["liking"][rated])[0, 1]
    assert r.values[0] == pytest.approx(expected, rel=1e-7)
