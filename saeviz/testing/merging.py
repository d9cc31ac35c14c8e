"""The contract of scorers whose scores are computed from parts of the images, as a test suite."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from saeviz.contract.merging import MergingScorer, MergingScores, merged_parts
from saeviz.contract.roles import FamilyScorer, Scorer
from saeviz.formats.npz import read_npz
from saeviz.formats.plain import quoted
from saeviz.testing.contract import Contract, assert_equal
from saeviz.testing.data import Surroundings, score_input
from saeviz.testing.scorers import MakeScorer, columns_of
from saeviz.values.checks import kind_of
from saeviz.values.features import FeatureBatch
from saeviz.values.merging import PART_SIZE, MergeTree
from saeviz.values.score_input import ScoreInput
from saeviz.values.scores import PairBlock, ScoreColumn, ScoreFact, ScoreResult
from saeviz.values.streams import FeatureStream
from saeviz.values.summary import FeatureSummary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    State = Mapping[str, NDArray[Any]]

N_ITEMS = 2 * PART_SIZE + 100
TOP_IMAGES = 32


class MergingScorerContract(Contract):
    """For a `saeviz.MergingScorer`, next to `ScorerContract`. Subclass this and define the fixture `make`."""

    tolerance: ClassVar[float] = 1e-9
    """The largest relative difference of a score by how images are divided and in what order states are merged."""

    @pytest.fixture
    def make(self) -> MakeScorer:
        """Builds the scorer under test."""
        raise NotImplementedError("define the fixture make")

    @pytest.fixture
    def scorer(self, make: MakeScorer, tmp_path: Path) -> MergingScorer:
        """The scorer under test."""
        scorer = make(Surroundings(tmp_path).context)
        assert isinstance(scorer, MergingScorer), f"{kind_of(scorer)} is no saeviz.MergingScorer: it lacks in_parts"
        return scorer

    @pytest.fixture
    def data(self) -> ScoreInput:
        """Images enough for three parts. Override it if the scorer needs others, such as with individual ratings."""
        return score_input(N_ITEMS, rows_per_batch=700, ratings=("liking", "calm", "constant"))

    def test_any_partition_and_any_order_give_the_same_scores(self, scorer: MergingScorer, data: ScoreInput) -> None:
        import numpy as np

        whole = Division(scorer, data)
        expected = whole.results(merged_parts(whole.scores, data))
        for seed in range(2):
            random = np.random.default_rng(seed)
            division = Division(scorer, data)
            states = [division.scores.partial(part) for part in random_parts(data, random)]
            while len(states) > 1:
                one, other = (states.pop(random.integers(len(states))) for _ in range(2))
                states.append(division.scores.merge(one, other))
            found = division.results(states[0])
            assert_same_results(found, expected, self.tolerance, "parts of any size in any order give")

    def test_parts_of_fixed_size_give_the_same_scores_to_the_last_bit(
        self, scorer: MergingScorer, data: ScoreInput, tmp_path: Path
    ) -> None:
        import numpy as np

        assert isinstance(scorer, Scorer), f"{kind_of(scorer)} is no saeviz.Scorer: it lacks score"
        expected = with_family(scorer, scorer.score(data))
        assert any(isinstance(result, ScoreColumn) for result in expected), "the scorer gave no column"
        for seed in range(2):
            random = np.random.default_rng(seed)
            division = Division(scorer, data)
            parts = list(enumerate(batched_anew(data, random).parts()))
            tree = MergeTree(division.scores.merge)
            for place in random.permutation(len(parts)):
                number, part = parts[place]
                tree.add(number, saved_and_read(division.scores.partial(part), tmp_path / "state.npz"))
            assert_same_results(division.results(tree.result()), expected, 0.0, "parts of fixed size give")

    def test_states_are_numbers_whose_size_is_known_beforehand(self, scorer: MergingScorer, data: ScoreInput) -> None:
        scores = Division(scorer, data).scores
        few, many, none = (
            scores.partial(part_of(data, slice(start, stop))) for start, stop in ((0, 3), (3, 900), (900, 900))
        )
        sizes = sizes_of(few)
        wrong = {name: str(dtype) for name, (_, dtype) in sizes.items() if dtype.kind not in "biuf"}
        assert not wrong, f"partial gives {wrong}; a state has arrays of numbers only"
        for state, what in ((none, "no images"), (many, "897 images"), (scores.merge(few, many), "a merged state")):
            found = sizes_of(state)
            assert found == sizes, (
                f"the shapes and types of the state of {what} are {quoted(found)}, of three images {quoted(sizes)}; "
                "the same were expected"
            )

    def test_images_without_any_change_nothing(self, scorer: MergingScorer, data: ScoreInput) -> None:
        division = Division(scorer, data)
        none, everything = (
            division.scores.partial(part_of(data, rows)) for rows in (slice(0, 0), slice(0, data.n_items))
        )
        expected = division.results(everything)
        for order in ((none, everything), (everything, none)):
            found = division.results(division.scores.merge(*order))
            assert_same_results(found, expected, 0.0, "merging with the state of no images gives")


class Division:
    """A scorer at work as in a run by several processes: `scores` is what each of them has.

    Before `results`, only the summary of the features can be read.
    """

    def __init__(self, scorer: MergingScorer, data: ScoreInput) -> None:
        self._scorer, self._data = scorer, data
        self._is_merged = False
        known = FeatureSummary(data.features.statistics, data.features.top_images(TOP_IMAGES))
        closed = FeatureStream(data.space, self._read, data.item_ids).knowing(known)
        scores = scorer.in_parts(replace(data, features=closed))
        assert scores is not None, "in_parts gives None: the scores do not merge with these options"
        assert isinstance(scores, MergingScores), f"in_parts gives {kind_of(scores)}, which is no saeviz.MergingScores"
        self.scores = scores

    def _read(self) -> Iterator[FeatureBatch]:
        assert self._is_merged, "in_parts reads the features; it may use their statistics and top images only"
        return self._data.features.batches()

    def results(self, state: State) -> list[ScoreResult]:
        """All that a run would get."""
        self._is_merged = True
        return with_family(self._scorer, self.scores.finish(state))


def with_family(scorer: object, results: Iterable[ScoreResult]) -> list[ScoreResult]:
    """These results, and what the scorer makes of the columns of all spaces."""
    found = list(results)
    return [*found, *(scorer.combine(columns_of(found)) if isinstance(scorer, FamilyScorer) else [])]


def part_of(data: ScoreInput, rows: slice) -> ScoreInput:
    """The part with these images."""
    batch = FeatureBatch(data.space, tuple(data.item_ids[rows]), data.features.matrix()[rows])
    return data.part(rows, partial(iter, (batch,)))


def random_parts(data: ScoreInput, random: np.random.Generator) -> Iterator[ScoreInput]:
    """Parts of any size, some of one image or of none, in any order."""
    import numpy as np

    cuts = np.sort(random.integers(0, data.n_items + 1, 7))
    edges = [0, 1, 1, *cuts[cuts > 0], data.n_items]
    for place in random.permutation(len(edges) - 1):
        yield part_of(data, slice(int(edges[place]), int(edges[place + 1])))


def batched_anew(data: ScoreInput, random: np.random.Generator) -> ScoreInput:
    """The same data in batches of other sizes."""
    matrix = data.features.matrix()
    edges = [0, *sorted(int(cut) for cut in random.integers(0, data.n_items, 9)), data.n_items]

    def read() -> Iterator[FeatureBatch]:
        for start, stop in pairwise(edges):
            yield FeatureBatch(data.space, tuple(data.item_ids[start:stop]), matrix[start:stop])

    return replace(data, features=FeatureStream(data.space, read))


def saved_and_read(state: State, path: Path) -> State:
    """The state as another process finds it in a file."""
    import numpy as np

    np.savez(path, **state)  # type: ignore[arg-type]  # keywords are arrays
    return read_npz(path)


def sizes_of(state: State) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Names, shapes and types."""
    return {name: (array.shape, array.dtype) for name, array in state.items()}


