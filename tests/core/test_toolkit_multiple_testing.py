"""Adjusted p-values of a family: as each procedure is defined, and NaN is no member."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from saeviz.toolkit.multiple_testing import adjust

P_VALUES = st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.01, 1.0, np.nan])), max_size=40)


@pytest.mark.slow
@settings(deadline=None)
@given(P_VALUES, st.sampled_from(["bh", "by"]))
def test_the_false_discovery_rate_is_that_of_scipy_over_the_p_that_are_there(p, method):
    p = np.array(p)
    is_member = ~np.isnan(p)
    expected = np.full(p.shape, np.nan)
    expected[is_member] = false_discovery_control(p[is_member], method=method)

    np.testing.assert_allclose(adjust(p, method), expected, rtol=1e-12, atol=1e-300)


@pytest.mark.slow
@settings(deadline=None)
@given(P_VALUES)
def test_bonferroni_multiplies_by_the_number_of_members(p):
    p = np.array(p)

    expected = np.minimum(p * np.count_nonzero(~np.isnan(p)), 1.0)
    np.testing.assert_allclose(adjust(p, "bonferroni"), expected, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("method", ["bh", "by", "bonferroni"])
def test_a_family_without_members_has_no_q(method):
    assert adjust(np.zeros(0), method).size == 0
    assert np.isnan(adjust(np.full(3, np.nan), method)).all()
