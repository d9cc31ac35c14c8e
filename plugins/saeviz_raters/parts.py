"""Relations with single ratings from parts of the images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import saeviz
from saeviz_raters.sums import (
    Design,
    FeatureSums,
    shift_of,
    shifted,
    spread_of_images,
    sums_of_images,
    sums_of_raters,
    totals_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    State = Mapping[str, NDArray[Any]]

LARGEST_STATE = 1 << 21
"""Largest number of raters times features: three arrays of 16 MB."""


class RatersInParts:
    """Merges sums over the images of each rater (`saeviz.MergingScores`).

    `columns` makes of the design, name and sums of a rating what the scorer yields; `first` is yielded before. What is
    subtracted from features that are always on is their mean over all images, so sums of parts can be added.
    """

    def __init__(
        self,
        data: saeviz.ScoreInput,
        designs: Mapping[str, Design],
        columns: Callable[[Design, str, FeatureSums], Iterable[saeviz.ScoreColumn]],
        first: saeviz.ScoreFact,
    ) -> None:
        self._designs, self._columns, self._first = designs, columns, first
        self._shift = shift_of(data)

    def partial(self, part: saeviz.ScoreInput) -> State:
        """The sums of a part, by rating."""
        some = shifted(part.rows or slice(None), part.matrix(), self._shift)
        state = {}
        for place, design in enumerate(self._designs.values()):
            sums = chain(sums_of_raters(design, some), sums_of_images(design.per_image, some))
            state.update({f"{name}.{place}": array for name, array in sums})
        return state

    def merge(self, earlier: State, later: State) -> State:
        """The sums of both."""
        return {name: earlier[name] + later[name] for name in earlier}

    def finish(self, state: State) -> Iterable[saeviz.ScoreColumn | saeviz.ScoreFact]:
        """The fact and the columns of all ratings."""
        yield self._first
        for place, (name, design) in enumerate(self._designs.items()):
            sums = {key.removesuffix(f".{place}"): state[key] for key in state if key.endswith(f".{place}")}
            totals = totals_of(design, sums)
            of_images = spread_of_images(design.per_image, sums)
            yield from self._columns(design, name, FeatureSums(**totals, **of_images))
