"""Families, corrections and held-out images: how sure a correlation is when one has asked so often."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats
from statsmodels.stats.multitest import multipletests

from saeviz_correlation.options import LinearOptions
from saeviz_correlation.spearman import Spearman
from saeviz_correlation.targets import finding_images
from tests.plugins.correlations import hard_data, make_input, score

STATSMODELS = {"bh": "fdr_bh", "by": "fdr_by", "bonferroni": "bonferroni"}


def sparse_features(generator, n, n_features, density=0.2):
    return generator.exponential(size=(n, n_features)) * (generator.random((n, n_features)) < density)


@pytest.fixture
def two_spaces():
    features, ratings = hard_data()
    generator = np.random.default_rng(5)
    other = features[:, generator.permutation(20)][:, :15] * (generator.random((120, 15)) < 0.8)
    return ratings, [make_input(features, ratings, layer=7), make_input(other, ratings, layer=11)]


@pytest.mark.parametrize("family", ["run", "space", "rating"])
@pytest.mark.parametrize("correction", STATSMODELS)
def test_q_is_adjusted_over_the_family_as_statsmodels_does(two_spaces, correction, family):
    ratings, inputs = two_spaces
    columns, facts = score(*inputs, alpha=0.2, correction=correction, family=family)
    groups = {}
    for layer in (7, 11):
        for name in ratings:
            groups.setdefault({"run": "run", "space": layer, "rating": name}[family], []).append((name, layer))

    sizes = []
    for keys in groups.values():
        p, q, significant, n_active = (
            np.concatenate([columns[column, *key] for key in keys]) for column in ("p", "q", "significant", "n_active")
        )
        member = np.isfinite(p) & (n_active >= 10)
        sizes.append(int(member.sum()))
        assert np.isnan(q[~member]).all()
        assert np.isnan(significant[~member]).all()
        if member.any():
            rejected, expected, _, _ = multipletests(p[member], 0.2, STATSMODELS[correction])
            np.testing.assert_allclose(q[member], expected, rtol=1e-9)
            np.testing.assert_array_equal(significant[member], rejected)
    reported = facts["correlation_family_size"]
    names = [f"layer{key}.cls" if family == "space" else key for key in groups]
    assert sum(sizes) > 40
    if family == "run":
        assert reported == sizes[0]
    else:
        assert set(reported) == {f"{name}: {n}" for name, n in zip(names, sizes, strict=True)}
    assert (facts["correlation_correction"], facts["correlation_family"]) == (correction, family)


def test_without_any_relation_bh_finds_something_in_at_most_alpha_of_the_runs():
    """Two hundred runs with the ratings shuffled; the features depend on each other."""
    generator = np.random.default_rng(7)
    n, alpha, runs = 80, 0.2, 200
    features = sparse_features(generator, n, 30, 0.5)
    features[:, 15:] = features[:, :15] + 0.3 * sparse_features(generator, n, 15, 0.5)
    ratings = generator.normal(size=(n, 2))
    found = 0
    for _ in range(runs):
        shuffled = ratings[generator.permutation(n)]
        data = make_input(features, {"liking": shuffled[:, 0], "calm": shuffled[:, 1]}, size=n)
        found += any(score(data, alpha=alpha)[1][f"correlation_significant_{name}"] for name in data.ratings)

    assert 0 < found <= stats.binom.ppf(0.9999, runs, alpha)


@pytest.mark.parametrize("strength", [0.2, 0.35, 0.5])
def test_a_planted_relation_is_found_with_the_power_that_theory_gives(strength):
    """Bonferroni's bound is a fixed t, so the power is that of the noncentral t. A hundred planted features."""
    generator = np.random.default_rng(8)
    n, n_planted, n_others = 150, 100, 20
    rating = generator.normal(size=n)
    noise = generator.normal(size=(n, n_planted))
    planted = strength * rating[:, None] + np.sqrt(1 - strength**2) * noise
    features = np.hstack([planted, generator.normal(size=(n, n_others))]) + 10  # always on
    columns, _ = score(make_input(features, {"liking": rating}), correction="bonferroni")

    t = stats.t.isf(0.025 / (n_planted + n_others), n - 2)
    bound = t / np.sqrt(n - 2 + t**2)
    # given the rating, t of a planted feature is noncentral with this parameter
    power = stats.nct.sf(t, n - 2, strength * np.linalg.norm(rating - rating.mean()) / np.sqrt(1 - strength**2))
    found = (columns["significant", "liking"][:n_planted] == 1).sum()
    low, high = stats.binom.ppf([1e-4, 1 - 1e-4], n_planted, power)
    assert low <= found <= high
    np.testing.assert_array_equal(np.abs(columns["r", "liking"]) >= bound, columns["significant", "liking"] == 1)


