"""What is left of a correlation that was picked for being significant, what a design can find, what is negligible."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower

from saeviz.toolkit.multiple_testing import adjust
from saeviz_correlation.inference import adjust_by_permutation
from saeviz_correlation.selection import corrected, cutoff, detectable, p_of_equivalence, standard_errors
from saeviz_correlation.spearman import Spearman
from tests.plugins.correlations import hard_data, make_input, score

N = 200


@pytest.fixture(scope="module")
def features():
    generator = np.random.default_rng(3)
    return generator.exponential(size=(N, 40)) * (generator.random((N, 40)) < 0.5)


@pytest.fixture(scope="module")
def picked(features):
    """Ten of forty features go along with the rating, more or less."""
    generator = np.random.default_rng(4)
    rating = features[:, :10] @ np.linspace(0.1, 0.5, 10) + generator.normal(size=N)
    return make_input(features, {"liked": rating})


def seen(mean, cut):
    return stats.norm.sf(cut, mean) + stats.norm.cdf(-cut, mean)


def conditional(z, cut):
    """By SciPy: the mean under which a normal value beyond `cut` on either side is most likely z, and its interval."""
    size = abs(z)

    def loss(mean):
        return -(stats.norm.logpdf(size, mean) - np.log(seen(mean, cut)))

    best = optimize.minimize_scalar(loss, bounds=(-1, size + 1), method="bounded", options={"xatol": 1e-12}).x
    bounds = [
        optimize.brentq(
            lambda mean, share=share: stats.norm.sf(size, mean) / seen(mean, cut) - share, -12, size + 9, xtol=1e-13
        )
        for share in (0.025, 0.975)
    ]
    return np.sign(z) * best, *sorted(np.sign(z) * np.array(bounds))


def test_what_was_picked_is_corrected_as_the_conditional_likelihood_says(picked):
    found, _ = score(picked)
    values = {name: found[name, "liked"] for name, _ in found}
    is_found = values["significant"] == 1
    assert 3 < is_found.sum() < 20
    largest_p = 0.05 * is_found.sum() / np.isfinite(values["q"]).sum()
    for feature in np.flatnonzero(is_found):
        r, p = values["r"][feature], values["p"][feature]
        z = np.arctanh(r) * np.sqrt(N - 3)
        cut = abs(z) * stats.norm.isf(largest_p / 2) / stats.norm.isf(p / 2)
        expected = np.tanh(np.array(conditional(z, cut)) / np.sqrt(N - 3))
        given = [values[f"{name}_corrected"][feature] for name in ("r", "ci_low", "ci_high")]
        np.testing.assert_allclose(given, expected, atol=1e-6)
        assert abs(given[0]) < abs(r)
    for name in ("r", "ci_low", "ci_high"):
        assert np.isnan(values[f"{name}_corrected"][~is_found]).all()


def test_a_correlation_far_beyond_the_cut_off_stays_as_it_is():
    generator = np.random.default_rng(0)
    x = generator.exponential(size=(400, 1))
    found, _ = score(make_input(x, {"liked": x[:, 0] + 0.2 * generator.normal(size=400)}))
    for name in ("r", "ci_low", "ci_high"):
        assert found[f"{name}_corrected", "liked"] == pytest.approx(found[name, "liked"], abs=1e-6)


@pytest.mark.filterwarnings("error")
def test_a_correlation_many_standard_errors_from_zero_but_hardly_beyond_the_cut_off_is_corrected():
    found = corrected(np.tanh([60 * 0.02]), np.array([1e-5]), np.array([0.02]), np.array([np.inf]), 1.002e-5)
    np.testing.assert_allclose(np.ravel(found), [0.0016, -0.0005, 0.807], atol=5e-4)


def test_a_negative_correlation_is_corrected_as_a_positive_one(picked, features):
    other = make_input(features, {"liked": -picked.ratings["liked"]})
    one, mirrored = score(picked)[0], score(other)[0]
    np.testing.assert_allclose(one["r_corrected", "liked"], -mirrored["r_corrected", "liked"], atol=1e-12)
    np.testing.assert_allclose(one["ci_low_corrected", "liked"], -mirrored["ci_high_corrected", "liked"], atol=1e-12)


def test_images_that_were_held_out_need_no_correction(picked):
    found, _ = score(picked, split=0.5)
    assert ("r_held_out", "liked") in found
    assert ("r_corrected", "liked") not in found


@pytest.mark.parametrize("correction", ["bh", "by", "bonferroni"])
@pytest.mark.parametrize("n_related", [0, 1, 12])
def test_the_cut_off_separates_what_is_significant_from_what_is_not(correction, n_related):
    p = np.random.default_rng(n_related).random(50)
    p[:n_related] *= 1e-3
    significant = adjust(p, correction) <= 0.05
    bound = cutoff(correction, 0.05, p.size, int(significant.sum()), None)
    np.testing.assert_array_equal(p <= bound, significant)


def test_so_does_that_of_permutations():
    random = np.random.default_rng(0)
    smallest, p = random.random(999) / 50, random.random(2000) / 200
    bound = cutoff("max-t", 0.05, p.size, 0, smallest)
    significant = adjust_by_permutation(p, smallest) <= 0.05
    assert 0 < significant.sum() < p.size
    np.testing.assert_array_equal(p < bound, significant)


def test_the_smallest_r_that_is_found_is_that_of_statsmodels(picked):
    found, facts = score(picked)
    n_tests, n_found = np.isfinite(found["q", "liked"]).sum(), (found["significant", "liked"] == 1).sum()
    z = NormalIndPower().solve_power(
        nobs1=N - 3, ratio=0, alpha=0.05 * n_found / n_tests, power=0.8, alternative="two-sided"
    )
    assert facts["correlation_detectable_liked"] == pytest.approx(np.tanh(z), abs=1e-6)


def test_where_nothing_is_found_it_is_the_r_that_would_be_the_only_one(features):
    noise = np.random.default_rng(2).normal(size=N)
    found, facts = score(make_input(features, {"noise": noise}))
    assert not np.nansum(found["significant", "noise"])
    n_tests = np.isfinite(found["q", "noise"]).sum()
    z = NormalIndPower().solve_power(nobs1=N - 3, ratio=0, alpha=0.05 / n_tests, power=0.8, alternative="two-sided")
    assert facts["correlation_detectable_noise"] == pytest.approx(np.tanh(z), abs=1e-6)


def test_negligible_is_what_two_one_sided_tests_say():
    generator = np.random.default_rng(5)
    n = 3000
    features = generator.exponential(size=(n, 30)) * (generator.random((n, 30)) < 0.5)
    data = make_input(features, {"liked": features[:, 0] * 0.2 + generator.normal(size=n)})
    found, facts = score(data, negligible_r=0.1)
    z, margin, sd = np.arctanh(found["r", "liked"]), np.arctanh(0.1), 1 / np.sqrt(n - 3)
    one_sided = np.maximum(stats.norm.sf((z + margin) / sd), stats.norm.cdf((z - margin) / sd))
    expected = multipletests(one_sided, alpha=0.05, method="fdr_bh")[0]
    assert 10 < expected.sum() < 30
    np.testing.assert_array_equal(found["negligible", "liked"], expected)
    assert facts["correlation_negligible_liked"] == expected.sum()
    assert facts["correlation_margin"] == 0.1


def test_what_is_not_tested_is_neither_negligible_nor_not():
    features, ratings = hard_data()
    found, _ = score(make_input(features, ratings))
    for rating in ratings:
        np.testing.assert_array_equal(np.isnan(found["negligible", rating]), np.isnan(found["significant", rating]))


def test_ranks_are_corrected_by_their_own_interval(picked):
    found, _ = score(picked, scorer=Spearman)
    is_found = found["spearman_significant", "liked"] == 1
    low, high = (found[f"spearman_ci_{side}_corrected", "liked"][is_found] for side in ("low", "high"))
    plain = found["spearman_ci_low", "liked"][is_found], found["spearman_ci_high", "liked"][is_found]
    assert (high - low >= (plain[1] - plain[0]) * 0.9).all()
    assert (np.abs(found["spearman_r_corrected", "liked"]) < np.abs(found["spearman_r", "liked"]))[is_found].all()


def test_few_degrees_of_freedom_make_equivalence_and_detection_harder():
    df, se = np.array([4.0, 9.0, np.inf]), np.full(3, 0.02)
    bound = np.tanh(stats.t.isf(0.025, df) * se)
    np.testing.assert_allclose(standard_errors(-bound, bound, df), se, rtol=1e-9)
    expected = stats.t.cdf(-np.arctanh(0.1) / se, df)
    np.testing.assert_allclose(p_of_equivalence(np.zeros(3), se, df, 0.1), expected, rtol=1e-6)
    np.testing.assert_allclose(expected[:2], [0.0037, 3.6e-4], rtol=0.02)
    for one, freedom in zip(se, df, strict=True):
        size = (stats.t.isf(0.0005, freedom) + stats.t.isf(0.2, freedom)) * one
        assert detectable(np.array([one]), np.array([freedom]), 0.001) == pytest.approx(np.tanh(size))


def test_with_few_degrees_of_freedom_the_correction_is_that_of_a_normal_value_with_this_p():
    p = np.array([1e-4])
    given = corrected(np.array([0.3]), p, np.array([0.01]), np.array([8.0]), 1e-3)
    se = np.arctanh(0.3) / stats.norm.isf(p / 2)
    expected = np.tanh(np.array(conditional(stats.norm.isf(p / 2)[0], stats.norm.isf(5e-4))) * se)
    np.testing.assert_allclose(np.ravel(given), expected, atol=1e-6)


def test_in_groups_what_is_negligible_and_detectable_goes_by_students_t():
    generator = np.random.default_rng(8)
    features = generator.exponential(size=(3000, 30)) * (generator.random((3000, 30)) < 0.5)
    groups = tuple(f"series {number % 8}" for number in range(3000))
    found, facts = score(make_input(features, {"liked": generator.normal(size=3000)}, groups=groups))
    values = {name: found[name, "liked"] for name in ("r", "df", "ci_low", "ci_high", "negligible")}
    se = (np.arctanh(values["ci_high"]) - np.arctanh(values["ci_low"])) / 2 / stats.t.isf(0.025, values["df"])
    one_sided = stats.t.cdf((np.arctanh(np.abs(values["r"])) - np.arctanh(0.1)) / se, values["df"])
    np.testing.assert_array_equal(values["negligible"], multipletests(one_sided, alpha=0.05, method="fdr_bh")[0])
    quantiles = stats.t.isf(0.05 / 30 / 2, values["df"]) + stats.t.isf(0.2, values["df"])
    assert facts["correlation_detectable_liked"] == pytest.approx(np.tanh(np.median(quantiles * se)))
