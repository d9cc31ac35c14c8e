"""Scorer `prediction`: planted truth is found, noise is not, and every fit is scikit-learn's."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.sparse import csc_array, csr_array
from sklearn.linear_model import Ridge, RidgeCV, lasso_path
from sklearn.preprocessing import StandardScaler

import saeviz
from saeviz import ConfigError, FeatureBatch, FeatureSpace, FeatureStream, ScoreColumn, ScoreFact, ScoreInput
from saeviz.testing import ScorerContract
from saeviz.testing.data import Surroundings, pictures
from saeviz.testing.fakes import FakeExtractor, FakeExtractorOptions
from saeviz_prediction import PredictionOptions, nested, scorer
from saeviz_prediction.folds import Accuracy, fold_rows, in_random_order, others
from saeviz_prediction.lasso import PENALTIES, Images, path
from saeviz_prediction.ridge import gram, spectrum_of_gram, spectrum_of_vectors
from saeviz_prediction.scorer import Prediction


def sparse_features(generator, n=150, n_features=60, density=0.3):
    return generator.gamma(1.0, size=(n, n_features)) * (generator.random((n, n_features)) < density)


def make_input(dense, ratings, embeddings=None, layer=7, ids=None, size=40, groups=None):
    dense = np.asarray(dense, np.float32)
    space = FeatureSpace(layer, "cls", dense.shape[1])
    ids = ids or tuple(f"image {i}" for i in range(len(dense)))

    def read():
        for start in range(0, len(dense), size):
            yield FeatureBatch(space, ids[start : start + size], csr_array(dense[start : start + size]))

    return ScoreInput(space, ids, FeatureStream(space, read), embeddings, ratings, groups=groups)


def predict(*inputs, context=None, **options):
    """Figures by (method, source, space) for each rating, and the columns by rating and layer."""
    scorer = Prediction(PredictionOptions(**options), context or saeviz.Context())
    columns = [column for data in inputs for column in scorer.score(data)]
    facts = {fact.name: fact.value for fact in scorer.combine(columns) if isinstance(fact, ScoreFact)}
    assert all(isinstance(column, ScoreColumn) for column in columns)
    figures = {
        name: {(entry["method"], entry["source"], entry["space"]): entry for entry in entries}
        for name, entries in facts.get("prediction", {}).items()
    }
    return figures, {(column.target, column.space.layer): column.values for column in columns}


class TestContract(ScorerContract):
    component = Prediction

    @pytest.fixture
    def make(self):
        return lambda context: Prediction(PredictionOptions(min_active=3), context)


def test_what_is_planted_is_found_by_ridge_and_by_lasso_which_keeps_it():
    generator = np.random.default_rng(0)
    x = sparse_features(generator, n=300)
    y = 2 * x[:, 3] - x[:, 8] + 0.5 * generator.normal(size=300)
    figures, columns = predict(make_input(x, {"liking": y}))
    truth = 1 - 0.25 / y.var()
    for method in ("ridge", "lasso"):
        entry = figures["liking"][method, "features", "layer7.cls"]
        assert entry["r2"] == pytest.approx(truth, abs=0.12)
        assert entry["r"] == pytest.approx(np.sqrt(truth), abs=0.06)
        assert entry["n_images"] == 300
        assert entry["n_inputs"] == 60
    weights = columns["liking", 7]
    assert set(np.argsort(-np.abs(weights))[:2]) == {3, 8}
    assert weights[3] > 0 > weights[8]
    assert figures["liking"]["lasso", "features", "layer7.cls"]["n_kept"] == (weights != 0).sum()


def test_of_noise_nothing_is_explained():
    """With more features than images and with features that differ hugely in size: what leaks shows here."""
    found = []
    for seed in range(8):
        generator = np.random.default_rng(seed)
        x = sparse_features(generator, n=80, n_features=400) * generator.lognormal(0, 3, 400)
        embeddings = generator.normal(size=(80, 120)).astype(np.float32)
        figures, _ = predict(make_input(x, {"liking": generator.normal(size=80)}, embeddings), min_active=5)
        found.append([entry["r2"] for entry in figures["liking"].values()])
    assert len(found[0]) == 3
    assert np.mean(found, axis=0).max() < 0.01
    assert np.max(found) < 0.15
    assert np.mean(found, axis=0).min() > -0.15, "the penalty grows until nothing is claimed"


def test_the_order_of_images_and_batches_change_nothing():
    generator = np.random.default_rng(1)
    x = sparse_features(generator)
    ratings = {"liking": x[:, 0] + generator.normal(size=150), "calm": generator.normal(size=150)}
    ratings["calm"][::4] = np.nan
    embeddings = generator.normal(size=(150, 5)).astype(np.float32)
    ids = tuple(f"image {i}" for i in range(150))
    order = generator.permutation(150)
    figures, columns = predict(make_input(x, ratings, embeddings, ids=ids))
    shuffled = make_input(
        x[order], {k: v[order] for k, v in ratings.items()}, embeddings[order], ids=tuple(ids[i] for i in order), size=7
    )
    again, same_columns = predict(shuffled)
    assert again == figures
    for key, values in columns.items():
        np.testing.assert_array_equal(same_columns[key], values)
    other_seed, _ = predict(make_input(x, ratings, embeddings), context=saeviz.Context(seed=1))
    assert other_seed != figures


@pytest.mark.parametrize("dim", [5, 200])
def test_ridge_is_that_of_scikit_learn(dim):
    generator = np.random.default_rng(2)
    x = 3 + generator.normal(size=(90, dim)) * generator.lognormal(0, 0.3, dim)
    y = x @ generator.normal(size=dim) / np.sqrt(dim) + 0.5 * generator.normal(size=90)
    test, train = fold_rows(90, 5)[1], others(90, fold_rows(90, 5)[1])
    for spectrum in (spectrum_of_gram(x @ x.T, train, test), spectrum_of_vectors(x, train, test)):
        penalties = spectrum.penalties()
        reference = RidgeCV(penalties).fit(x[train], y[train])
        assert penalties[0] < reference.alpha_ < penalties[-1]
        penalty = spectrum.best_penalties(y[train, None], None)[0]
        np.testing.assert_allclose(spectrum.predict(y[train], penalty), reference.predict(x[test]), rtol=1e-6)


def test_of_images_in_groups_the_penalty_is_the_best_for_whole_groups_left_out():
    generator = np.random.default_rng(7)
    groups = generator.permutation(np.concatenate([np.repeat(np.arange(8), 6), np.arange(8, 20)]))
    shared = generator.normal(size=(20, 40))[groups]
    x = shared + 0.3 * generator.normal(size=(60, 40))
    y = np.column_stack([x[:, 0] + shared[:, 1] + generator.normal(size=60), generator.normal(size=20)[groups]])
    rows = np.arange(60)
    spectrum = spectrum_of_gram(x @ x.T, rows, rows[:1])
    errors = np.zeros((spectrum.penalties().size, 2))
    for group in range(20):
        fitted, left_out = rows[groups != group], rows[groups == group]
        for place, penalty in enumerate(spectrum.penalties()):
            predicted = Ridge(penalty).fit(x[fitted], y[fitted]).predict(x[left_out])
            errors[place] += np.sum((y[left_out] - predicted) ** 2, axis=0)
    found = spectrum.best_penalties(y, groups)
    np.testing.assert_array_equal(found, spectrum.penalties()[np.argmin(errors, axis=0)])
    assert found[1] > 2 * spectrum.best_penalties(y, None)[1], "single images are predicted from others of their group"


def test_inner_products_are_exact_for_rare_and_common_features():
    x = csr_array(sparse_features(np.random.default_rng(3), n=700, n_features=90, density=np.linspace(0, 0.3, 90)))
    np.testing.assert_allclose(gram(x), (x @ x.T).toarray(), rtol=1e-12)


@pytest.mark.parametrize("n_features", [30, 500])
def test_the_path_of_the_lasso_is_that_of_scikit_learn(n_features):
    generator = np.random.default_rng(4)
    x = sparse_features(generator, n=100, n_features=n_features) * generator.lognormal(0, 2, n_features)
    x[:, 1] = 0
    x[:, 2] = 7
    y = x[:, 0] / x[:, 0].std() + generator.normal(size=100)
    images = Images(csc_array(x), y, 1, "numeric")
    steps = list(path(images))
    assert not images.considered[[1, 2]].any()
    columns = np.flatnonzero(images.considered)
    scaled = StandardScaler().fit_transform(x[:, columns])
    target = (y - y.mean()) / y.std()
    largest = np.abs(scaled.T @ target).max() / 100
    alphas = (PENALTIES * largest)[: len(steps)]
    _, expected, _ = lasso_path(scaled, target, alphas=alphas, tol=1e-9, max_iter=100_000)
    for number, step in enumerate(steps):
        weights = np.zeros(n_features)
        weights[step.kept] = step.weights
        np.testing.assert_allclose(weights[columns], expected[:, number], atol=1e-6)
    dense = (x[:, steps[-1].kept] - x[:, steps[-1].kept].mean(0)) / x[:, steps[-1].kept].std(0)
    np.testing.assert_allclose(
        images.predict(csc_array(x), steps[-1]), y.mean() + y.std() * dense @ steps[-1].weights, rtol=1e-9
    )


def test_a_lasso_that_keeps_too_many_ends():
    generator = np.random.default_rng(5)
    steps = list(
        path(
            Images(csc_array(sparse_features(generator, n=40, n_features=900)), generator.normal(size=40), 3, "numeric")
        )
    )
    assert len(steps) < PENALTIES.size
    assert [step.kept.size > 20 for step in steps] == [False] * (len(steps) - 1) + [True]


def test_what_a_fold_was_rated_has_no_part_in_its_prediction(monkeypatch):
    """Not even by ending a path early."""
    predictions = []

    class Watched(Accuracy):
        def add(self, truth, predicted, mean):
            predictions.append(predicted)

    monkeypatch.setattr(nested, "Accuracy", Watched)
    monkeypatch.setattr(nested, "PATIENCE", 1)
    for seed in range(10, 20):
        generator = np.random.default_rng(seed)
        x = sparse_features(generator, n=60, n_features=30)
        ratings = 0.4 * x[:, 0] + generator.normal(size=60)
        others = ratings.copy()
        others[fold_rows(60, 3)[0]] = 1 + 3 * generator.normal(size=20)
        for values in (ratings, others):
            nested.nested_lasso(csc_array(x), values, fold_rows(60, 3), 3)
        (first, *_), (again, *_) = predictions[-6:-3], predictions[-3:]
        np.testing.assert_array_equal(first, again)


def test_folds_share_the_images_out_evenly_and_by_id():
    ids = [f"{number}" for number in range(103)]
    shuffled = in_random_order(ids, np.arange(103), seed=0)
    assert sorted(shuffled) == list(range(103))
    assert list(in_random_order(ids, np.arange(103)[::-1], seed=0)) == list(shuffled)
    assert list(in_random_order(ids, np.arange(103), seed=1)) != list(shuffled)
    folds = fold_rows(103, 5)
    assert sorted(np.concatenate(folds)) == list(range(103))
    assert {fold.size for fold in folds} == {20, 21}
    assert not set(others(103, folds[0], folds[3])) & (set(folds[0]) | set(folds[3]))


def test_a_group_is_in_one_fold_and_folds_are_about_equal():
    generator = np.random.default_rng(5)
    groups = generator.integers(0, 30, 200)
    folds = fold_rows(200, 5, groups)
    assert sorted(np.concatenate(folds)) == list(range(200))
    assert sum(len(set(groups[fold])) for fold in folds) == 30
    assert all(35 <= fold.size <= 45 for fold in folds)


def test_what_only_tells_groups_apart_predicts_nothing_in_other_groups():
    generator = np.random.default_rng(6)
    codes = np.repeat(np.arange(20), 8)
    x = sparse_features(generator, n=160)
    x[:, :20] = np.eye(20)[codes] * 20
    rating = {"beauty": generator.normal(size=20)[codes] + 0.3 * generator.normal(size=160)}
    grouped = make_input(x, rating, groups=tuple(f"artist {code}" for code in codes))
    alone, _ = predict(make_input(x, rating), min_active=3)
    together, _ = predict(grouped, min_active=3)
    for method in ("ridge", "lasso"):
        key = method, "features", "layer7.cls"
        assert alone["beauty"][key]["r2"] > 0.5
        assert together["beauty"][key]["r2"] < 0.1


def test_fewer_groups_than_folds_are_a_reason_not_to_predict(caplog):
    generator = np.random.default_rng(7)
    data = make_input(
        sparse_features(generator), {"calm": generator.normal(size=150)}, groups=("a", "b", None) * 1 + ("a",) * 147
    )
    figures, _ = predict(data)
    assert figures == {}
    assert "its images belong to 3 groups, fewer than the 5 folds" in caplog.text


def test_a_binary_rating_of_one_group_only_is_predicted_like_the_mean():
    generator = np.random.default_rng(8)
    codes = np.repeat(np.arange(10), 15)
    data = make_input(
        sparse_features(generator), {"sea": (codes == 3) * 1.0}, groups=tuple(f"film {code}" for code in codes)
    )
    figures, _ = predict(data)
    assert all(entry["r2"] < 0.1 for entry in figures["sea"].values())


def test_accuracy_is_zero_for_who_knows_only_the_mean():
    accuracy = Accuracy()
    for truth in (np.array([1.0, 2, 6]), np.array([0.0, 4, 4])):
        accuracy.add(truth, np.full(3, 2.5), 2.5)
    assert (accuracy.r2, accuracy.r2_sd) == (0, 0)
    assert np.isnan(accuracy.r)


def test_lasso_weights_are_nan_for_features_it_does_not_consider():
    generator = np.random.default_rng(6)
    x = sparse_features(generator)
    x[:, 0], x[:, 1] = 0, 4
    x[9:, 2] = 0
    _, columns = predict(make_input(x, {"liking": x[:, 5] + generator.normal(size=150)}), min_active=10)
    assert np.isnan(columns["liking", 7]).nonzero()[0].tolist() == [0, 1, 2]


def test_all_spaces_together_know_what_one_alone_does_not():
    generator = np.random.default_rng(7)
    one, two = sparse_features(generator, n_features=20), sparse_features(generator, n_features=30)
    ratings = {"liking": one[:, 0] + two[:, 0] + 0.2 * generator.normal(size=150)}
    embeddings = generator.normal(size=(150, 4)).astype(np.float32)
    inputs = [make_input(one, ratings, embeddings), make_input(two, ratings, embeddings, layer=9)]
    figures = predict(*inputs)[0]["liking"]
    together = figures["ridge", "features", "all"]
    assert together["n_inputs"] == 50
    assert together["r2"] > 0.8
    assert max(figures["ridge", "features", f"layer{n}.cls"]["r2"] for n in (7, 9)) < 0.6
    both = make_input(np.hstack([one, two]), ratings)
    assert predict(both)[0]["liking"]["ridge", "features", "layer7.cls"]["r2"] == pytest.approx(together["r2"])
    assert [key for key in figures if key[1] == "embeddings"] == [("ridge", "embeddings", "")]


@pytest.mark.parametrize(
    ("rating", "reason"),
    [
        (np.where(np.arange(150) < 11, np.arange(150.0), np.nan), "only 11 images have it, but 20 are needed"),
        (np.full(150, np.nan), "only 0 images have it, but 20 are needed"),
        (np.where(np.arange(150) < 75, 0.1, np.nan), "all images have the same value"),
    ],
)
def test_a_rating_that_cannot_be_predicted_is_left_out_and_said(rating, reason, caplog):
    generator = np.random.default_rng(8)
    x = sparse_features(generator)
    with caplog.at_level(logging.WARNING, "saeviz"), warnings.catch_warnings():
        warnings.simplefilter("error")
        figures, columns = predict(make_input(x, {"odd": rating, "liking": x[:, 0] + generator.normal(size=150)}))
    assert f"rating 'odd' is not predicted: {reason}" in caplog.text
    assert set(figures) == {"liking"}
    assert set(columns) == {("liking", 7)}


def test_a_half_missing_rating_is_predicted_on_the_images_that_have_it():
    generator = np.random.default_rng(9)
    x = sparse_features(generator)
    y = x[:, 0] + generator.normal(size=150)
    gappy = np.where(np.arange(150) % 2, np.nan, y)
    together, _ = predict(make_input(x, {"full": y, "half": gappy}))
    assert together["half"]["ridge", "features", "layer7.cls"]["n_images"] == 75
    alone, _ = predict(make_input(x, {"half": gappy}))
    for key, entry in alone["half"].items():
        assert entry == pytest.approx(together["half"][key])


def test_of_many_images_some_are_taken_by_seed():
    generator = np.random.default_rng(10)
    x = sparse_features(generator, n=260)
    data = make_input(x, {"liking": x[:, 0] + generator.normal(size=260)})
    figures, _ = predict(data, max_images=100)
    assert {entry["n_images"] for entry in figures["liking"].values()} == {100}
    assert predict(data, max_images=100)[0] == figures
    assert predict(data, max_images=100, context=saeviz.Context(seed=5))[0] != figures


def test_ratings_of_any_size_are_predicted_alike():
    generator = np.random.default_rng(20)
    x = sparse_features(generator)
    ratings = x[:, 0] + generator.normal(size=150)
    usual, large = (predict(make_input(x, {"liking": size * ratings}))[0]["liking"] for size in (1.0, 1e100))
    for place, entry in usual.items():
        assert [large[place][name] for name in ("r2", "r")] == pytest.approx([entry["r2"], entry["r"]], nan_ok=True)


def test_what_is_predicted_of_images_is_of_the_images_of_the_spaces_that_count():
    """The second space is of no account: of its images too few are complete."""
    generator = np.random.default_rng(3)
    x = sparse_features(generator)
    few = np.zeros((150, 4), np.float32)
    few[::15] = 1
    inputs = [
        make_input(x, {"liking": x[:, 3]}, generator.normal(size=(150, 4)).astype(np.float32), layer=7),
        make_input(x, {"liking": x[:, 3]}, few, layer=8),
    ]
    found = []
    for given in (inputs[:1], inputs):
        scorer = Prediction(PredictionOptions(), saeviz.Context())
        columns = [column for data in given for column in scorer.score(data)]
        combined = scorer.combine(columns)
        found.append({one.name: one.values for one in combined if isinstance(one, saeviz.ImageColumn)})
    assert list(found[1]) == ["predicted.liking", "residual.liking"]
    np.testing.assert_array_equal(found[1]["predicted.liking"], found[0]["predicted.liking"])
    np.testing.assert_array_equal(found[1]["residual.liking"], found[0]["residual.liking"])
    np.testing.assert_allclose(found[1]["predicted.liking"] + found[1]["residual.liking"], x[:, 3], atol=1e-6)


def test_spaces_of_different_images_predict_nothing_together_and_that_is_said(caplog):
    generator = np.random.default_rng(4)
    x = sparse_features(generator)
    embeddings = generator.normal(size=(150, 4)).astype(np.float32)
    most = embeddings.copy()
    most[0] = 0
    scorer = Prediction(PredictionOptions(), saeviz.Context())
    columns = []
    for layer, given in ((7, embeddings), (8, most)):
        columns += scorer.score(make_input(x, {"liking": x[:, 3]}, given, layer=layer))
    with caplog.at_level(logging.WARNING):
        combined = list(scorer.combine(columns))
    assert not [one for one in combined if isinstance(one, saeviz.ImageColumn)]
    assert "spaces do not have the same images" in caplog.text


@pytest.mark.parametrize("nothing", [np.nan, np.inf, 0.0])
def test_an_embedding_of_nothing_is_none(nothing):
    generator = np.random.default_rng(21)
    x = sparse_features(generator)
    embeddings = generator.normal(size=(150, 4)).astype(np.float32)
    embeddings[:30] = nothing
    figures, _ = predict(make_input(x, {"liking": generator.normal(size=150)}, embeddings))
    assert {entry["n_images"] for entry in figures["liking"].values()} == {120}


def test_images_without_an_embedding_are_left_to_none_of_the_predictors():
    generator = np.random.default_rng(11)
    x = sparse_features(generator)
    embeddings = generator.normal(size=(150, 4)).astype(np.float32)
    embeddings[:30] = np.nan
    ratings = {"liking": x[:, 0] + generator.normal(size=150)}
    figures, _ = predict(make_input(x, ratings, embeddings))
    assert {entry["n_images"] for entry in figures["liking"].values()} == {120}
    nothing, _ = predict(make_input(x, ratings, np.full((150, 4), np.nan, np.float32)))
    assert {(entry["source"], entry["n_images"]) for entry in nothing["liking"].values()} == {("features", 150)}


class ShowsActivations(FakeExtractor):
    """Its activations are the mean colour; `calls` counts the pictures that were looked at."""

    calls = 0

    def activations(self, items, space):
        type(self).calls += len(items)
        return np.array([np.asarray(item.open(), float).mean((0, 1)) for item in items], np.float32)


@pytest.fixture
def shown(tmp_path):
    """A context whose extractor shows activations, the pictures, and an input about them."""
    items = pictures(60)
    surroundings = Surroundings(tmp_path, items)
    context = surroundings.context
    extractor = ShowsActivations(FakeExtractorOptions(), context)
    ShowsActivations.calls = 0
    context = replace(context, peer=lambda role: extractor if role == "extractor" else context_images(surroundings))
    colour = np.array([np.asarray(item.open(), float).mean((0, 1)) for item in items])
    ratings = {"warmth": colour[:, 0] - colour[:, 2]}
    x = sparse_features(np.random.default_rng(12), n=60)
    return context, make_input(x, ratings, ids=tuple(item.item_id for item in items))


def context_images(surroundings):
    return surroundings.context.peer("images")


def test_the_raw_model_is_a_predictor_where_the_extractor_shows_it(shown):
    context, data = shown
    figures, _ = predict(data, context=context)
    raw = figures["warmth"]["ridge", "activations", "layer7.cls"]
    assert raw["r2"] > 0.99
    assert raw["n_inputs"] == 3
    assert "activations" not in {key[1] for key in predict(data, context=context, raw_model=False)[0]["warmth"]}


def test_activations_are_computed_once_and_again_when_anything_changes(shown):
    context, data = shown
    first = predict(data, context=context)
    assert ShowsActivations.calls == 60
    assert predict(data, context=context)[0] == first[0]
    assert ShowsActivations.calls == 60, "kept from before"
    (kept,) = (context.workdir / "prediction").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    assert predict(data, context=context)[0] == first[0]
    assert ShowsActivations.calls == 120, "a damaged file is made anew"
    predict(data, context=replace(context, precision="bfloat16"))
    assert ShowsActivations.calls == 180


class ShowsAllActivations(ShowsActivations):
    """`runs` counts how often its model ran over a picture, whatever for."""

    runs = 0

    def activations_of(self, items, spaces):
        type(self).runs += len(items)
        return [self.activations(items, space) + space.layer for space in spaces]


def test_the_model_runs_once_for_all_spaces(shown):
    context, data = shown
    extractor = ShowsAllActivations(FakeExtractorOptions(), context)
    others = context.peer
    context = replace(context, peer=lambda role: extractor if role == "extractor" else others(role))
    ShowsAllActivations.runs = 0
    assert len(extractor.spaces) > 1
    for space in extractor.spaces:
        figures, _ = predict(replace(data, space=replace(space, n_features=data.space.n_features)), context=context)
        assert figures["warmth"]["ridge", "activations", str(space)]["r2"] > 0.99
    assert ShowsAllActivations.runs == 60


def test_a_wrong_name_or_option_is_named():
    data = make_input(np.eye(30), {"liking": np.arange(30.0)})
    with pytest.raises(ConfigError, match=r"scorers.prediction.ratings: .* no rating 'likng'; did you mean 'liking'\?"):
        predict(data, ratings=("likng",))
    with pytest.raises(ValidationError):
        PredictionOptions(folds=2)


def test_without_ratings_there_is_nothing_and_that_is_said(caplog):
    with caplog.at_level(logging.WARNING, "saeviz"):
        assert predict(make_input(np.eye(30), {})) == ({}, {})
    assert "no ratings" in caplog.text


def test_of_many_ratings_only_the_weights_that_are_not_0_are_kept(monkeypatch):
    generator = np.random.default_rng(0)
    dense = sparse_features(generator)
    ratings = {f"voxel {n}": dense[:, n] + 0.3 * generator.normal(size=150) for n in range(3)}
    data = make_input(dense, ratings)
    few = list(Prediction(PredictionOptions(), saeviz.Context()).score(data))
    monkeypatch.setattr(scorer, "MOST_RATINGS", 2)
    many = Prediction(PredictionOptions(), saeviz.Context())
    found = list(many.score(data))
    for one, all_features in zip(found, few, strict=True):
        assert one.features.tolist() == np.flatnonzero(np.nan_to_num(all_features.values)).tolist()
        assert 0 < one.features.size < 30
        np.testing.assert_array_equal(one.values, all_features.values[one.features])
    results = list(many.combine(found))
    assert not any(isinstance(one, ScoreColumn) for one in results)
    assert "prediction" in {one.name for one in results if isinstance(one, ScoreFact)}
