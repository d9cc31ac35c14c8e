"""Puts features that are copies of one another into clusters, over all spaces of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from saeviz import (
    ConfigError,
    Context,
    DataError,
    FeatureSpace,
    HasDecoder,
    Layer,
    ScoreColumn,
    ScoreFact,
    ScoreInput,
    merged_parts,
)
from saeviz_redundancy import RedundancyOptions
from saeviz_redundancy.clusters import Evidence, blocks, find_leaders
from saeviz_redundancy.coactivation import CoActivation
from saeviz_redundancy.directions import Directions
from saeviz_redundancy.sketch import Sketch, SketchInParts, unit_rows

if TYPE_CHECKING:
    from saeviz.typing import Float32Array, IntArray


class Redundancy:
    """Clusters of features whose activations correlate, across layers and tokens.

    A cluster is a leader, its most active member, and features that correlate with it at least as much as `threshold`
    says (or whose decoder direction has a cosine of `decoder_threshold` with its own). Columns: `cluster`, the row of
    the leader in the score table, the same for all members; `cluster_size`, the number of members. Both are NaN
    for a feature that fires on fewer than `min_active` images or (within 1 in 10,000) never changes.
    """

    def __init__(self, options: RedundancyOptions, context: Context) -> None:
        self.options = options
        self.context = context
        self._sketches: dict[FeatureSpace, Sketch] = {}

    def score(self, data: ScoreInput) -> Sequence[ScoreColumn]:
        """No columns yet, because clusters span spaces. Stores what `combine` needs, 512 bytes per feature."""
        scores = self.in_parts(data)
        scores.finish(merged_parts(scores, data))
        return ()

    def in_parts(self, data: ScoreInput) -> SketchInParts:
        """The same from parts of the images; `combine` reads features of the candidates."""

        def take(sketch: Sketch) -> None:
            self._sketches[data.space] = sketch

        return SketchInParts(data, min_active=self.options.min_active, seed=self.context.seed, take=take)

    def combine(self, _columns: Sequence[ScoreColumn]) -> Iterator[ScoreColumn | ScoreFact]:
        """The columns of all spaces, and how many clusters there are.

        Raises `ConfigError` if decoders are to be compared and the extractor has none to show.
        """
        if not self._sketches:
            return
        sketches = list(self._sketches.values())
        if any(sketch.data.item_ids != sketches[0].data.item_ids for sketch in sketches):
            raise DataError("scorers.redundancy: the feature spaces cover different images")
        starts = np.cumsum([0, *(space.n_features for space in self._sketches)])
        rows = np.concatenate([sketch.features + start for sketch, start in zip(sketches, starts, strict=False)])
        n_active = np.concatenate([sketch.n_active for sketch in sketches])
        order = np.lexsort((rows, -n_active))
        portions = blocks(order.size)
        leader = find_leaders(
            self.context.progress(portions, len(portions), "redundancy"), self._evidence(sketches, order)
        )
        cluster, size = np.full(starts[-1], np.nan), np.full(starts[-1], np.nan)
        sizes = np.bincount(leader, minlength=order.size)
        cluster[rows[order]] = rows[order][leader]
        size[rows[order]] = sizes[leader]
        for space, start in zip(self._sketches, starts, strict=False):
            own = slice(start, start + space.n_features)
            yield ScoreColumn("cluster", space, cluster[own])
            yield ScoreColumn("cluster_size", space, size[own])
        yield from self._facts(sizes)

    def _evidence(self, sketches: Sequence[Sketch], order: IntArray) -> list[Evidence]:
        evidence: list[Evidence] = [CoActivation(sketches, order, self.options.threshold)]
        if self.options.decoder_threshold is not None:
            sites = self._sites()
            numbers = np.concatenate([np.full(one.features.size, sites.index(one.data.space.site)) for one in sketches])
            features = np.concatenate([one.features for one in sketches])
            evidence.append(
                Directions(numbers[order], features[order], self._decoders(), self.options.decoder_threshold)
            )
        return evidence

    def _decoders(self) -> Mapping[int, Float32Array]:
        """By the number of the SAE in `_sites`, rows of length 1."""
        extractor = self.context.peer("extractor")
        if not isinstance(extractor, HasDecoder):
            raise ConfigError(
                "scorers.redundancy.decoder_threshold: the extractor of this run has no decoder directions; remove "
                "this option to use co-activation alone"
            )
        by_site = {space.site: space for space in self._sketches}
        return {
            number: unit_rows(np.array(extractor.decoder(by_site[site]), dtype=np.float32))
            for number, site in enumerate(self._sites())
        }

    def _sites(self) -> list[Layer]:
        """The SAEs: the spaces of one share its decoder."""
        return list(dict.fromkeys(space.site for space in self._sketches))

    def _facts(self, sizes: IntArray) -> Iterator[ScoreFact]:
        """`sizes` is that of the cluster of every leader, 0 for the features that are none."""
        shared = sizes[sizes > 1]
        yield ScoreFact("redundancy_threshold", self.options.threshold)
        if self.options.decoder_threshold is not None:
            yield ScoreFact("redundancy_decoder_threshold", self.options.decoder_threshold)
        yield ScoreFact("redundancy_features", int(sizes.sum()))
        yield ScoreFact("redundancy_clusters", int(shared.size))
        yield ScoreFact("redundancy_features_in_clusters", int(shared.sum()))
        yield ScoreFact("redundancy_largest_cluster", int(sizes.max(initial=0)))
