"""p of a slope whose variance is that of images and that of raters: neither too bold nor without power."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import binom, t

from saeviz_raters.behrens_fisher import p_values


def by_convolution(slope, images, images_df, raters, raters_df):
    """P(|sqrt(images) t + sqrt(raters) t'| > slope), the definition of Behrens and Fisher."""

    def beyond(of_raters):
        low, high = ((end - np.sqrt(raters) * of_raters) / np.sqrt(images) for end in (-slope, slope))
        return t.pdf(of_raters, raters_df) * (t.cdf(low, images_df) + t.sf(high, images_df))

    return quad(beyond, -np.inf, np.inf, epsabs=1e-14, limit=500)[0]


@pytest.mark.parametrize("raters_df", [1, 2, 7, 19])
@pytest.mark.parametrize("raters", [0.2, 1.0, 4.0])
def test_p_is_that_of_two_t_together(raters_df, raters):
    slopes = np.array([0.5, 2.0, 4.0])
    found = p_values(slopes, np.full(3, 1.0), 98, np.full(3, raters), np.zeros(3), np.full(3, float(raters_df)))
    expected = [by_convolution(slope, 1.0, 98, raters, raters_df) for slope in slopes]
    np.testing.assert_allclose(found, expected, rtol=0.03)


def test_without_a_difference_between_raters_it_is_a_t_test_over_images():
    slopes, ones = np.array([-3.0, 0.0, 5.0]), np.ones(3)
    found = p_values(slopes, ones, 40, 0 * ones, 0 * ones, 4 * ones)
    np.testing.assert_allclose(found, 2 * t.sf(np.abs(slopes), 40), rtol=1e-9)


def test_what_is_unknown_is_nan_and_a_perfect_fit_is_certain():
    found = p_values(np.array([1.0, np.nan, 1.0]), np.array([0.0, 1.0, np.nan]), 9, *np.zeros((2, 3)), np.ones(3))
    assert found[0] == 0
    assert np.isnan(found[1:]).all()


def drawn(generator, n, n_raters, differ, effect=0.0):
    """p of made-up mean squares of 200 images, whose own differences and noise both have the variance 1."""
    of_images, of_raters = n_raters + 1.0, differ + 1.0
    images_df, raters_df = 198, n_raters - 1
    slope = np.sqrt(of_images + of_raters - 1) * (generator.normal(size=n) + effect)
    images = of_images * generator.chisquare(images_df, n) / images_df
    raters = of_raters * generator.chisquare(raters_df, n) / raters_df
    noise = generator.chisquare(images_df * raters_df, n) / (images_df * raters_df)
    return p_values(slope, images, images_df, raters, noise, np.full(n, float(raters_df)))


@pytest.mark.parametrize("differ", [1, 10, 30])
@pytest.mark.parametrize("n_raters", [2, 4, 8, 12])
def test_p_is_not_too_small_however_much_raters_differ(n_raters, differ):
    """Degrees of freedom by Satterthwaite gave p < .001 twice as often as they should with eight raters."""
    p = drawn(np.random.default_rng(n_raters), 20_000, n_raters, differ)
    for level in (0.05, 0.01, 0.001):
        assert (p < level).sum() <= binom.ppf(0.9999, p.size, level)


def test_five_raters_who_agree_are_believed():
    """The bound on degrees of freedom that was there before found p < .001 in 1 of 100 of these."""
    p = drawn(np.random.default_rng(0), 2_000, 5, 0, effect=6.0)
    assert np.mean(p < 0.001) > 0.8
