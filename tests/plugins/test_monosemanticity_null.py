"""The null of `monosemanticity`: a feature's own weights on random images, against permutations written out."""

from __future__ import annotations

import tracemalloc
from itertools import permutations

import numpy as np
import pytest
from scipy import stats
from scipy.sparse import csr_array, random_array

import saeviz
from saeviz import FeatureBatch, FeatureSpace, FeatureStream, ScoreColumn, ScoreInput
from saeviz_monosemanticity import MonosemanticityOptions
from saeviz_monosemanticity.cosines import Cosines
from saeviz_monosemanticity.draws import draw_p_values, random_sets
from saeviz_monosemanticity.embeddings import UnitVectors
from saeviz_monosemanticity.null import null_skewness, null_variance, tail_probability
from saeviz_monosemanticity.scorer import Monosemanticity

DEFINITIONS = ("top-k", "global", "top-k-global-weights")


def make_input(features, embeddings, *, ids=None, size=64, layer=7, second=None):
    matrix = csr_array(features, dtype=np.float32)
    space = FeatureSpace(layer, "cls", matrix.shape[1])
    ids = ids or tuple(f"image {i:06d}" for i in range(matrix.shape[0]))

    def read():
        for start in range(0, len(ids), size):
            rows = slice(start, start + size)
            yield FeatureBatch(space, ids[rows], matrix[rows])

    embeddings = np.asarray(embeddings, dtype=np.float32)
    return ScoreInput(space, ids, FeatureStream(space, read), embeddings, {}, second_embeddings=second)


def score(*inputs, seed=0, **options):
    """What a run gets, by name; columns of several spaces joined."""
    scorer = Monosemanticity(MonosemanticityOptions(**options), saeviz.Context(seed=seed))
    results = [result for data in inputs for result in scorer.score(data)]
    columns = [result for result in results if isinstance(result, ScoreColumn)]
    results += scorer.combine(columns)
    found = {}
    for result in results:
        if isinstance(result, ScoreColumn):
            found[result.name] = np.concatenate([found.get(result.name, result.values[:0]), result.values])
        else:
            found[result.name] = result.value
    return found


def clustered(generator, n, dim, n_clusters):
    """Embeddings in clusters, as of a set of pictures with series of alike ones: their cosines are skewed."""
    centres = 1.5 * generator.normal(size=(n_clusters, dim))
    return centres[generator.integers(n_clusters, size=n)] + generator.normal(size=(n, dim)) + 0.5


def sparse_features(generator, n, n_features, share=0.5):
    return generator.gamma(2.0, size=(n, n_features)) * (generator.random((n, n_features)) < share)


def weights_on(n_features, k, generator):
    weights = np.sort(generator.exponential(size=(n_features, k)), axis=1)[:, ::-1]
    weights = weights - weights[:, -1:]
    return weights / weights[:, :1]


def powers_of(weights):
    return np.array([(weights > 0).sum(axis=1), *((weights**e).sum(axis=1) for e in range(1, 7))], dtype=float)


@pytest.mark.parametrize("self_pairs", [False, True])
@pytest.mark.parametrize("definition", DEFINITIONS)
def test_mean_and_spread_are_those_of_all_permutations_of_the_images(definition, self_pairs):
    generator = np.random.default_rng(1)
    features = sparse_features(generator, 5, 5, 0.7)
    features[:, 0] = [3, 1, 0, 0, 0]
    embeddings = generator.normal(size=(5, 3)) + 0.4
    options = {"definition": definition, "include_self_pairs": self_pairs, "top_k": 4}
    found = score(make_input(features, embeddings), **options)
    shuffled = np.array(
        [
            score(make_input(features, embeddings[list(order)]), draws=0, **options)["monosemanticity"]
            for order in permutations(range(5))
        ]
    )

    scored = np.isfinite(found["ms_z"])
    assert scored.sum() >= 4
    np.testing.assert_allclose(found["ms_null_mean"][scored], shuffled.mean(axis=0)[scored], rtol=1e-6)
    np.testing.assert_allclose(found["ms_null_sd"][scored], shuffled.std(axis=0)[scored], rtol=1e-6)
    z = (found["monosemanticity"] - found["ms_null_mean"]) / found["ms_null_sd"]
    np.testing.assert_allclose(found["ms_z"], z)


