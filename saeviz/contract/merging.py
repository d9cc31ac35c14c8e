"""Scores computed from parts of the images, so that several processes can share the work and get the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from saeviz.values.checks import kind_of
from saeviz.values.errors import MalformedError
from saeviz.values.merging import MergeTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.values.score_input import ScoreInput
    from saeviz.values.scores import ImageColumn, PairBlock, ScoreColumn, ScoreFact

    State = Mapping[str, NDArray[Any]]


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
    tree = MergeTree(checked_merge(scores.merge))
    for number, part in enumerate(data.parts()):
        tree.add(number, checked_state("partial", scores.partial(part)))
    return tree.result()


def checked_merge(merge: Callable[[State, State], object]) -> Callable[[State, State], State]:
    """The method `merge`, with its result checked."""
    return lambda earlier, later: checked_state("merge", merge(earlier, later))


def checked_state(method: str, state: object) -> State:
    """The state that a method gave; raises `MalformedError` unless it maps names to arrays of numbers."""
    import numpy as np

    if not isinstance(state, Mapping) or not state or not all(isinstance(name, str) for name in state):
        what = "an empty mapping" if isinstance(state, Mapping) and not state else kind_of(state)
        raise MalformedError(f"it gave {what} from {method}, not a mapping of names to arrays, one at least")
    for name, array in state.items():
        if not isinstance(array, np.ndarray | np.generic) or array.dtype.kind not in "biuf":
            what = f"an array of {array.dtype}" if isinstance(array, np.ndarray) else kind_of(array)
            raise MalformedError(f"it gave {what} as {name!r} from {method}, not an array of numbers")
    return state
