"""The neighbours of a feature: of similar decoder direction, and those that fire on the same images."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from saeviz.contract.roles import HasDecoder
from saeviz.formats.by_feature import ByFeature
from saeviz.formats.plain import one_line
from saeviz.results.run import Run
from saeviz.serving.live.answers import NAMED, Json, named, strongest
from saeviz.serving.live.asked import FEATURE, feature_of
from saeviz.serving.live.endpoint import NUMBER, TEXT, Endpoint, fields, listed, maybe
from saeviz.serving.live.opened import Live
from saeviz.values.errors import SaevizError
from saeviz.values.features import Feature, FeatureSpace

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, IntArray

NEAREST = 12
"""Neighbours of each kind."""
NEGLIGIBLE = 1e-10
"""Up to this share of its sum of squares a feature's variation is rounding: it is the same on all images."""


class Neighbours:
    """Finds them in one run. What is the same for all features of a space is computed once.

    Those by direction are for one thread at a time, since the model says them.
    """

    def __init__(self, run: Run, by_feature: ByFeature) -> None:
        self._run, self._by_feature = run, by_feature
        self._spread = cache(by_feature.moments)
        self._lengths = cache(self._lengths_of)

    def by_direction(self, feature: Feature) -> tuple[list[dict[str, Any]] | None, str]:
        """Those of its space of the largest cosine; None and the reason where the extractor shows no decoder."""
        space = self._space(feature)
        try:
            extractor = self._run.component("extractor")
            if not isinstance(extractor, HasDecoder):
                return None, "the extractor of this run does not show its decoder"
            decoder, lengths = extractor.decoder(space), self._lengths(space)
        except SaevizError as error:
            return None, one_line(str(error))
        alike = np.asarray(decoder @ decoder[feature.index], np.float64)
        return self._largest(space, alike / (lengths * lengths[feature.index]), feature), ""

    def by_firing(self, feature: Feature) -> list[dict[str, Any]]:
        """For its own space and then each other one, the features of the largest correlation of activations."""
        own = self._space(feature)
        places, values = self._by_feature.images_of(str(own), feature.index)
        active = values.astype(np.float64)
        found = []
        for space in sorted(self._run.spaces, key=lambda space: space != own):
            r = self._correlations(space, places, active)
            found.append({"space": str(space), "features": self._largest(space, r, feature)})
        return found

    def _space(self, feature: Feature) -> FeatureSpace:
        return next(space for space in self._run.spaces if feature in space)

    def _correlations(self, space: FeatureSpace, places: IntArray, active: FloatArray) -> FloatArray:
        """Pearson r over all images of all features of a space with one that is `active` on those at `places`."""
        products = self._by_feature.weighted_sum(str(space), places, active)
        totals, squares = self._spread(str(space))
        n, total, square = max(self._by_feature.n_images, 1), active.sum(), active @ active
        spread = np.sqrt(_variation(totals, squares, n) * _variation(total, square, n))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(spread > 0, (products - totals * total / n) / spread, -np.inf))

    def _lengths_of(self, space: FeatureSpace) -> FloatArray:
        """The length of each decoder direction, at least a little."""
        decoder = self._run.component("extractor").decoder(space)
        squares = np.einsum("ij,ij->i", decoder, decoder, dtype=np.float64)
        return np.asarray(np.maximum(np.sqrt(squares), 1e-12), np.float64)

    def _largest(self, space: FeatureSpace, values: FloatArray, feature: Feature) -> list[dict[str, Any]]:
        """Those of the largest positive value, without the feature itself."""
        if feature in space:
            values[feature.index] = -np.inf
        found = [index for index in strongest(values, NEAREST).tolist() if values[index] > 0]
        return [named(self._run, space.feature(index), value=float(values[index])) for index in found]


def _variation(total: Any, squares: Any, n: int) -> Any:
    """The sum of squares about the mean; 0 where it is but rounding."""
    found = squares - total**2 / n
    return np.where(found > NEGLIGIBLE * squares, found, 0.0)


_LIST = listed(fields(**NAMED, value=NUMBER))
NEIGHBOURS = fields(
    **NAMED,
    direction=maybe({**_LIST, "description": "Of the same space by cosine of decoder directions; null without these."}),
    direction_missing=TEXT,
    firing=listed(fields("By correlation of activations over the images of the run.", space=TEXT, features=_LIST)),
)


def routes(live: Live) -> list[Endpoint]:
    """`/api/neighbours?feature=layer11.cls/4711`."""
    known = Neighbours(live.run, live.by_feature)

    async def neighbours(request: Request) -> Response:
        feature = feature_of(live, request)
        firing = await run_in_threadpool(known.by_firing, feature)
        direction, missing = await live.with_model(known.by_direction, feature)
        return Json(named(live.run, feature, direction=direction, direction_missing=missing, firing=firing))

    summary = "The features most like a feature: by direction, and by the images on which they fire."
    return [Endpoint("/api/neighbours", neighbours, summary, query=[FEATURE], answer=NEIGHBOURS)]
