"""The contract of scorers, as a test suite."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from saeviz.config.columns import OF_THE_CORE, undeclared
from saeviz.contract import handover
from saeviz.contract.context import Context
from saeviz.contract.roles import FamilyScorer, HoldsOut, Scorer
from saeviz.formats.plain import plain
from saeviz.testing.contract import Contract
from saeviz.testing.data import Surroundings, score_input
from saeviz.values.columns import ColumnInfo, described
from saeviz.values.errors import MalformedError, PluginError, SaevizError
from saeviz.values.score_input import ScoreInput, finding_images
from saeviz.values.scores import ImageColumn, PairBlock, ScoreColumn, ScoreFact, ScoreResult
from saeviz.values.streams import FeatureStream

MakeScorer = Callable[[Context], Scorer]
CreateScorer = Callable[[Any, Context], Scorer]


class ScorerContract(Contract):
    """Subclass this and define the fixture `make`: a function that builds the scorer from a context.

    Set `declares` to the `columns` of its spec, and `declares_pairs` to the `pair_columns`, to check that it gives no
    others.
    """

    declares: ClassVar[Sequence[str | ColumnInfo]] = ()
    declares_pairs: ClassVar[Sequence[str | ColumnInfo]] = ()

    @pytest.fixture
    def make(self) -> MakeScorer:
        """Builds the scorer under test."""
        raise NotImplementedError("define the fixture make")

    @pytest.fixture
    def scorer(self, make: MakeScorer, tmp_path: Path) -> Scorer:
        """The scorer under test."""
        return make(Surroundings(tmp_path).context)

    def test_is_a_scorer(self, scorer: Scorer) -> None:
        assert isinstance(scorer, Scorer)

    def test_gives_columns_of_the_space_and_facts(self, scorer: Scorer) -> None:
        data = score_input()
        results = all_results(scorer, [data])
        columns = columns_of(results)
        of_images = [result for result in results if isinstance(result, ImageColumn)]
        pairs = [result for result in results if isinstance(result, PairBlock)]
        assert columns or of_images or pairs, "the scorer gave no column"
        assert all(column.space == data.space for column in columns)
        assert all(column.target is None or column.target in data.ratings for column in columns)
        keys = [(column.name, column.target) for column in columns]
        assert len(set(keys)) == len(keys)
        assert all(block.space == data.space and data.ratings.keys() >= set(block.targets) for block in pairs)
        targets = [(block.name, target) for block in pairs for target in block.targets]
        assert len(set(targets)) == len(targets), "two blocks have the same pairs"
        names = [column.name for column in of_images]
        assert len(set(names)) == len(names), "two columns of images have the same name"

    def test_gives_no_column_that_it_does_not_declare(self, scorer: Scorer) -> None:
        if not (self.declares or self.declares_pairs):
            pytest.skip("the suite does not say which columns are declared (declares = ...)")
        results = all_results(scorer, [score_input()])
        names = [result.name for result in results if isinstance(result, ScoreColumn | ImageColumn)]
        of_pairs = [name for result in results if isinstance(result, PairBlock) for name in result.values]
        assert not undeclared(names, described(self.declares)), "these are not declared"
        assert not undeclared(of_pairs, described(self.declares_pairs)), "these columns of pairs are not declared"

    def test_no_column_is_called_as_one_that_every_run_has(self, scorer: Scorer) -> None:
        results = all_results(scorer, [score_input()])
        of_features = {column.name for column in columns_of(results) if column.target is None}
        assert not of_features & set(OF_THE_CORE)
        assert not {column.name for column in results if isinstance(column, ImageColumn)} & {"item_id"}

    def test_a_column_has_numbers_in_all_spaces_or_text_in_all(self, scorer: Scorer) -> None:
        kinds: dict[tuple[str, bool], set[bool]] = {}
        for column in all_columns(scorer, two_spaces()):
            is_text = column.values.dtype.kind == "U"
            kinds.setdefault((column.name, column.target is None), set()).add(is_text)
        assert not [name for name, found in kinds.items() if len(found) > 1]

    def test_a_fact_is_the_same_in_all_spaces(self, scorer: Scorer) -> None:
        facts: dict[str, Any] = {}
        for result in all_results(scorer, two_spaces()):
            if isinstance(result, ScoreFact):
                value = plain(result.value)
                assert facts.setdefault(result.name, value) == value, f"{result.name}: name it after its space"

    def test_says_the_same_twice(self, make: MakeScorer, scorer: Scorer, tmp_path: Path) -> None:
        first = all_columns(scorer, [score_input()])
        assert_same_scores(all_columns(scorer, [score_input()]), first)
        assert_same_scores(all_columns(make(Surroundings(tmp_path).context), [score_input()]), first)

    @pytest.mark.parametrize("rows_per_batch", [1, 7, 1000])
    def test_does_not_depend_on_how_the_features_are_batched(self, scorer: Scorer, rows_per_batch: int) -> None:
        batched = all_columns(scorer, [score_input(rows_per_batch=rows_per_batch)])
        assert_same_scores(batched, all_columns(scorer, [score_input()]))

    def test_does_not_change_what_it_was_given(self, scorer: Scorer) -> None:
        import numpy as np

        data, same = score_input(), score_input()
        all_columns(scorer, [data])
        np.testing.assert_array_equal(data.features.matrix().toarray(), same.features.matrix().toarray())
        np.testing.assert_array_equal(np.asarray(data.embeddings), np.asarray(same.embeddings))
        for name, values in same.ratings.items():
            np.testing.assert_array_equal(data.ratings[name], values)

    @pytest.mark.parametrize(
        "there_is",
        [
            {"n_items": 1},
            {"n_items": 2},
            {"n_items": 3, "n_features": 3},
            {"with_embeddings": False},
            {"ratings": ()},
            {"with_embeddings": False, "ratings": ()},
        ],
        ids=["one image", "two images", "three images", "no embeddings", "no ratings", "features only"],
    )
    def test_takes_what_there_is_or_says_what_is_missing(self, scorer: Scorer, there_is: dict[str, Any]) -> None:
        data = score_input(**there_is)
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            try:
                columns = all_columns(scorer, [data])
            except (MalformedError, PluginError):
                raise
            except SaevizError:
                return
        assert all(column.target is None or column.target in data.ratings for column in columns)

    def test_a_rating_that_nobody_gave_or_that_never_varies_is_no_error(self, scorer: Scorer) -> None:
        import numpy as np

        data = score_input(ratings=("liking", "unrated", "constant"))
        data.ratings["unrated"][:] = np.nan
        data.ratings["constant"][:] = 3.0
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            all_columns(scorer, [data])

    def test_several_spaces_stay_apart(self, scorer: Scorer) -> None:
        one, two = score_input(), score_input(n_features=9, seed=1)
        alone = columns_of(scorer.score(two))
        columns_of(scorer.score(one))
        assert_same_scores(columns_of(scorer.score(two)), alone)

    def test_further_columns_of_the_family(self, scorer: Scorer) -> None:
        if not isinstance(scorer, FamilyScorer):
            pytest.skip("the scorer has no family (saeviz.FamilyScorer)")
        inputs = two_spaces()
        columns = [column for data in inputs for column in columns_of(scorer.score(data))]
        further = columns_of(scorer.combine(columns))
        assert {column.space for column in further} <= {data.space for data in inputs}
        keys = [(column.name, column.target, column.space) for column in [*columns, *further]]
        assert len(set(keys)) == len(keys)
        assert_same_scores(columns_of(scorer.combine(columns)), further)
        list(scorer.combine([]))


class HoldsOutContract(Contract):
    """For the options of a scorer that can hold out images (`saeviz.HoldsOut`).

    Subclass this and define the fixtures `options`, with a split, and `create`: the factory of the scorer, that is, a
    function that builds it from options and a context.
    """

    @pytest.fixture
    def options(self) -> HoldsOut:
        """Options with a split."""
        raise NotImplementedError("define the fixture options")

    @pytest.fixture
    def create(self) -> CreateScorer:
        """Builds the scorer from options and a context."""
        raise NotImplementedError("define the fixture create")

    @pytest.fixture
    def context(self, tmp_path: Path) -> Context:
        """Of the scorers under test."""
        return Surroundings(tmp_path).context

    def test_the_share_of_images_on_which_relations_are_found_is_a_fact_too(
        self, options: HoldsOut, create: CreateScorer, context: Context
    ) -> None:
        assert isinstance(options, HoldsOut)
        assert options.split is not None
        scorer = create(options, context)
        results = list(scorer.score(score_input()))
        if isinstance(scorer, FamilyScorer):
            results += scorer.combine(columns_of(results))
        facts = {result.name: result.value for result in results if isinstance(result, ScoreFact)}
        assert [value for name, value in facts.items() if name.endswith("split")] == [options.split]

    def test_on_all_images_each_rating_is_there_once_however_many_there_are(
        self, options: HoldsOut, create: CreateScorer, context: Context
    ) -> None:
        names = tuple(f"rating {number}" for number in range(250))
        data = score_input(ratings=names)
        parts = [columns_of(create(one, context).score(data)) for one in options.on_all_images(names)]
        columns = [column for part in parts for column in part if column.name.split("_")[-1] == "r"]
        assert sorted(str(column.target) for column in columns) == sorted(names)

    def test_on_all_images_none_is_held_out(self, options: HoldsOut, create: CreateScorer, context: Context) -> None:
        import numpy as np

        data, halved = score_input(), score_input()
        finding = finding_images(data.item_ids, options.split or 0.5, context.seed, data.groups)
        for values in halved.ratings.values():
            values[~finding] = np.nan
        found = []
        for given in (data, halved):
            parts = list(options.on_all_images(tuple(given.ratings)))
            assert all(isinstance(one, HoldsOut) and one.split is None for one in parts)
            columns = [column for one in parts for column in columns_of(create(one, context).score(given))]
            found.append({column.name: column.values for column in columns if column.target == "liking"})
        r = next(name for name in found[0] if name.split("_")[-1] == "r")
        assert not np.allclose(found[0][r], found[1][r], equal_nan=True), "images of the other part change nothing"


def columns_of(results: Iterable[ScoreResult]) -> list[ScoreColumn]:
    """The columns among a scorer's results."""
    return [result for result in results if isinstance(result, ScoreColumn)]


