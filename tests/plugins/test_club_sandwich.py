"""Errors of groups against R's clubSandwich 0.5.8: `coef_test(lm(...), vcov = "CR2", test = "Satterthwaite")`."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from saeviz_correlation.moderation import Moderation
from saeviz_correlation.options import ModerationOptions
from tests.plugins.correlations import make_input, score

FEATURE = np.array([0, 15, 0, 22, 3, 0, 9, 0, 31, 0, 4, 11, 0, 0, 27, 6, 0, 18]) / 10
RATING = np.array([2.1, 3.4, 1.9, 4.4, 2.2, 3.0, 2.9, 1.1, 4.8, 2.6, 3.3, 2.4, 1.7, 2.2, 4.1, 3.6, 2.8, 3.9])
GROUPS = (1, 1, 1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 5, 5, 6, 6)
MODERATOR = (0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 1, 1, 0, 0, 0, 1, 1, 0)

SLOPE = 0.81240749876664997
"""Of `lm(rating ~ feature)`."""
OF_SLOPE = {
    "clusters": (0.07554925529625563, 3.61717007483468622, 0.00071085398916598),
    "hc2": (0.098084817579891778, 5.409153666748545142, 0.000284766050019983),
}
"""Standard error, degrees of freedom and p; for `hc2` each image is a cluster."""

INTERACTION = 0.0559558582442829
"""Of `lm(rating ~ moderator * feature)`."""
OF_INTERACTION = {
    "clusters": (0.2985532349942713, 3.1820477167733583, 0.8626491584995485),
    "hc2": (0.2040262385260377, 4.8090702759156887, 0.7952748454864103),
}


def given(errors):
    groups = tuple(map(str, GROUPS)) if errors == "clusters" else None
    metadata = {"sunny": tuple(map(str, MODERATOR))}
    return make_input(FEATURE[:, None] * 10, {"mood": RATING}, metadata=metadata, groups=groups)  # exact in float32


@pytest.mark.parametrize("errors", OF_SLOPE)
def test_a_correlation_has_its_degrees_of_freedom_and_p(errors):
    columns, _ = score(given(errors), errors=errors, min_active=2)
    error, df, p = OF_SLOPE[errors]
    r = SLOPE * FEATURE.std() / RATING.std()
    assert columns["r", "mood"][0] == pytest.approx(r, rel=1e-9)
    assert columns["df", "mood"][0] == pytest.approx(df, rel=1e-9)
    assert columns["p", "mood"][0] == pytest.approx(p, rel=1e-8)
    assert 2 * stats.t.sf(SLOPE / error, df) == pytest.approx(p, rel=1e-8)


@pytest.mark.parametrize("errors", OF_INTERACTION)
def test_a_difference_of_relations_has_its_error_degrees_of_freedom_and_p(errors):
    options = {"scorer": Moderation, "options": ModerationOptions, "moderators": ("sunny",), "min_active": 2}
    columns, _ = score(given(errors), errors=errors, **options)
    found = {name: columns[f"moderation_{name}.sunny", "mood"][0] for name in ("difference", "ci_high", "df", "p")}
    error, df, p = OF_INTERACTION[errors]
    unit = FEATURE.std() / RATING.std()
    expected = {
        "difference": INTERACTION * unit,
        "ci_high": (INTERACTION + stats.t.ppf(0.975, df) * error) * unit,
        "df": df,
        "p": p,
    }
    assert found == pytest.approx(expected, rel=1e-8)
