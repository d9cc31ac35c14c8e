"""The ratings that are predicted of any image, by the models that the scorer `prediction` keeps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from saeviz.formats.rundir import RunDir
from saeviz.results.run import Run
from saeviz.serving.live.answers import NAMED, named
from saeviz.serving.live.endpoint import NUMBER, TEXT, WHOLE, fields, listed, maybe
from saeviz.values.features import FeatureSpace
from saeviz.values.keys import space_key

if TYPE_CHECKING:
    from saeviz.typing import CSR, FloatArray

WEIGHT = "ridge_weight"
INTERCEPTS = "prediction_intercepts"
ADDING = 6
"""Features of each rating that add most to what is predicted."""
PREDICTIONS = listed(
    fields(
        "`value` is a chance if `binary`. `r2` is that on images of the run that took no part in fitting, of which "
        "`below` have a lower prediction, as a share. `adds` is a feature's activation times its weight.",
        rating=TEXT,
        value=NUMBER,
        binary={"type": "boolean"},
        r2=maybe(NUMBER),
        n_images=maybe(WHOLE),
        below=maybe(NUMBER),
        adding=listed(fields(**NAMED, adds=NUMBER)),
    )
)


@dataclass(frozen=True)
class _Weights:
    """Of one space: `[n_features, n_ratings]`."""

    space: FeatureSpace
    values: FloatArray


class Predictions:
    """Predicts ratings from the features of an image in all spaces of a run."""

    def __init__(self, run: Run, rundir: RunDir) -> None:
        self._run, self._rundir = run, rundir

    @cached_property
    def missing(self) -> str:
        """Why nothing can be predicted, '' if something can."""
        if self.intercepts:
            return ""
        if "prediction" in self._run.facts:
            return "the run keeps no model of its ratings: an earlier version scored it, or there are too many ratings"
        return "the run has no model of its ratings; add the scorer prediction to the run file and run it"

    @cached_property
    def intercepts(self) -> Mapping[str, float]:
        """The intercept of each rating that has a model."""
        found = self._run.facts.get(INTERCEPTS)
        given = found if isinstance(found, Mapping) else {}
        return {str(name): float(value) for name, value in given.items() if isinstance(value, int | float)}

    def of(self, rows: Mapping[FeatureSpace, CSR]) -> list[dict[str, Any]]:
        """What is predicted of an image with these features, `[1, n_features]` in each space; see `PREDICTIONS`."""
        if self.missing:
            return []
        added = [(one.space, rows[one.space].indices, self._added(one, rows[one.space])) for one in self._weights]
        found = []
        for place, (rating, intercept) in enumerate(self.intercepts.items()):
            of_rating = [(space, indices, values[:, place]) for space, indices, values in added]
            total = intercept + sum(float(values.sum()) for _, _, values in of_rating)
            found.append({"rating": rating, **self._figures(rating, total), "adding": self._most(of_rating)})
        return found

    def _figures(self, rating: str, total: float) -> dict[str, Any]:
        entry = self._entry(rating)
        binary = "auc" in entry
        value = 1 / (1 + math.exp(-min(max(total, -500.0), 500.0))) if binary else total
        column = f"predicted.{rating}"
        others = self._run.images_table[column].dropna() if column in self._run.images_table else []
        return {
            "value": value,
            "binary": binary,
            "r2": _finite(entry.get("r2")),
            "n_images": entry.get("n_images"),
            "below": float((np.asarray(others) < value).mean()) if len(others) else None,
        }

    def _entry(self, rating: str) -> Mapping[str, Any]:
        """The figures of ridge on the features of all spaces, on images that took no part in fitting."""
        found = self._run.facts.get("prediction")
        entries = found.get(rating) if isinstance(found, Mapping) else None
        wanted = "all" if len(self._run.spaces) > 1 else str(self._run.spaces[0])
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, Mapping) and [entry.get(key) for key in ("method", "source", "space")] == [
                "ridge", "features", wanted,
            ]:  # fmt: skip
                return entry
        return {}

    def _added(self, one: _Weights, row: CSR) -> FloatArray:
        return np.asarray(one.values[row.indices] * row.data[:, None], np.float64)

    def _most(self, of_rating: Iterable[tuple[FeatureSpace, Any, FloatArray]]) -> list[dict[str, Any]]:
        every = [
            (float(value), space.feature(int(index)))
            for space, indices, values in of_rating
            for value, index in zip(values.tolist(), indices.tolist(), strict=True)
            if value
        ]
        every.sort(key=lambda one: (-abs(one[0]), one[1]))
        return [named(self._run, feature, adds=value) for value, feature in every[:ADDING]]

    @cached_property
    def _weights(self) -> list[_Weights]:
        """Those of every space. Features that are not in the table add nothing."""
        places = {rating: place for place, rating in enumerate(self.intercepts)}
        found = []
        for space in self._run.spaces:
            columns = ("feature", "rating", WEIGHT)
            table = self._rundir.read_rows(self._rundir.correlations, "score", space_key(space), columns)
            values = np.zeros((space.n_features, len(places)))
            if WEIGHT in table.column_names:
                place = np.array([places.get(name, -1) for name in table["rating"].to_pylist()], np.int64)
                features = table["feature"].to_numpy().astype(np.int64)
                weights = table[WEIGHT].to_numpy().astype(np.float64)
                kept = (place >= 0) & np.isfinite(weights) & (features < space.n_features)
                values[features[kept], place[kept]] = weights[kept]
            found.append(_Weights(space, values))
        return found


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