def all_columns(scorer: Scorer, inputs: Sequence[ScoreInput]) -> list[ScoreColumn]:
    """All columns that a run would get from the scorer for these spaces."""
    return columns_of(all_results(scorer, inputs))


def all_results(scorer: Scorer, inputs: Sequence[ScoreInput]) -> list[ScoreResult]:
    """All that a run would get from the scorer for these spaces, checked as in a run."""
    results: list[ScoreResult] = []
    for data in inputs:
        results += handover.results("the scorer", "score", scorer.score(data), data.n_items)
    if isinstance(scorer, FamilyScorer):
        further = scorer.combine(columns_of(results))
        results += handover.results("the scorer", "combine", further, inputs[0].n_items)
    return results


def two_spaces() -> list[ScoreInput]:
    """The same images in two spaces of different size."""
    one, other = score_input(), score_input(n_features=9, seed=1)
    space = replace(other.space, layer=5)
    features = FeatureStream(space, lambda: (replace(batch, space=space) for batch in other.features.batches()))
    return [one, replace(one, space=space, features=features)]


def assert_same_scores(found: Sequence[ScoreColumn], expected: Sequence[ScoreColumn]) -> None:
    """Assert that both have the same columns with the same values, up to rounding."""
    import numpy as np

    assert [(column.name, column.target, column.space) for column in found] == [
        (column.name, column.target, column.space) for column in expected
    ]
    for one, other in zip(found, expected, strict=True):
        if other.values.dtype.kind == "U":
            assert one.values.tolist() == other.values.tolist()
        else:
            np.testing.assert_allclose(one.values, other.values, rtol=1e-5, atol=1e-7, err_msg=one.name)