@pytest.mark.parametrize("n_weighted", [2, 3, 4, 5, 7])
def test_variance_and_skewness_in_closed_form_are_exact(n_weighted):
    generator = np.random.default_rng(n_weighted)
    embeddings = generator.normal(size=(7, 3)) + 0.5
    weights = np.zeros(7)
    weights[:n_weighted] = generator.random(n_weighted)
    unit = UnitVectors(embeddings.astype(np.float32))
    cosines = unit[:] @ unit[:].T
    np.fill_diagonal(cosines, 0)
    pairs = np.outer(weights, weights)
    np.fill_diagonal(pairs, 0)
    null = [(pairs * cosines[np.ix_(order, order)]).sum() / pairs.sum() for order in permutations(range(7))]

    measured = Cosines(unit, seed=0)
    powers = powers_of(weights[None])
    assert measured.mean == pytest.approx(np.mean(null), rel=1e-9)
    assert null_variance(powers, measured)[0] == pytest.approx(np.var(null), rel=1e-9)
    assert null_skewness(powers, measured)[0] == pytest.approx(stats.skew(null), rel=1e-5, abs=1e-6)


def test_the_closed_form_agrees_with_draws_over_many_images():
    generator = np.random.default_rng(4)
    unit = UnitVectors(clustered(generator, 3000, 16, 30).astype(np.float32))
    weights = weights_on(3, 20, generator)
    sets = random_sets(generator, 3000, 20, 20_000)
    squared = np.array([((w @ unit[sets.ravel()].reshape(*sets.shape, 16)) ** 2).sum(axis=1) for w in weights]).T
    powers, measured = powers_of(weights), Cosines(unit, seed=0)
    null = (squared - powers[2]) / (powers[1] ** 2 - powers[2])

    sd = np.sqrt(null_variance(powers, measured))
    np.testing.assert_allclose(null.mean(axis=0), measured.mean, atol=5 * sd.max() / np.sqrt(20_000))
    np.testing.assert_allclose(null.std(axis=0), sd, rtol=0.03)
    skewness = null_skewness(powers, measured)  # from 2,048 of the 3,000 images
    np.testing.assert_allclose(stats.skew(null), skewness, atol=0.12)
    assert (skewness > 0.3).all()


def test_p_is_calibrated_far_into_the_tail_where_a_normal_tail_is_not():
    generator = np.random.default_rng(5)
    unit = UnitVectors(clustered(generator, 800, 6, 40).astype(np.float32))
    weights = weights_on(4000, 20, generator)
    rows = random_sets(generator, 800, 20, 4000)
    powers, measured = powers_of(weights), Cosines(unit, seed=0)
    squared = ((weights[:, None, :] @ unit[rows.ravel()].reshape(4000, 20, 6)) ** 2).sum(axis=(1, 2))
    scores = (squared - powers[2]) / (powers[1] ** 2 - powers[2])
    z = (scores - measured.mean) / np.sqrt(null_variance(powers, measured))
    by_draws = draw_p_values(weights, scores, unit, 100_000, seed=6)
    approximate = tail_probability(z, powers, measured)

    for share in (0.5, 0.1, 0.01, 0.002):
        tolerance = 4 * np.sqrt(share / 4000) + 0.1 * share
        assert (by_draws <= share).mean() == pytest.approx(share, abs=tolerance)
        assert (approximate <= share).mean() == pytest.approx(share, abs=tolerance + 0.3 * share)
    assert (stats.norm.sf(z) <= 0.002).mean() > 2 * 0.002


def test_the_approximation_is_the_pearson_iii_tail_and_never_below_one_arrangement():
    generator = np.random.default_rng(7)
    unit = UnitVectors(clustered(generator, 50, 6, 5).astype(np.float32))
    measured = Cosines(unit, seed=0)
    powers = powers_of(np.array([[1, 0.5, 0.2, 0.1, 0.0], [1, 1, 1, 1, 1]]))
    skewness = null_skewness(powers, measured)

    assert (skewness > 0.1).all()
    for z in (-1.0, 0.0, 2.0, 5.0):
        found = tail_probability(np.full(2, z), powers, measured)
        np.testing.assert_allclose(found, stats.pearson3.sf(z, skewness), rtol=1e-9)
    far = tail_probability(np.full(2, 1e4), powers, measured)
    np.testing.assert_allclose(far, [1 / (50 * 49 * 48 * 47), 1 / (50 * 49 * 48 * 47 * 46)])


