"""The ratings that are predicted of any image, by the models that the scorer `prediction` keeps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from saeviz.results.run import Run
from saeviz.serving.live.answers import NAMED, named
from saeviz.serving.live.endpoint import NUMBER, TEXT, WHOLE, fields, listed, maybe
from saeviz.values.features import FeatureSpace

if TYPE_CHECKING:
    from saeviz.typing import CSR, FloatArray

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


class Predictions:
    """Predicts ratings from the features of an image in all spaces of a run."""

    def __init__(self, run: Run) -> None:
        self._run, self._models = run, run.rating_models

    @cached_property
    def missing(self) -> str:
        """Why nothing can be predicted, '' if something can."""
        if self._models.intercepts:
            return ""
        if "prediction" in self._run.facts:
            return "the run keeps no model of its ratings: an earlier version scored it, or there are too many ratings"
        return "the run has no model of its ratings; add the scorer prediction to the run file and run it"

    def of(self, rows: Mapping[FeatureSpace, CSR]) -> list[dict[str, Any]]:
        """What is predicted of an image with these features, `[1, n_features]` in each space; see `PREDICTIONS`."""
        if self.missing:
            return []
        added = [(space, rows[space].indices, _added(weights, rows[space])) for space, weights in self._weights]
        found = []
        for place, (rating, intercept) in enumerate(self._models.intercepts.items()):
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
    def _weights(self) -> list[tuple[FeatureSpace, FloatArray]]:
        return [(space, self._models.weights(space)) for space in self._run.spaces]


def _added(weights: FloatArray, row: CSR) -> FloatArray:
    return np.asarray(weights[row.indices] * row.data[:, None], np.float64)


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
