"""Adjusted p-values of a family: as each procedure is defined, and NaN is no member."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from saeviz.toolkit.multiple_testing import adjust

P_VALUES = st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.01, 1.0, np.nan])), max_size=40)


@pytest.mark.slow
@settings(deadline=None)
@given(P_VALUES, st.sampled_from([("bh", "fdr_bh"), ("by", "fdr_by"), ("bonferroni", "bonferroni")]))
def test_it_is_that_of_statsmodels_over_the_p_that_are_there(p, names):
    p = np.array(p)
    is_member = ~np.isnan(p)
    expected = np.full(p.shape, np.nan)
    if is_member.any():
        expected[is_member] = multipletests(p[is_member], method=names[1])[1]

    np.testing.assert_array_equal(adjust(p, names[0]), expected)


@pytest.mark.parametrize("method", ["bh", "by", "bonferroni"])
def test_a_family_without_members_has_no_q(method):
    assert adjust(np.zeros(0), method).size == 0
    assert np.isnan(adjust(np.full(3, np.nan), method)).all()
