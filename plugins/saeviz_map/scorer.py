"""Gives every feature of a run its place on a map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeviz import (
    ConfigError,
    Context,
    DataError,
    FeatureSpace,
    HasDecoder,
    ImageColumn,
    ScoreColumn,
    ScoreFact,
    ScoreInput,
)
from saeviz_map import MapOptions, coactivation, directions, pacmap_is_installed
from saeviz_map.layout import ENOUGH, neighbours_together, oriented

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, Mask

DIMENSIONS = 50
"""Principal components that PaCMAP is given."""


@dataclass(frozen=True)
class Chart:
    """Features that share a map: those of some spaces, one after the other, or of spaces that share an SAE.

    `components` is `[n_features, k]` and `placed` says which of its rows have a place. `share` is each component's
    share of the variance. `rows` are the rows of every space, and `own` which of them have a place.
    """

    components: FloatArray
    placed: Mask
    share: FloatArray
    rows: Mapping[FeatureSpace, slice]
    own: Mapping[FeatureSpace, Mask]


class FeatureMap:
    """Columns `map_x` and `map_y`: all features of a run on one map, from -1 to 1.

    Near each other are features that fire on the same images; with `by = "decoder"` features of an SAE with similar
    decoder directions, in which case every SAE has a map of its own and a feature has the same place at all tokens.
    NaN for a feature that never fires or, by co-activation, never changes. By co-activation images have places as well,
    on a map of their own: `map_x` and `map_y` of `images.parquet`, near each other where the same features fire.
    """

    def __init__(self, options: MapOptions, context: Context) -> None:
        self.options = options
        self.context = context
        self._seed = context.seed if options.seed is None else options.seed
        self._inputs: dict[FeatureSpace, ScoreInput] = {}
        self._images: FloatArray | None = None

    def score(self, data: ScoreInput) -> Sequence[ScoreColumn]:
        """No columns yet, because a map spans spaces."""
        self._inputs[data.space] = data
        return ()

    def combine(self, _columns: Sequence[ScoreColumn]) -> Iterator[ScoreColumn | ImageColumn | ScoreFact]:
        """The columns of all spaces, by co-activation those of the images, and how the map was made.

        Raises `ConfigError` if directions are to be compared and the extractor has no decoder.
        """
        if not self._inputs:
            return
        first, *others = self._inputs.values()
        if any(data.item_ids != first.item_ids for data in others):
            raise DataError("scorers.map: the feature spaces cover different images")
        self._images = None
        charts = list(self._by_coactivation() if self.options.by == "coactivation" else self._by_decoder())
        methods = set()
        for chart in self.context.progress(charts, len(charts), "map"):
            method = self._method_for(int(chart.placed.sum()))
            methods.add(method)
            places = np.full((chart.placed.size, 2), np.nan)
            places[chart.placed] = self._drawn(chart.components[chart.placed], method)
            for space, rows in chart.rows.items():
                for name, axis in (("map_x", 0), ("map_y", 1)):
                    yield ScoreColumn(name, space, np.where(chart.own[space], places[rows, axis], np.nan))
        if self._images is not None:
            drawn = self._drawn(self._images, self._method_for(len(self._images)))
            yield ImageColumn("map_x", drawn[:, 0])
            yield ImageColumn("map_y", drawn[:, 1])
        yield ScoreFact("map_by", self.options.by)
        yield ScoreFact("map_method", ", ".join(sorted(methods)))
        shares = [round(float(chart.share[:2].sum()), 4) for chart in charts]
        yield ScoreFact("map_variance_of_two_components", shares if len(shares) > 1 else shares[0])

    def _by_coactivation(self) -> Iterator[Chart]:
        points = [coactivation.points_of(data) for data in self._inputs.values()]
        components, self._images, share = coactivation.principal_components(points, self._n_components, self._seed)
        ends = np.cumsum([space.n_features for space in self._inputs])
        rows = {space: slice(end - space.n_features, end) for space, end in zip(self._inputs, ends, strict=True)}
        own = {one.data.space: one.placed for one in points}
        yield Chart(components, np.concatenate(list(own.values())), share, rows, own)

    def _by_decoder(self) -> Iterator[Chart]:
        extractor = self.context.peer("extractor")
        if not isinstance(extractor, HasDecoder):
            raise ConfigError(
                'scorers.map.by: the extractor of this run has no decoder directions; use by = "coactivation"'
            )
        for site in dict.fromkeys(space.site for space in self._inputs):
            spaces = [space for space in self._inputs if space.site == site]
            own = {space: self._inputs[space].features.count_active() > 0 for space in spaces}
            placed = np.logical_or.reduce(list(own.values()))
            decoder = extractor.decoder(spaces[0])
            components, share = directions.principal_components(decoder, placed, self._n_components)
            yield Chart(components, placed, share, dict.fromkeys(spaces, slice(None)), own)

    @property
    def _n_components(self) -> int:
        return 2 if self._method_for(ENOUGH) == "pca" else DIMENSIONS

    def _method_for(self, n_placed: int) -> str:
        """PaCMAP needs features enough to compare each with others."""
        if n_placed < ENOUGH:
            return "pca"
        return self.options.method or ("pacmap" if pacmap_is_installed() else "pca")

    def _drawn(self, components: FloatArray, method: str) -> FloatArray:
        return oriented(neighbours_together(components, self._seed) if method == "pacmap" else components)
