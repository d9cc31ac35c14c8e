"""Scorer `monosemanticity`: its three definitions, written out as double loops over pairs of images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.sparse import csr_array

import saeviz
from saeviz import ConfigError, FeatureBatch, FeatureSpace, FeatureStream, ScoreColumn, ScoreInput
from saeviz.testing import ScorerContract
from saeviz_monosemanticity import MonosemanticityOptions
from saeviz_monosemanticity.baseline import measure_baseline
from saeviz_monosemanticity.scorer import Monosemanticity

DEFINITIONS = ("top-k", "global", "top-k-global-weights")


def make_input(dense, embeddings, size=64, layer=7):
    dense = np.asarray(dense, dtype=np.float32)
    space = FeatureSpace(layer, "cls", dense.shape[1])
    ids = tuple(f"image {i:03d}" for i in range(len(dense)))

    def read():
        for start in range(0, len(dense), size):
            rows = slice(start, start + size)
            yield FeatureBatch(space, ids[rows], csr_array(dense[rows]))

    return ScoreInput(space, ids, FeatureStream(space, read), embeddings, {})


def make_scorer(seed=0, **options):
    return Monosemanticity(MonosemanticityOptions(**options), saeviz.Context(seed=seed))


def score(data, **options):
    """Columns and facts by name."""
    results = list(make_scorer(**options).score(data))
    return {r.name: r.values if isinstance(r, ScoreColumn) else r.value for r in results}


def pair_loop(activations, embeddings, definition, top_k, *, self_pairs=False):
    """The weighted mean cosine of one feature's pairs of images, as the definitions are written."""
    images = sorted(range(len(activations)), key=lambda n: -activations[n])
    scale = images = images[:top_k] if definition != "global" else images
    if definition != "top-k":
        scale = range(len(activations))
    low, high = min(activations[n] for n in scale), max(activations[n] for n in scale)
    if low == high:
        return np.nan
    weight = {n: (float(activations[n]) - float(low)) / (float(high) - float(low)) for n in images}
    if sum(value > 0 for value in weight.values()) < (1 if self_pairs else 2):
        return np.nan
    total = norm = 0.0
    for n in images:
        for m in images:
            if n != m or self_pairs:
                e_n, e_m = embeddings[n].astype(float), embeddings[m].astype(float)
                cosine = e_n @ e_m / np.sqrt((e_n @ e_n) * (e_m @ e_m))
                total += weight[n] * weight[m] * cosine
                norm += weight[n] * weight[m]
    return total / norm


@pytest.fixture
def hard_data():
    """40 images; features on none, 1, 2, 3, 19, 20, 21 or all images, constant, with ties, and dominated by one."""
    generator = np.random.default_rng(0)
    embeddings = generator.normal(size=(40, 6)).astype(np.float32) * generator.exponential(size=(40, 1))
    features = np.zeros((40, 14))
    for feature, count in enumerate((0, 1, 2, 3, 5, 19, 20, 21, 40)):
        features[generator.choice(40, count, replace=False), feature] = generator.gamma(2.0, size=count)
    features[:, 9] = 0.7
    features[:, 10] = generator.integers(0, 3, 40)
    features[:25, 11] = 2.0
    features[3:5, 12] = 1.0, 1e-6
    features[:, 13] = 100 + generator.random(40)
    return features.astype(np.float32), embeddings.astype(np.float32)


@pytest.mark.parametrize("self_pairs", [False, True])
@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("top_k", [3, 20, 100])
def test_equals_the_double_loop_over_pairs(hard_data, definition, top_k, self_pairs):
    features, embeddings = hard_data
    found = score(make_input(features, embeddings), definition=definition, top_k=top_k, include_self_pairs=self_pairs)
    expected = [pair_loop(column, embeddings, definition, top_k, self_pairs=self_pairs) for column in features.T]

    np.testing.assert_allclose(found["monosemanticity"], expected, rtol=1e-9, atol=1e-9)
    assert np.isnan(expected).any()
    assert np.isfinite(expected).any()


def test_a_feature_that_fires_on_fewer_than_k_images_is_scaled_from_silence(hard_data):
    features, embeddings = hard_data
    found = score(make_input(features, embeddings))["monosemanticity"]
    one, other = np.flatnonzero(features[:, 2])
    cosine = embeddings[one] @ embeddings[other] / np.linalg.norm(embeddings[one]) / np.linalg.norm(embeddings[other])

    np.testing.assert_allclose(found[2], cosine, rtol=1e-6)


def test_undefined_scores_are_nan_without_a_class(hard_data):
    features, embeddings = hard_data
    found = score(make_input(features, embeddings))

    undefined = np.isnan(found["monosemanticity"])
    assert undefined[[0, 1, 9, 11]].all()  # never on, on once, constant, constant within the top 20
    np.testing.assert_array_equal(found["ms_class"] == "", undefined)


