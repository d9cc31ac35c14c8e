"""Many ratings: all correlations are tested, the strongest of each rating and of each feature are kept."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

import saeviz
from saeviz import ConfigError, PairBlock, ScoreColumn
from saeviz_correlation import many, robust, scorer, spilled, step_up
from saeviz_correlation.options import LinearOptions
from saeviz_correlation.scorer import PearsonBH, PointBiserial
from saeviz_correlation.spearman import Spearman
from saeviz_correlation.targets import finding_images
from tests.plugins.correlations import make_input, make_scorer

STATSMODELS = {"bh": "fdr_bh", "by": "fdr_by", "bonferroni": "bonferroni"}
N, N_RATINGS = 60, 110
NAMES = [f"voxel {number}" for number in range(N_RATINGS)]


@pytest.fixture
def made_up(monkeypatch):
    """Two spaces, of 40 and 25 features, of which some go along with a rating; one never varies, one is rare."""
    monkeypatch.setattr(many, "PER_RATING", 5)
    monkeypatch.setattr(many, "AT_ONCE", 32 * N_RATINGS)
    monkeypatch.setattr(step_up, "AT_ONCE", 100)
    monkeypatch.setattr(spilled, "STEP", 8)
    monkeypatch.setattr(step_up, "STEP", 8)
    generator = np.random.default_rng(3)
    features = [generator.exponential(size=(N, n)) * (generator.random((N, n)) < 0.5) for n in (40, 25)]
    features[0][:, 3] = 0.0
    features[0][:, 4] = np.where(np.arange(N) < 4, 1.0, 0.0)
    ratings = {name: generator.normal(size=N) for name in NAMES}
    for number in range(0, N_RATINGS, 3):
        ratings[NAMES[number]] += 1.5 * features[number % 2][:, 5 + number % 20]
    ratings[NAMES[7]] = np.where(generator.random(N) < 0.3, np.nan, ratings[NAMES[7]])
    ratings[NAMES[8]][:] = np.nan
    return [one.astype(np.float32).astype(np.float64) for one in features], ratings


def run(features, ratings, scorer=PearsonBH, groups=None, **options):
    """Columns by name, layer and rating, with the features that each is of; summaries; facts."""
    built = make_scorer(scorer, **options)
    layers = (7, 11)
    given = [
        column
        for layer, dense in zip(layers, features, strict=True)
        for column in built.score(make_input(dense, ratings, layer=layer, groups=groups))
    ]
    results = [*given, *built.combine(given)]
    pairs = {
        (one.name, one.space.layer, one.target): (one.features, one.values)
        for one in results
        if isinstance(one, ScoreColumn) and one.target is not None
    }
    summaries = {
        (one.name, one.space.layer): one.values
        for one in results
        if isinstance(one, ScoreColumn) and one.target is None
    }
    facts = {one.name: one.value for one in results if not isinstance(one, ScoreColumn)}
    return pairs, summaries, facts


def reference(features, ratings, of_feature=lambda values: values, of_rating=lambda values: values):
    """SciPy's r and p of every pair, `[n_features, n_ratings]` per space, NaN where not tested."""
    found = []
    for dense in features:
        r = np.full((dense.shape[1], len(ratings)), np.nan)
        p = r.copy()
        for place, rating in enumerate(ratings.values()):
            rated = np.isfinite(rating)
            tested = (dense[rated] > 0).sum(axis=0) >= 10
            if tested.any():
                values = of_feature(dense[rated][:, tested])
                one = stats.pearsonr(values, of_rating(rating[rated])[:, None], axis=0)
                r[tested, place], p[tested, place] = one.statistic, one.pvalue
        found.append((r, p))
    return found


def ranks(values):
    return stats.rankdata(values, axis=0)