def test_p_by_draws_counts_random_images_that_are_as_alike():
    generator = np.random.default_rng(8)
    embeddings = clustered(generator, 30, 4, 3)
    features = np.zeros((30, 3))
    features[:2], features[2:4, 1], features[4, 2] = 1, 1, 1
    found = score(make_input(features, embeddings), draws=20_000)
    cosines = UnitVectors(embeddings.astype(np.float32))[:]
    cosines = (cosines @ cosines.T)[np.triu_indices(30, 1)]

    # the first feature has two images: its null is the cosine of all pairs
    assert found["ms_p"][0] == pytest.approx((cosines >= found["monosemanticity"][0] - 1e-5).mean(), abs=0.02)
    more = score(make_input(features, embeddings), draws=1000)["ms_p"]
    np.testing.assert_allclose(more, found["ms_p"], atol=0.06)


@pytest.mark.parametrize(
    ("options", "by"),
    [
        ({"draws": 1000}, "up to 1,000 draws"),
        ({"draws": 500}, "up to 500 draws"),
        ({"draws": 0}, "Pearson type III"),
        ({"top_k": 101}, "Pearson type III"),
        ({"definition": "global"}, "Pearson type III"),
    ],
)
def test_the_facts_say_where_p_comes_from(options, by):
    generator = np.random.default_rng(22)
    data = make_input(sparse_features(generator, 120, 3), clustered(generator, 120, 4, 5))
    found = score(data, **options)

    assert found["monosemanticity_p"] == by
    multiples = found["ms_p"] * (options.get("draws", 1000) + 1)
    assert np.allclose(multiples, multiples.round(), atol=1e-6) == ("draws" in by)


def test_more_draws_are_spent_on_features_that_stand_out():
    generator = np.random.default_rng(9)
    embeddings = clustered(generator, 300, 8, 30)
    like_the_first = embeddings @ embeddings[0] / np.linalg.norm(embeddings, axis=1)
    features = sparse_features(generator, 300, 2)
    features[:, 1] = np.maximum(like_the_first - np.quantile(like_the_first, 0.95), 0)
    few, many = (score(make_input(features, embeddings), draws=draws)["ms_p"] for draws in (1000, 30_000))

    assert few[1] == pytest.approx(1 / 1001)
    assert many[1] == pytest.approx(1 / 30_001)
    assert many[0] == few[0] > 0.01


@pytest.mark.parametrize(("n", "k"), [(5, 5), (6, 3), (7, 1)])
def test_random_sets_are_each_order_of_different_numbers_equally_often(n, k):
    sets = random_sets(np.random.default_rng(0), n, k, 24_000)
    kinds, counts = np.unique(sets, axis=0, return_counts=True)

    assert len(kinds) == len(list(permutations(range(n), k)))
    assert all(len(set(kind)) == k for kind in kinds.tolist())
    assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("options", [{"draws": 1000}, {"definition": "global"}], ids=["draws", "global"])
def test_under_the_null_few_runs_find_anything(options):
    found = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        data = make_input(sparse_features(generator, 60, 20), clustered(generator, 60, 5, 12))
        found += (score(data, seed=seed, **options)["ms_q"] <= 0.05).any()

    assert found / 200 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


