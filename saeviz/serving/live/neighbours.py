"""The neighbours of a feature: of similar decoder direction, and those that fire on the same images."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from saeviz.contract.roles import HasDecoder
from saeviz.results.run import Run
from saeviz.values.errors import SaevizError
from saeviz.values.features import Feature, FeatureSpace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saeviz.typing import FloatArray, IntArray

NEAREST = 12
"""Neighbours of each kind."""


class Neighbours:
    """Finds them in one run; not thread-safe. What is the same for all features of a space is computed once."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._spread = cache(self._spread_of)
        self._lengths = cache(self._lengths_of)

    def of(self, feature: Feature | str) -> dict[str, Any]:
        """The nearest features by decoder direction, in the same space and, by correlation over images, in each space.

        `direction` is null where the extractor shows no decoder, with the reason in `direction_missing`.
        """
        feature = self._run.feature(feature).feature
        own = next(space for space in self._run.spaces if feature in space)
        direction, missing = self._by_direction(feature, own)
        return {
            "feature": str(feature),
            "label": name_of(self._run, feature),
            "direction": direction,
            "direction_missing": missing,
            "firing": [{"space": str(space), "features": found} for space, found in self._by_firing(feature, own)],
        }

    def _by_direction(self, feature: Feature, space: FeatureSpace) -> tuple[list[dict[str, Any]] | None, str]:
        """Those of the largest cosine; None and the reason if there are no directions."""
        try:
            extractor = self._run.component("extractor")
            if not isinstance(extractor, HasDecoder):
                return None, "the extractor of this run does not show its decoder"
            decoder, lengths = extractor.decoder(space), self._lengths(space)
        except SaevizError as error:
            return None, str(error)
        alike = np.asarray(decoder @ decoder[feature.index], np.float64)
        cosines = alike / (lengths * max(lengths[feature.index], 1e-12))
        return self._largest(space, cosines, feature), ""

    def _by_firing(self, feature: Feature, own: FeatureSpace) -> list[tuple[FeatureSpace, list[dict[str, Any]]]]:
        """For its own space and then each other one, the features of the largest correlation of activations."""
        activations = self._run.activations(feature)
        rows = np.flatnonzero(activations)
        ids = [self._run.items[row].item_id for row in rows.tolist()]
        found = []
        for space in sorted(self._run.spaces, key=lambda space: space != own):
            r = self._correlations(space, ids, activations[rows], activations)
            found.append((space, self._largest(space, r, feature)))
        return found

    def _correlations(
        self, space: FeatureSpace, ids: Sequence[str], active: FloatArray, activations: FloatArray
    ) -> FloatArray:
        """Pearson r of all features of a space with activations; only images where these are not 0 add to products."""
        products, start = np.zeros(space.n_features), 0
        for batch in self._run.batches(space, ids):
            products += batch.matrix.T @ active[start : start + len(batch)]
            start += len(batch)
        totals, squares = self._spread(space)
        n, total = len(activations), activations.sum()
        spread = np.sqrt(np.maximum(squares - totals**2 / n, 0) * max(activations @ activations - total**2 / n, 0))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(spread > 1e-12, (products - totals * total / n) / spread, -np.inf))

    def _spread_of(self, space: FeatureSpace) -> tuple[FloatArray, FloatArray]:
        """Sum of the activations of each feature over all images, and sum of their squares."""
        totals, squares = np.zeros(space.n_features), np.zeros(space.n_features)
        for batch in self._run.batches(space, [item.item_id for item in self._run.items]):
            values, indices = batch.matrix.data.astype(np.float64), batch.matrix.indices
            totals += np.bincount(indices, values, space.n_features)
            squares += np.bincount(indices, values**2, space.n_features)
        return totals, squares

    def _lengths_of(self, space: FeatureSpace) -> FloatArray:
        """The length of each decoder direction, at least a little."""
        decoder = self._run.component("extractor").decoder(space)
        return np.maximum(np.sqrt(np.einsum("ij,ij->i", decoder, decoder, dtype=np.float64)), 1e-12)

    def _largest(self, space: FeatureSpace, values: FloatArray, feature: Feature) -> list[dict[str, Any]]:
        """Those of the largest positive value, without the feature itself."""
        if feature in space:
            values[feature.index] = -np.inf
        found = [index for index in strongest(values, NEAREST).tolist() if values[index] > 0]
        return [named(self._run, space.feature(index), value=float(values[index])) for index in found]


def strongest(values: FloatArray, n: int) -> IntArray:
    """The places of the `n` largest values, largest first; of equal ones the first."""
    order: IntArray = np.argsort(-values, kind="stable")
    return order[:n]


def named(run: Run, feature: Feature, **values: Any) -> dict[str, Any]:
    """A feature with its name and what is known of it here."""
    return {"feature": str(feature), "label": name_of(run, feature), **values}


def name_of(run: Run, feature: Feature) -> str:
    """The label of a feature, '' if it has none."""
    label = run.labels.get(feature)
    return label.label if label else ""
