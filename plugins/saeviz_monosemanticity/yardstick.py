"""One embedding of the run's images, with what is measured of it once for all spaces and features."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from saeviz_monosemanticity.baseline import Baseline, measure_baseline
from saeviz_monosemanticity.cosines import Cosines
from saeviz_monosemanticity.embeddings import UnitVectors


class Yardstick:
    """The unit vectors of the images that have one, their baseline, and what their null needs."""

    def __init__(self, embeddings: Any, item_ids: Sequence[str], seed: int) -> None:
        self.embeddings = embeddings
        self.unit = UnitVectors(embeddings)
        self._item_ids = item_ids
        self._seed = seed

    @cached_property
    def drawn_from(self) -> UnitVectors:
        """The same in an order that does not depend on that of the run."""
        return self.unit.sorted_by(self._item_ids)

    @cached_property
    def baseline(self) -> Baseline:
        """How alike two random images are."""
        return measure_baseline(self.drawn_from, self._seed)

    @cached_property
    def cosines(self) -> Cosines:
        """Takes two images."""
        return Cosines(self.drawn_from, self._seed)