def test_q_is_benjamini_hochberg_over_all_spaces():
    generator = np.random.default_rng(10)
    embeddings = clustered(generator, 80, 5, 4)
    inputs = [make_input(sparse_features(generator, 80, 30), embeddings, layer=layer) for layer in (7, 8)]
    found = score(*inputs)

    assert np.isfinite(found["ms_p"]).sum() == found["monosemanticity_family_size"] == 60
    np.testing.assert_allclose(found["ms_q"], stats.false_discovery_control(found["ms_p"]))
    assert found["monosemanticity_above_chance"] == (found["ms_q"] <= 0.05).sum()


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_coherent_features_are_found_among_many_that_are_not(definition):
    generator = np.random.default_rng(11)
    cluster = generator.integers(20, size=600)
    embeddings = 2 * generator.normal(size=(20, 12))[cluster] + generator.normal(size=(600, 12))
    features = sparse_features(generator, 600, 300, 0.1)
    for number in range(10):
        features[:, number] = (cluster == number) * generator.gamma(2.0, size=600)
    q = score(make_input(features, embeddings), definition=definition)["ms_q"]

    assert (q[:10] < 0.01).all()
    assert (q[10:] <= 0.05).sum() <= 3


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_neither_the_order_of_the_images_nor_the_batches_matter_to_anything(definition):
    generator = np.random.default_rng(12)
    n = 400  # more pairs than the baseline takes, so that it draws some
    features, embeddings = sparse_features(generator, n, 12, 0.2), clustered(generator, n, 6, 9).astype(np.float32)
    ids = tuple(f"{number} ü" for number in generator.permutation(n))
    order = generator.permutation(n)
    one = score(make_input(features, embeddings, ids=ids, size=n), definition=definition)
    shuffled = tuple(ids[place] for place in order)
    other = score(make_input(features[order], embeddings[order], ids=shuffled, size=7), definition=definition)

    assert one.keys() == other.keys()
    for name, values in one.items():
        if np.asarray(values).dtype.kind == "f":
            np.testing.assert_allclose(other[name], values, rtol=1e-7, atol=1e-12, err_msg=name)
        else:
            np.testing.assert_array_equal(other[name], values, err_msg=name)


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_of_images_that_tie_the_order_does_not_choose(definition):
    generator = np.random.default_rng(14)
    features = np.minimum(np.round(sparse_features(generator, 200, 30, 0.3), 1), 1.0)  # most of the top at 1
    features[:, 0] = np.where(np.arange(200) < 25, 2.0 - 0.01 * np.arange(200), features[:, 0])  # no ties
    embeddings = clustered(generator, 200, 6, 9)
    ids = tuple(f"{number} ü" for number in generator.permutation(200))
    order = generator.permutation(200)
    one = score(make_input(features, embeddings, ids=ids), definition=definition)
    shuffled = tuple(ids[place] for place in order)
    other = score(make_input(features[order], embeddings[order], ids=shuffled, size=7), definition=definition)

    for name in ("monosemanticity", "ms_z", "ms_p"):
        np.testing.assert_allclose(other[name], one[name], rtol=1e-9, err_msg=name)


def test_the_seed_decides_what_is_drawn():
    generator = np.random.default_rng(13)
    data = make_input(sparse_features(generator, 400, 30), clustered(generator, 400, 6, 9))

    assert (score(data, seed=1)["ms_p"] != score(data, seed=2)["ms_p"]).any()
    np.testing.assert_array_equal(score(data, seed=1)["ms_p"], score(data, seed=1)["ms_p"])


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_a_score_that_cannot_vary_has_no_null(definition):
    generator = np.random.default_rng(14)
    features = sparse_features(generator, 40, 5)
    same = np.outer(generator.exponential(size=40), [1.0, 2.0, -1.0])
    found = score(make_input(features, same), definition=definition)

    np.testing.assert_allclose(found["monosemanticity"], 1, rtol=1e-6)
    for name in ("ms_z", "ms_p", "ms_q", "ms_null_sd"):
        assert np.isnan(found[name]).all()
    assert found["monosemanticity_family_size"] == 0


def test_a_feature_without_score_has_a_reason_and_no_null():
    generator = np.random.default_rng(15)
    features = sparse_features(generator, 30, 5)
    features[:, :4] = 0
    features[3, 1] = 1
    features[:, 2] = 0.7
    features[[3, 4], 3] = 1, 1e-12
    found = score(make_input(features, generator.normal(size=(30, 4))))

    assert found["ms_note"].tolist() == [
        "fires on fewer than two images",
        "fires on fewer than two images",
        "fires equally on all images that it is scaled over",
        "one image has nearly all the weight",
        "",
    ]
    for name in ("monosemanticity", "ms_null_mean", "ms_null_sd", "ms_z", "ms_p", "ms_q"):
        np.testing.assert_array_equal(np.isnan(found[name]), found["ms_note"] != "", err_msg=name)


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0])
@pytest.mark.parametrize("n_good", [0, 1, 2, 3])
def test_bad_embeddings_of_all_but_a_few_images(caplog, definition, bad, n_good):
    generator = np.random.default_rng(16)
    embeddings = generator.normal(size=(9, 4))
    embeddings[n_good:] = bad
    found = score(make_input(sparse_features(generator, 9, 6, 0.9), embeddings), definition=definition)

    if n_good < 3:
        assert np.isnan(found["monosemanticity"]).all()
        assert set(found["ms_note"]) == {"fewer than three images have an embedding"}
        assert f"{n_good} of 9 images have a usable embedding" in caplog.text
        assert np.isnan(found["ms_q"]).all()
    else:
        assert np.isfinite(found["monosemanticity"]).any()
        assert found["ms_baseline_mean"][0] == found["monosemanticity_baseline_mean"]
        p = found["ms_p"]
        assert (p[np.isfinite(p)] >= 1 / 6).all()  # three images have six orders


