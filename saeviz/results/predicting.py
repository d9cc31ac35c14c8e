"""The linear models of a run that predict its ratings from features, as a scorer such as `prediction` keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from saeviz.values.keys import space_key

if TYPE_CHECKING:
    from saeviz.formats.rundir import RunDir
    from saeviz.typing import FloatArray
    from saeviz.values.features import FeatureSpace

INTERCEPTS = "prediction_intercepts"
"""The fact."""


class RatingModels:
    """A rating is predicted as its intercept and, of each feature, weight times activation.

    For a rating of 0 and 1 this is in log odds. `column` of the correlations has the weights.
    """

    column = "ridge_weight"

    def __init__(self, rundir: RunDir, facts: Mapping[str, Any]) -> None:
        self._rundir, self._facts = rundir, facts

    @cached_property
    def intercepts(self) -> Mapping[str, float]:
        """The intercept of each rating that has a model; empty where the run keeps none."""
        found = self._facts.get(INTERCEPTS)
        given = found if isinstance(found, Mapping) else {}
        return {str(name): float(value) for name, value in given.items() if isinstance(value, int | float)}

    def weights(self, space: FeatureSpace) -> FloatArray:
        """The weights of a space, `[n_features, n_ratings]` in the order of `intercepts`; 0 where there is none."""
        import numpy as np

        places = {rating: place for place, rating in enumerate(self.intercepts)}
        values = np.zeros((space.n_features, len(places)))
        columns = ("feature", "rating", self.column)
        table = self._rundir.read_rows(self._rundir.correlations, "score", space_key(space), columns)
        if self.column in table.column_names:
            place = np.array([places.get(name, -1) for name in table["rating"].to_pylist()], np.int64)
            features = table["feature"].to_numpy().astype(np.int64)
            weights = table[self.column].to_numpy().astype(np.float64)
            kept = (place >= 0) & np.isfinite(weights) & (features < space.n_features)
            values[features[kept], place[kept]] = weights[kept]
        return values
