"""Adjust p-values for multiple testing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from saeviz.typing import FloatArray

Method = Literal["bh", "by", "bonferroni"]
NAMES: dict[Method, str] = {"bh": "fdr_bh", "by": "fdr_by", "bonferroni": "bonferroni"}
"""The methods' names in statsmodels."""


def adjust(p: FloatArray, method: Method = "bh") -> FloatArray:
    """Adjusted p-values of one family `[n_tests]`; NaN stays NaN and is not counted as a test.

    `bh` is the procedure of Benjamini and Hochberg (1995), `by` that of Benjamini and Yekutieli (2001); both return the
    adjusted p-values (q-values) of statsmodels' `multipletests`. Takes five times the memory of `p`.
    """
    from statsmodels.stats.multitest import multipletests

    q = np.full(p.shape, np.nan)
    is_member = np.isfinite(p)
    if is_member.any():
        q[is_member] = multipletests(p[is_member], method=NAMES[method])[1]
    return q