def test_images_without_a_usable_embedding_are_counted_in_a_warning(caplog):
    generator = np.random.default_rng(15)
    features, embeddings = sparse_features(generator, 9, 4), generator.normal(size=(9, 30))
    score(make_input(features, embeddings))
    assert not caplog.text
    embeddings[[2, 5]] = 0
    score(make_input(features, embeddings))
    assert "7 of 9 images have a usable embedding; the others (embedding missing, not finite or zero)" in caplog.text


def test_the_baseline_is_in_the_table():
    generator = np.random.default_rng(17)
    found = score(make_input(sparse_features(generator, 50, 4), clustered(generator, 50, 5, 5)))

    assert set(found["ms_baseline_mean"]) == {found["monosemanticity_baseline_mean"]}
    assert set(found["ms_baseline_sd"]) == {found["monosemanticity_baseline_sd"]}
    np.testing.assert_allclose(found["ms_null_mean"], found["ms_baseline_mean"])  # of few images both take all pairs


def test_a_second_embedding_gives_a_second_score_and_how_far_both_agree():
    generator = np.random.default_rng(18)
    features = sparse_features(generator, 90, 40, 0.2)
    one = clustered(generator, 90, 6, 5).astype(np.float32)
    two = np.hstack([one, generator.normal(size=(90, 8))]).astype(np.float32)
    two[7] = np.nan
    found = score(make_input(features, one, second=two), thresholds="calibrated")
    alone = score(make_input(features, two), thresholds="calibrated")
    first, second = found["monosemanticity"], found["monosemanticity_2"]

    np.testing.assert_allclose(second, alone["monosemanticity"], rtol=1e-9)
    np.testing.assert_array_equal(found["ms_class_2"], alone["ms_class"])
    assert found["monosemanticity_second_images"] == 89
    assert found["monosemanticity_second_baseline_mean"] == alone["monosemanticity_baseline_mean"]
    assert found["monosemanticity_second_cutoffs"] == alone["monosemanticity_cutoffs"]
    assert found["monosemanticity_agreement_features"] == 40
    assert found["monosemanticity_agreement_pearson"] == pytest.approx(stats.pearsonr(first, second)[0])
    assert found["monosemanticity_agreement_spearman"] == pytest.approx(stats.spearmanr(first, second)[0])
    same = (found["ms_class"] == found["ms_class_2"]).mean()
    assert found["monosemanticity_agreement_same_class"] == pytest.approx(same)
    document = score(make_input(features, one, second=two), thresholds="document")
    assert document["monosemanticity_agreement_same_class"] == pytest.approx(same)  # calibrated whatever ms_class takes


def test_a_second_embedding_that_scores_nothing_agrees_on_no_feature():
    generator = np.random.default_rng(19)
    second = np.full((20, 3), np.nan, dtype=np.float32)
    found = score(make_input(sparse_features(generator, 20, 4), generator.normal(size=(20, 3)), second=second))

    assert np.isnan(found["monosemanticity_2"]).all()
    assert found["monosemanticity_agreement_features"] == 0
    assert "monosemanticity_agreement_pearson" not in found


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_many_images_score_as_few_do(monkeypatch, definition):
    generator = np.random.default_rng(20)
    data = make_input(sparse_features(generator, 300, 8, 0.3), clustered(generator, 300, 5, 6))
    held = score(data, definition=definition)
    monkeypatch.setattr("saeviz_monosemanticity.embeddings.HELD_NUMBERS", 0)
    monkeypatch.setattr("saeviz_monosemanticity.embeddings.IMAGES_AT_ONCE", 17)
    made_when_used = score(data, definition=definition)

    for name in ("monosemanticity", "ms_null_mean", "ms_null_sd", "ms_p", "ms_q"):
        np.testing.assert_allclose(made_when_used[name], held[name], rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("definition", ["top-k", "global"])
def test_memory_does_not_grow_with_the_images(monkeypatch, definition):
    monkeypatch.setattr("saeviz_monosemanticity.embeddings.HELD_NUMBERS", 0)
    generator = np.random.default_rng(21)
    peaks = []
    for n in (20_000, 60_000):
        embeddings = generator.normal(size=(n, 64)).astype(np.float32)
        features = random_array((n, 20), density=0.05, rng=generator, format="csr")
        data = make_input(features, embeddings, size=2000)
        tracemalloc.start()
        score(data, definition=definition, draws=1000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    bytes_per_image = (peaks[1] - peaks[0]) / 40_000
    assert bytes_per_image < 64 * 8 / 2  # less than half of a float64 copy of its embedding
