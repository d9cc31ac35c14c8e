"""Scores computed from blocks of features, with all images of each, so that several processes can share the work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import CSR
    from saeviz.values.score_input import ScoreInput
    from saeviz.values.scores import ImageColumn, PairBlock, ScoreColumn, ScoreFact


@runtime_checkable
class BlockScores(Protocol):
    """The scores of one space, computed from blocks of its features."""

    def block(self, features: slice, values: CSR) -> Mapping[str, NDArray[Any]]:
        """What follows from a block alone, as arrays of numbers by name.

        `values` are those of the features on all images, float32 `[n_block, n_items]` with sorted indices and without
        stored zeros. The numbers of a feature do not depend on which others are in the block.
        """
        ...

    def finish(
        self, blocks: Iterable[Mapping[str, NDArray[Any]]]
    ) -> Iterable[ScoreColumn | ScoreFact | ImageColumn | PairBlock]:
        """What `Scorer.score` yields, from all blocks in the order of the features; each is read when asked for."""
        ...


@runtime_checkable
class BlockScorer(Protocol):
    """Optional for a scorer: its scores can be computed from blocks of the features. `score` yields the same."""

    def in_blocks(self, data: ScoreInput) -> BlockScores | None:
        """How, for a space; None if the scores with these options, of this data, are not computed in this way.

        As `MergingScorer.in_parts`, which is asked first: called in every process, and of the features only
        `statistics` and `top_images` can be read before `finish`.
        """
        ...