@pytest.mark.parametrize(
    ("scorer", "transforms"), [(PearsonBH, ()), (Spearman, (ranks, ranks)), (PointBiserial, (lambda one: one > 0.0,))]
)
def test_r_p_and_q_are_those_of_scipy_and_statsmodels_over_all_pairs(made_up, scorer, transforms):
    features, ratings = made_up
    pairs, _, facts = run(features, ratings, scorer)
    expected = reference(features, ratings, *transforms)
    p = np.concatenate([one[1].ravel() for one in expected])
    tested = np.isfinite(p)
    q = np.full(p.shape, np.nan)
    q[tested] = multipletests(p[tested], method="fdr_bh")[1]
    q = np.split(q, [expected[0][0].size])
    prefix = scorer.prefix
    assert facts[f"{prefix or 'correlation_'}family_size"] == tested.sum()
    n_rows = 0
    for layer, of_space, (r, p_of_space) in zip((7, 11), q, expected, strict=True):
        for place, name in enumerate(NAMES):
            if (f"{prefix}r", layer, name) not in pairs:
                continue
            own, found = pairs[f"{prefix}r", layer, name]
            n_rows += own.size
            np.testing.assert_allclose(found, r[own, place], rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(pairs[f"{prefix}p", layer, name][1], p_of_space[own, place], rtol=1e-6)
            here = of_space.reshape(r.shape)[own, place]
            np.testing.assert_allclose(pairs[f"{prefix}q", layer, name][1], here, rtol=1e-6)
            np.testing.assert_array_equal(pairs[f"{prefix}significant", layer, name][1], here <= 0.05)
    assert 5 * (N_RATINGS - 1) <= n_rows <= 5 * N_RATINGS + 8 * 65


@pytest.mark.parametrize(("favourites", "per_feature"), [(many.FAVOURITES, 8), (200, 3)])
def test_what_is_kept_are_the_strongest_of_each_rating_and_of_each_feature(
    made_up, monkeypatch, favourites, per_feature
):
    """Of many features, fewer are kept of each; this is known only when the last space comes."""
    monkeypatch.setattr(many, "FAVOURITES", favourites)
    features, ratings = made_up
    pairs, summaries, _ = run(features, ratings)
    sizes = [np.abs(r) for r, _ in reference(features, ratings)]
    together = np.nan_to_num(np.vstack(sizes), nan=-1)
    limit = np.sort(together, axis=0)[-5]
    for layer, own in zip((7, 11), sizes, strict=True):
        of_feature = np.sort(np.nan_to_num(own, nan=-1), axis=1)[:, -per_feature]
        expected = np.isfinite(own) & ((own >= limit) | (own >= of_feature[:, None]))
        for place, name in enumerate(NAMES):
            kept = pairs.get(("r", layer, name), (np.zeros(0),))[0]
            assert kept.tolist() == np.flatnonzero(expected[:, place]).tolist()
        strongest = np.nan_to_num(own, nan=-1).argmax(axis=1)
        tested = np.isfinite(own).any(axis=1)
        assert summaries["strongest", layer].tolist() == [
            NAMES[place] if known else "" for place, known in zip(strongest, tested, strict=True)
        ]
        size = np.where(tested, np.nan_to_num(own).max(axis=1), np.nan)
        np.testing.assert_allclose(np.abs(summaries["strongest_r", layer]), size, rtol=1e-9)


@pytest.mark.parametrize("family", ["run", "space", "rating"])
@pytest.mark.parametrize("correction", STATSMODELS)
def test_each_family_is_adjusted_and_counted_as_a_whole(made_up, correction, family):
    features, ratings = made_up
    pairs, summaries, facts = run(features, ratings, correction=correction, family=family, alpha=0.1)
    p = [one[1] for one in reference(features, ratings)]
    whole, n_first = np.vstack(p), len(p[0])
    q = np.full(whole.shape, np.nan)
    parts = {
        "run": [np.s_[:, :]],
        "space": [np.s_[:n_first, :], np.s_[n_first:, :]],
        "rating": [np.s_[:, place] for place in range(N_RATINGS)],
    }[family]
    for part in parts:
        tested = np.isfinite(whole[part])
        values = q[part]
        if tested.any():
            values[tested] = multipletests(whole[part][tested], 0.1, STATSMODELS[correction])[1]
        q[part] = values
    for (name, layer, rating), (own, values) in pairs.items():
        if name == "q":
            rows = own + (n_first if layer == 11 else 0)
            np.testing.assert_allclose(values, q[rows, NAMES.index(rating)], rtol=1e-6)
    found = q <= 0.1
    assert found.any()
    counted = np.concatenate([summaries["n_significant", layer] for layer in (7, 11)])
    np.testing.assert_array_equal(counted, found.sum(axis=1))
    for place, name in enumerate(NAMES):
        assert facts[f"correlation_significant_{name}"] == found[:, place].sum()
        assert facts[f"correlation_tested_{name}"] == np.isfinite(whole[:, place]).sum()
    r = np.vstack([one[0] for one in reference(features, ratings)])
    assert facts[f"correlation_positive_{NAMES[0]}"] == (found & (r > 0))[:, 0].sum()


@pytest.mark.parametrize("options", [{"split": 0.5}, {"errors": "hc2"}, {}, {"groups": True}])
def test_the_other_columns_are_those_of_a_run_with_few_ratings(made_up, options):
    """Found in a run with the first twelve ratings, apart from what depends on the family."""
    features, ratings = made_up
    groups = tuple(f"g{number % 15}" for number in range(N)) if options.pop("groups", False) else None
    pairs, _, _ = run(features, ratings, groups=groups, **options)
    few = dict(list(ratings.items())[:12])
    expected, _, _ = run(features, few, groups=groups, **options)
    of_the_family = {"q", "significant", "r_corrected", "ci_low_corrected", "ci_high_corrected", "negligible"}
    of_the_family |= {"q_held_out", "replicated"}
    names = {name for name, _, _ in expected}
    assert {name for name, _, _ in pairs} == names - {"negligible"}
    types = [{name: values.dtype for (name, _, _), (_, values) in columns.items()} for columns in (pairs, expected)]
    assert types[0] == {name: kind for name, kind in types[1].items() if name != "negligible"}
    for (name, layer, rating), (_, values) in expected.items():
        if name not in of_the_family and (name, layer, rating) in pairs:
            own, found = pairs[name, layer, rating]
            np.testing.assert_allclose(found, values[own], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("of", "options"),
    [(PearsonBH, {}), (PearsonBH, {"family": "space", "correction": "by"}), (Spearman, {"alpha": 1e-12})],
)
def test_the_smallest_r_that_a_design_finds_is_that_of_a_run_with_few_ratings(made_up, monkeypatch, of, options):
    features, ratings = made_up
    _, _, facts = run(features, ratings, of, **options)
    monkeypatch.setattr(scorer, "MANY", N_RATINGS)
    _, _, expected = run(features, ratings, of, **options)
    start = f"{of.prefix or 'correlation_'}detectable_"
    found, few = ({name: size for name, size in one.items() if name.startswith(start)} for one in (facts, expected))
    assert len(few) == N_RATINGS - 1  # one has no correlations
    assert found == pytest.approx(few, rel=0.05 if of is Spearman else 1e-9)


def test_the_smallest_r_is_not_said_where_every_feature_has_its_own(made_up):
    features, ratings = made_up
    _, _, facts = run(features, ratings, errors="hc2")
    assert not [name for name in facts if "detectable" in name]


def test_what_was_found_is_tested_again_on_images_held_out(made_up):
    features, ratings = made_up
    pairs, _, facts = run(features, ratings, split=0.5, min_active=5)
    finding = finding_images(tuple(f"image {i}" for i in range(N)), 0.5, 0)
    p, keys = [], []
    for (name, layer, rating), (own, significant) in pairs.items():
        if name == "significant":
            for feature in own[significant == 1]:
                rated = ~finding & np.isfinite(ratings[rating])
                p.append(stats.pearsonr(features[layer == 11][rated, feature], ratings[rating][rated])[1])
                keys.append((layer, rating, feature))
    q = multipletests(p, method="fdr_bh")[1]
    assert len(p) > 3
    for (layer, rating, feature), expected in zip(keys, q, strict=True):
        own, found = pairs["q_held_out", layer, rating]
        np.testing.assert_allclose(found[own == feature], expected, rtol=1e-6)
    assert sum(facts[f"correlation_replicated_{name}"] for name in NAMES) > 0


def test_ratings_without_any_correlation_are_said_together(made_up, caplog):
    features, ratings = made_up
    run(features, ratings)
    assert "pearson-bh: no correlations with 1 of 110 ratings, such as 'voxel 8': fewer than 3 images" in caplog.text


def test_permutations_of_many_ratings_are_refused(made_up):
    features, ratings = made_up
    with pytest.raises(ConfigError, match=r"max-t would permute 110 ratings.*name at most 100 in scorers\.pearson-bh"):
        run(features, ratings, correction="max-t")
    scorer = make_scorer(ratings=tuple(NAMES[:2]), correction="max-t", permutations=20)
    assert list(scorer.score(make_input(features[0], ratings)))


@pytest.mark.parametrize("family", ["run", "space", "rating"])
@pytest.mark.parametrize("correction", ["by", "bonferroni"])
def test_all_pairs_are_those_of_scipy_and_statsmodels(made_up, monkeypatch, correction, family):
    features, ratings = made_up
    monkeypatch.setattr(many, "PER_FILE", 30)
    built = make_scorer(PearsonBH, all_pairs=True, correction=correction, family=family)
    for layer, dense in zip((7, 11), features, strict=True):
        assert not list(built.score(make_input(dense, ratings, layer=layer)))
    blocks = [one for one in built.combine([]) if isinstance(one, PairBlock)]
    assert {one.name for one in blocks} == {"pearson-bh"}
    names = [name for one in blocks if one.space.layer == 7 for name in one.targets]
    assert names == sorted(NAMES), "a file tells by its first and last rating which it has"
    assert [len(one.targets) for one in blocks] == 2 * [30, 30, 30, 20]
    order = [NAMES.index(name) for name in names]
    expected = reference(features, ratings)
    whole = np.vstack([p for _, p in expected])
    n_first = len(features[0].T)
    parts = {
        "run": [np.s_[:, :]],
        "space": [np.s_[:n_first, :], np.s_[n_first:, :]],
        "rating": [np.s_[:, place] for place in range(N_RATINGS)],
    }[family]
    q = np.full(whole.shape, np.nan)
    for part in parts:
        tested = np.isfinite(whole[part])
        if tested.any():
            values = q[part]
            values[tested] = multipletests(whole[part][tested], method=STATSMODELS[correction])[1]
            q[part] = values
    for layer, (r, p), rows in zip((7, 11), expected, (np.s_[:n_first], np.s_[n_first:]), strict=True):
        own = [one.values for one in blocks if one.space.layer == layer]
        for name, values, tolerance in (("r", r, 1e-6), ("p", p, 1e-6), ("q", q[rows], 1e-6)):
            found = np.vstack([block[name] for block in own])
            np.testing.assert_allclose(found, values[:, order].T, rtol=tolerance, atol=1e-7 if name == "r" else 0)


def test_all_pairs_change_nothing_else(made_up):
    features, ratings = made_up
    built = [make_scorer(PearsonBH, all_pairs=asked) for asked in (False, True)]
    for one in built:
        for layer, dense in zip((7, 11), features, strict=True):
            list(one.score(make_input(dense, ratings, layer=layer)))
    plain, full = (list(one.combine([])) for one in built)
    for one, other in zip(plain, [one for one in full if not isinstance(one, PairBlock)], strict=True):
        assert one.name == other.name
        if isinstance(one, ScoreColumn):
            np.testing.assert_array_equal(one.values, other.values)


def test_a_run_writes_all_pairs_if_it_is_asked_to(fake_run, monkeypatch):
    monkeypatch.setattr(scorer, "MANY", 1)  # this run has two ratings
    monkeypatch.setattr(many, "PER_FEATURE", 1)
    settings = ["images.n=40", "scorers=[{use='pearson-bh', all_pairs=true, min_active=3}]"]
    run = saeviz.run(fake_run, settings=settings, plan=saeviz.Plan(last="score"))
    kept, found = run.correlations[run.correlations["rating"] == "noise"], run.pairs("noise")
    both = kept.merge(found, on=[*saeviz.KEYS, "rating"], suffixes=("", "_of_pairs"))
    assert len(both) == len(kept) > 0
    for name in ("p", "q"):
        np.testing.assert_array_equal(both[name], both[f"{name}_of_pairs"])
    np.testing.assert_allclose(both["r"], both["r_of_pairs"], rtol=1e-6)
    assert found.notna().all(axis=None)
    monkeypatch.undo()
    few = saeviz.run(fake_run, settings=settings, plan=saeviz.Plan(last="score", redo=("score",)))
    with pytest.raises(saeviz.RunDirError, match=r"run\.correlations"):
        few.pairs("noise")


@pytest.mark.parametrize("errors", ["clusters", "hc2"])
def test_robust_errors_are_the_same_however_many_ratings_are_in_memory(made_up, monkeypatch, errors):
    features, ratings = made_up
    few = {name: ratings[name] for name in NAMES[:7]}
    groups = tuple(f"g{number % 3}" for number in range(N))
    expected, _, _ = run(features, few, groups=groups, errors=errors)
    monkeypatch.setattr(robust, "TARGETS_AT_ONCE", 2)
    found, _, _ = run(features, few, groups=groups, errors=errors)
    assert found.keys() == expected.keys()
    for key, (_, values) in found.items():
        np.testing.assert_allclose(values, expected[key][1], rtol=1e-12, err_msg=str(key))


def test_what_waits_on_disk_has_no_name(made_up, tmp_path):
    """So that nothing is left of a process that is killed."""
    features, ratings = made_up
    built = PearsonBH(LinearOptions(), saeviz.Context(workdir=tmp_path / "work"))
    list(built.score(make_input(features[0], ratings)))
    assert list((tmp_path / "work").iterdir()) == []
    assert any(isinstance(one, ScoreColumn) for one in built.combine([]))