# -- held-out images ----------------------------------------------------------------------------------------------


@pytest.fixture
def planted():
    """Eighty features of which ten go along with a rating, some images unrated; ids that tell nothing."""
    generator = np.random.default_rng(9)
    n = 400
    features = sparse_features(generator, n, 80, 0.4)
    liking = features[:, :10].sum(axis=1) + generator.normal(size=n)
    liking[generator.random(n) < 0.1] = np.nan
    ids = tuple(f"picture {number}" for number in generator.permutation(n))
    return features, {"liking": liking, "noise": generator.normal(size=n)}, ids


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_the_two_parts_are_all_images_and_have_the_share_asked_for(planted, share):
    features, ratings, ids = planted
    columns, facts = score(make_input(features, ratings, ids=ids), split=share)
    n, held_out = columns["n", "noise"][0], columns["n_held_out", "noise"][0]

    assert n + held_out == 400
    assert stats.binom.ppf(1e-4, 400, share) <= n <= stats.binom.ppf(1 - 1e-4, 400, share)
    assert columns["n", "liking"][0] + columns["n_held_out", "liking"][0] == np.isfinite(ratings["liking"]).sum()
    assert facts["correlation_split"] == share


def parts(planted):
    """The images that find and those held out, each as the input of a run of its own."""
    features, ratings, ids = planted
    finding = finding_images(ids, 0.5, 0)
    return [make_input(features[mask], {name: y[mask] for name, y in ratings.items()}) for mask in (finding, ~finding)]


def test_each_part_is_correlated_by_itself_and_only_discoveries_are_tested_again(planted):
    features, ratings, ids = planted
    columns, facts = score(make_input(features, ratings, ids=ids), split=0.5)
    discovery, held_out = (score(part)[0] for part in parts(planted))

    for key in (("r", "liking"), ("p", "noise"), ("q", "liking"), ("significant", "noise"), ("ci_low", "liking")):
        np.testing.assert_allclose(columns[key], discovery[key], rtol=1e-9)
    found = {name: columns["significant", name] == 1 for name in ratings}
    p = np.concatenate([held_out["p", name][found[name]] for name in ratings])
    expected = multipletests(p, method="fdr_bh")[1]
    q = np.concatenate([columns["q_held_out", name][found[name]] for name in ratings])
    np.testing.assert_allclose(q, expected, rtol=1e-9)
    for name in ratings:
        np.testing.assert_allclose(columns["r_held_out", name], held_out["r", name], rtol=1e-9)
        np.testing.assert_allclose(columns["p_held_out", name], held_out["p", name], rtol=1e-9)
        assert np.isnan(columns["q_held_out", name][~found[name]]).all()
        assert np.isnan(columns["replicated", name][~found[name]]).all()
        confirmed = (columns["q_held_out", name] <= 0.05) & (columns["r", name] * columns["r_held_out", name] > 0)
        np.testing.assert_array_equal(columns["replicated", name][found[name]], confirmed[found[name]])
        assert facts[f"correlation_replicated_{name}"] == confirmed.sum()
    assert 3 < facts["correlation_replicated_liking"] <= facts["correlation_significant_liking"]
    both = [np.concatenate([columns[c, name][found[name]] for name in ratings]) for c in ("r", "r_held_out")]
    assert facts["correlation_agreement_of_halves"] == pytest.approx(np.corrcoef(both)[0, 1])