def assert_same_results(
    found: Sequence[ScoreResult], expected: Sequence[ScoreResult], tolerance: float, what: str = "the scorer gives"
) -> None:
    """Assert that both are the same results: whole numbers and text equal, others up to the tolerance."""
    import numpy as np

    assert_equal([_key(one) for one in found], [_key(one) for one in expected], f"{what} results: they")
    for one, other in zip(found, expected, strict=True):
        for value, wanted in zip(_values_in(one), _values_in(other), strict=True):
            near = np.asarray(wanted).dtype.kind == "f" and tolerance
            try:
                if near:
                    np.testing.assert_allclose(value, wanted, rtol=tolerance, atol=tolerance)
                else:
                    np.testing.assert_equal(value, wanted)
            except AssertionError:
                raise AssertionError(
                    f"{what} for {other.name!r} {quoted(value)}, and score gives {quoted(wanted)}; "
                    f"{f'a difference of {tolerance:g}' if near else 'no difference'} is allowed"
                ) from None


def _key(result: ScoreResult) -> tuple[Any, ...]:
    places = (getattr(result, name, None) for name in ("space", "target", "targets"))
    return type(result), result.name, *places, list(result.values) if isinstance(result, PairBlock) else None


def _values_in(result: ScoreResult) -> list[Any]:
    if isinstance(result, PairBlock):
        return list(result.values.values())
    return [result.value if isinstance(result, ScoreFact) else result.values]