def test_pairs_that_weigh_next_to_nothing_are_no_score():
    features = np.array([[1, 1], [1e-14, 1e-8], [0, 0]])
    embeddings = np.array([[1, 0], [1, 1], [0, 1]], dtype=np.float32)
    found = score(make_input(features, embeddings))["monosemanticity"]

    np.testing.assert_allclose(found, [np.nan, np.sqrt(0.5)], rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), size=st.integers(1, 30), definition=st.sampled_from(DEFINITIONS))
def test_neither_batch_size_nor_order_of_images_matters(seed, size, definition):
    generator = np.random.default_rng(seed)
    features = generator.gamma(2.0, size=(30, 8)) * (generator.random((30, 8)) < 0.6)
    embeddings = generator.normal(size=(30, 4)).astype(np.float32)
    order = generator.permutation(30)
    whole = score(make_input(features, embeddings, 30), definition=definition, top_k=5)
    pieces = score(make_input(features[order], embeddings[order], size), definition=definition, top_k=5)

    np.testing.assert_allclose(pieces["monosemanticity"], whole["monosemanticity"], rtol=1e-9, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    scale=st.floats(1e-3, 1e3),
    definition=st.sampled_from(DEFINITIONS),
)
def test_scaling_activations_or_embeddings_changes_nothing_and_scores_are_cosines(seed, scale, definition):
    generator = np.random.default_rng(seed)
    features = generator.gamma(2.0, size=(25, 6)) * (generator.random((25, 6)) < 0.5)
    embeddings = generator.normal(size=(25, 4))
    plain = score(make_input(features, embeddings.astype(np.float32)), definition=definition)["monosemanticity"]
    scaled = score(make_input(features * scale, (embeddings * scale).astype(np.float32)), definition=definition)[
        "monosemanticity"
    ]

    np.testing.assert_allclose(scaled, plain, rtol=1e-4, atol=1e-5)
    assert (np.abs(plain[np.isfinite(plain)]) <= 1 + 1e-9).all()


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_identical_images_score_one_and_opposite_ones_minus_one(definition):
    features = np.zeros((6, 2))
    features[:3, 0] = 3, 2, 1
    features[4:, 1] = 1
    embeddings = np.array([[2, 0], [5, 0], [1, 0], [0, 9], [0, 1], [0, -7]], dtype=np.float32)
    found = score(make_input(features, embeddings), definition=definition, thresholds="document")

    np.testing.assert_allclose(found["monosemanticity"], [1, -1], rtol=1e-12)
    np.testing.assert_array_equal(found["ms_class"], ["monosemantic", "polysemantic"])


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("size", [1, 7, 40])
def test_images_without_embedding_are_left_out_as_if_the_run_did_not_have_them(hard_data, definition, size):
    features, embeddings = hard_data
    gappy = embeddings.copy()
    gappy[[0, 11, 39]] = np.nan
    gappy[7] = 0
    gappy[8, 2] = np.inf
    kept = np.setdiff1d(np.arange(40), [0, 7, 8, 11, 39])
    found = score(make_input(features, gappy, size), definition=definition)
    expected = score(make_input(features[kept], embeddings[kept]), definition=definition)

    np.testing.assert_allclose(found["monosemanticity"], expected["monosemanticity"], rtol=1e-12)
    assert found["monosemanticity_images"] == 35
    assert found["monosemanticity_baseline_mean"] == pytest.approx(expected["monosemanticity_baseline_mean"])


@pytest.mark.parametrize(("n_usable", "n"), [(0, 5), (1, 5), (1, 1), (0, 0)])
@pytest.mark.parametrize("definition", DEFINITIONS)
def test_without_two_embedded_images_every_score_is_nan_and_a_warning_says_so(caplog, definition, n_usable, n):
    embeddings = np.full((n, 3), np.nan, dtype=np.float32)
    embeddings[:n_usable] = 1
    found = score(make_input(np.ones((n, 2)), embeddings), definition=definition, thresholds="calibrated")

    assert np.isnan(found["monosemanticity"]).all()
    assert f"{n_usable} of {n} images have a usable embedding" in caplog.text
    assert "monosemanticity_baseline_mean" not in found


def test_a_run_without_embeddings_is_told_how_to_get_them():
    with pytest.raises(ConfigError, match=r"scorers\.monosemanticity.*\[embeddings\].*use = \"dinov2\""):
        score(make_input(np.ones((3, 2)), None))


def test_the_baseline_of_few_images_is_that_of_all_their_pairs(hard_data):
    features, embeddings = hard_data
    found = score(make_input(features, embeddings))
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosines = [unit[n] @ unit[m] for n in range(40) for m in range(n)]

    assert found["monosemanticity_baseline_pairs"] == 780
    assert found["monosemanticity_baseline_mean"] == pytest.approx(np.mean(cosines), abs=1e-6)
    assert found["monosemanticity_baseline_sd"] == pytest.approx(np.std(cosines), abs=1e-6)