def test_an_opposite_sign_is_no_replication_however_significant():
    generator = np.random.default_rng(10)
    n = 300
    ids = tuple(map(str, range(n)))
    feature = generator.random(n) + 1
    rating = np.where(finding_images(ids, 0.5, 0), feature, -feature) + 0.1 * generator.normal(size=n)
    columns, _ = score(make_input(feature[:, None], {"a": rating}, ids=ids), split=0.5)

    assert columns["significant", "a"] == 1
    assert columns["q_held_out", "a"] < 1e-6
    assert columns["replicated", "a"] == 0


def test_a_discovery_that_never_fires_on_held_out_images_is_not_replicated(planted):
    features, ratings, ids = planted
    features = np.where(finding_images(ids, 0.5, 0)[:, None], features, 0)
    columns, _ = score(make_input(features, ratings, ids=ids), split=0.5)
    found = columns["significant", "liking"] == 1

    assert found.any()
    assert np.isnan(columns["r_held_out", "liking"]).all()
    assert (columns["replicated", "liking"][found] == 0).all()
    assert np.isnan(columns["q_held_out", "liking"]).all()


def test_the_split_follows_the_ids_and_the_seed_not_the_order(planted):
    features, ratings, ids = planted
    order = np.random.default_rng(11).permutation(400)
    shuffled = make_input(
        features[order], {name: y[order] for name, y in ratings.items()}, 50, ids=tuple(ids[row] for row in order)
    )
    whole, _ = score(make_input(features, ratings, ids=ids), split=0.5)
    other_order, _ = score(shuffled, split=0.5)
    other_seed, _ = score(make_input(features, ratings, ids=ids), split=0.5, seed=1)

    for key, values in whole.items():
        np.testing.assert_allclose(other_order[key], values, rtol=1e-7, atol=1e-12)
    assert not np.allclose(other_seed["r", "liking"], whole["r", "liking"])


def test_held_out_images_confirm_what_is_true_and_little_else():
    generator = np.random.default_rng(12)
    features = sparse_features(generator, 2000, 200, 0.3)
    liking = features[:, :20] @ np.tile([0.5, -0.5], 10) + generator.normal(size=2000)
    columns, facts = score(make_input(features, {"liking": liking}), split=0.5)
    replicated = columns["replicated", "liking"] == 1

    assert replicated[:20].sum() >= 18
    assert replicated[20:].sum() <= 2
    assert facts["correlation_agreement_of_halves"] > 0.9


def test_ranks_are_taken_within_each_part(planted):
    features, ratings, ids = planted
    columns, _ = score(make_input(features, ratings, ids=ids), scorer=Spearman, split=0.5)
    discovery, held_out = (score(part, scorer=Spearman)[0] for part in parts(planted))

    np.testing.assert_allclose(columns["spearman_r", "liking"], discovery["spearman_r", "liking"], rtol=1e-9)
    np.testing.assert_allclose(columns["spearman_r_held_out", "liking"], held_out["spearman_r", "liking"], rtol=1e-9)


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_a_part_with_too_few_images_gives_nan(n):
    generator = np.random.default_rng(13)
    data = make_input(generator.random((n, 3)), {"liking": generator.random(n)})
    columns, _ = score(data, split=0.5, min_active=1)

    for part in ("", "_held_out"):
        assert np.isnan(columns["r" + part, "liking"]).all() == (columns["n" + part, "liking"] < 3).all()


def test_a_rating_that_cannot_be_tested_again_is_named(caplog):
    generator = np.random.default_rng(14)
    rating = np.where(np.arange(300) < 4, generator.normal(size=300), np.nan)
    score(make_input(generator.random((300, 3)), {"rare": rating}), split=0.9, seed=2)

    assert "rating 'rare' cannot be tested on the held-out images: fewer than 3 images have it" in caplog.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"split": 0},
        {"split": 1},
        {"family": "layer"},
        {"correction": "holm"},
        {"permutations": 0},
        {"correction": "max-t", "permutations": 18},
        {"correction": "max-t", "permutations": 500, "alpha": 0.001},
    ],
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ValidationError):
        LinearOptions(**wrong)


def test_nineteen_permutations_are_just_enough():
    assert LinearOptions(correction="max-t", permutations=19).permutations == 19
