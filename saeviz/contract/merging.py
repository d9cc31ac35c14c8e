"""Scores computed from parts of the images, so that several processes can share the work and get the same numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from saeviz.values.merging import MergeTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.values.score_input import ScoreInput
    from saeviz.values.scores import ImageColumn, PairBlock, ScoreColumn, ScoreFact


@runtime_checkable
class MergingScores(Protocol):
    """The scores of one space, computed from parts of its images.

    A state maps names to arrays of numbers. Their names, types and shapes are the same for all parts, also for one
    without images, and do not grow with the number of images.
    """

    def partial(self, part: ScoreInput) -> Mapping[str, NDArray[Any]]:
        """The state of a part (`ScoreInput.rows`), whose features fit in memory."""
        ...

    def merge(
        self, earlier: Mapping[str, NDArray[Any]], later: Mapping[str, NDArray[Any]]
    ) -> Mapping[str, NDArray[Any]]:
        """The state of the images of both, which have none in common. Neither is changed."""
        ...

    def finish(self, state: Mapping[str, NDArray[Any]]) -> Iterable[ScoreColumn | ScoreFact | ImageColumn | PairBlock]:
        """What `Scorer.score` yields, from the state of all images."""
        ...


@runtime_checkable
class MergingScorer(Protocol):
    """Optional for a scorer: its scores can be computed from parts of the images.

    `score` yields the same, as with `saeviz.merged_parts`.
    """

    def in_parts(self, data: ScoreInput) -> MergingScores | None:
        """How, for a space; None if the scores with these options, of this data, need all its images at once.

        Called in every process. Of the features only `statistics` and `top_images` of all images can be read, and the
        others from `finish` on, which is called in one process, as is `FamilyScorer.combine`.
        """
        ...


def merged_parts(scores: MergingScores, data: ScoreInput) -> Mapping[str, NDArray[Any]]:
    """The state of all images, from one pass over the features, as several processes would merge it."""
    tree = MergeTree(scores.merge)
    for number, part in enumerate(data.parts()):
        tree.add(number, scores.partial(part))
    return tree.result()