def test_the_baseline_of_many_images_is_that_of_random_pairs_of_different_images():
    generator = np.random.default_rng(2)
    unit = generator.normal(size=(400, 8)) + 0.7
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    baseline = measure_baseline(unit, seed=3)
    cosines = (unit @ unit.T)[~np.eye(400, dtype=bool)]

    assert baseline.n_pairs == 50_000
    assert baseline.mean == pytest.approx(cosines.mean(), abs=5 * cosines.std() / np.sqrt(50_000))
    assert baseline.sd == pytest.approx(cosines.std(), rel=0.03)
    assert measure_baseline(unit, seed=3) == baseline
    assert measure_baseline(unit, seed=4) != baseline
    assert measure_baseline(np.eye(400), seed=3).mean == 0  # no image was paired with itself


def test_the_document_cut_offs():
    def feature_with(cosine):
        return np.array([[1, 0], [cosine, np.sqrt(1 - cosine**2)]], dtype=np.float32)

    classes = {}
    for cosine in (0.349, 0.351, 0.499, 0.501):
        data = make_input(np.array([[1.0], [1.0], [0.0]]), np.vstack([feature_with(cosine), [[1, 1]]]))
        found = score(data, thresholds="document")
        classes[cosine] = str(found["ms_class"][0])
        assert found["monosemanticity_cutoffs"] == [0.35, 0.5]

    assert classes == {0.349: "polysemantic", 0.351: "moderate", 0.499: "moderate", 0.501: "monosemantic"}


def test_without_a_word_the_run_s_own_pairs_decide(hard_data):
    by_default = score(make_input(*hard_data))
    assert by_default["monosemanticity_thresholds"] == "calibrated"
    assert (
        by_default["monosemanticity_cutoffs"]
        == score(make_input(*hard_data), thresholds="calibrated")["monosemanticity_cutoffs"]
    )


def test_the_calibrated_cut_offs_are_one_and_two_deviations_above_the_run_s_own_mean(hard_data):
    features, embeddings = hard_data
    found = score(make_input(features, embeddings), thresholds="calibrated")
    mean, sd = found["monosemanticity_baseline_mean"], found["monosemanticity_baseline_sd"]
    low, high = found["monosemanticity_cutoffs"]
    ms = found["monosemanticity"]

    assert (low, high) == (pytest.approx(mean + sd), pytest.approx(mean + 2 * sd))
    np.testing.assert_array_equal(found["ms_class"] == "monosemantic", ms >= high)
    np.testing.assert_array_equal(found["ms_class"] == "moderate", (ms >= low) & (ms < high))
    np.testing.assert_array_equal(found["ms_class"] == "polysemantic", ms < low)


@pytest.mark.parametrize(("thresholds", "warns"), [("calibrated", True), ("document", False)])
def test_a_class_that_no_score_can_reach_is_said(caplog, thresholds, warns):
    """Ten images alike and two of another kind: two standard deviations above the mean cosine is more than 1."""
    embeddings = np.array([[1.0, 0.0]] * 10 + [[0.0, 1.0]] * 2)
    found = score(make_input(np.eye(12), embeddings), thresholds=thresholds)
    assert ("no feature can be monosemantic" in caplog.text) == warns
    assert (found["monosemanticity_cutoffs"][1] > 1) == warns


def test_the_facts_name_the_definition(hard_data):
    top, everything = (score(make_input(*hard_data), definition=name, top_k=7) for name in ("top-k", "global"))

    assert (top["monosemanticity_definition"], top["monosemanticity_top_k"]) == ("top-k", 7)
    assert everything["monosemanticity_definition"] == "global"
    assert "monosemanticity_top_k" not in everything


def test_the_baseline_is_measured_once_for_all_spaces(hard_data):
    features, embeddings = hard_data
    scorer = make_scorer()
    first = [r.name for r in scorer.score(make_input(features, embeddings))]
    second = list(scorer.score(make_input(features[:, ::-1], embeddings, layer=8)))

    assert "monosemanticity_baseline_mean" in first
    assert all(isinstance(result, ScoreColumn) for result in second)


def test_coherent_features_stand_out_from_random_ones():
    generator = np.random.default_rng(8)
    concept = generator.normal(size=16)
    shows_it = generator.random(300) < 0.2
    embeddings = (generator.normal(size=(300, 16)) + 2 * shows_it[:, None] * concept).astype(np.float32)
    features = np.column_stack([shows_it, generator.random(300) < 0.2]) * generator.gamma(2.0, size=(300, 2))

    for definition in DEFINITIONS:
        coherent, random = score(make_input(features, embeddings), definition=definition)["monosemanticity"]
        assert coherent > 0.6
        assert random < 0.4


@pytest.mark.parametrize("wrong", [{"definition": "topk"}, {"top_k": 2}, {"thresholds": "mine"}, {"topk": 20}])
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ValidationError):
        MonosemanticityOptions(**wrong)


class TestContract(ScorerContract):
    component = Monosemanticity

    @pytest.fixture(params=DEFINITIONS)
    def make(self, request):
        return lambda context: Monosemanticity(MonosemanticityOptions(definition=request.param, top_k=5), context)
