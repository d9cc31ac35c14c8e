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
from saeviz.formats.plain import plain, quoted
from saeviz.testing.contract import Contract, assert_equal, needs
from saeviz.testing.data import Surroundings, score_input
from saeviz.values.checks import kind_of
from saeviz.values.columns import ColumnInfo, described
from saeviz.values.errors import MalformedError, PluginError, SaevizError
from saeviz.values.features import FeatureSpace
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

    subject = "scorer"
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
        self.assert_is(scorer, Scorer)

    def test_gives_columns_of_the_space_and_facts(self, scorer: Scorer) -> None:
        data = score_input()
        results = all_results(scorer, [data])
        columns = columns_of(results)
        of_images = [result for result in results if isinstance(result, ImageColumn)]
        pairs = [result for result in results if isinstance(result, PairBlock)]
        assert columns or of_images or pairs, "the scorer gave no column"
        for column in columns:
            self.assert_of_input(column.name, column.space, (column.target,), data)
        for block in pairs:
            self.assert_of_input(block.name, block.space, block.targets, data)
        keys = [(column.name, column.target) for column in columns]
        assert_once(keys, "the columns with their targets")
        assert_once([(block.name, target) for block in pairs for target in block.targets], "the pairs of blocks")
        assert_once([column.name for column in of_images], "the columns of images")

    def assert_of_input(self, name: str, space: FeatureSpace, targets: Iterable[str | None], data: ScoreInput) -> None:
        """Assert that what the scorer gave is of the space and the ratings of its input."""
        assert space == data.space, f"the scorer gave {name!r} of {space}; {data.space} was expected"
        unknown = [target for target in targets if target is not None and target not in data.ratings]
        assert not unknown, f"the scorer gave {name!r} for {quoted(unknown)}; the ratings are {[*data.ratings]}"

    @needs(declared=("declares", "declares_pairs"))
    def test_gives_no_column_that_it_does_not_declare(self, scorer: Scorer) -> None:
        results = all_results(scorer, [score_input()])
        names = [result.name for result in results if isinstance(result, ScoreColumn | ImageColumn)]
        unknown = undeclared(names, described(self.declares))
        assert not unknown, f"the scorer gave the columns {quoted(unknown)}, which it does not declare"
        of_pairs = [name for result in results if isinstance(result, PairBlock) for name in result.values]
        unknown = undeclared(of_pairs, described(self.declares_pairs))
        assert not unknown, f"the scorer gave the columns of pairs {quoted(unknown)}, which it does not declare"

    def test_no_column_is_called_as_one_that_every_run_has(self, scorer: Scorer) -> None:
        results = all_results(scorer, [score_input()])
        of_features = {column.name for column in columns_of(results) if column.target is None}
        of_images = {column.name for column in results if isinstance(column, ImageColumn)}
        taken = sorted(of_features & set(OF_THE_CORE) | of_images & {"item_id"})
        assert not taken, f"the scorer gave the columns {quoted(taken)}, and every run has columns of these names"

    def test_a_column_has_numbers_in_all_spaces_or_text_in_all(self, scorer: Scorer) -> None:
        kinds: dict[tuple[str, bool], set[bool]] = {}
        for column in all_columns(scorer, two_spaces()):
            is_text = column.values.dtype.kind == "U"
            kinds.setdefault((column.name, column.target is None), set()).add(is_text)
        mixed = sorted(name for (name, _), found in kinds.items() if len(found) > 1)
        assert not mixed, f"the columns {quoted(mixed)} have numbers in one space and text in another; one is expected"

    def test_a_fact_is_the_same_in_all_spaces(self, scorer: Scorer) -> None:
        facts: dict[str, Any] = {}
        for result in all_results(scorer, two_spaces()):
            if isinstance(result, ScoreFact):
                value = plain(result.value)
                first = facts.setdefault(result.name, value)
                assert first == value, (
                    f"the fact {result.name!r} is {quoted(first)} in one space and {quoted(value)} in another; "
                    "name it after its space"
                )

    def test_says_the_same_twice(self, make: MakeScorer, scorer: Scorer, tmp_path: Path) -> None:
        first = all_columns(scorer, [score_input()])
        assert_same_scores(all_columns(scorer, [score_input()]), first, "the scores of the same scorer, asked again")
        another = make(Surroundings(tmp_path).context)
        assert_same_scores(all_columns(another, [score_input()]), first, "the scores of another scorer")

    @pytest.mark.parametrize("rows_per_batch", [1, 7, 1000])
    def test_does_not_depend_on_how_the_features_are_batched(self, scorer: Scorer, rows_per_batch: int) -> None:
        batched = all_columns(scorer, [score_input(rows_per_batch=rows_per_batch)])
        expected = all_columns(scorer, [score_input()])
        assert_same_scores(batched, expected, f"the scores of features in batches of {rows_per_batch}")

    def test_does_not_change_what_it_was_given(self, scorer: Scorer) -> None:
        import numpy as np

        data, same = score_input(), score_input()
        all_columns(scorer, [data])
        pairs = {"features": (data.features.matrix().toarray(), same.features.matrix().toarray())}
        pairs |= {"embeddings": (np.asarray(data.embeddings), np.asarray(same.embeddings))}
        pairs |= {f"ratings[{name!r}]": (data.ratings.get(name), values) for name, values in same.ratings.items()}
        for name, (one, other) in pairs.items():
            assert one is not None, f"score removes data.{name}"
            assert np.array_equal(one, other, equal_nan=True), f"score changes data.{name}; work on a copy"

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
        for column in columns:
            self.assert_of_input(column.name, data.space, (column.target,), data)

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
        alone = scored(scorer, two)
        scored(scorer, one)
        assert_same_scores(scored(scorer, two), alone, "the scores of a space after another one")

    @needs(FamilyScorer)
    def test_further_columns_of_the_family(self, scorer: Scorer) -> None:
        assert isinstance(scorer, FamilyScorer), "the scorer has no combine"
        inputs = two_spaces()
        columns = [column for data in inputs for column in scored(scorer, data)]
        further = combined(scorer, columns)
        unknown = {str(column.space) for column in further} - {str(data.space) for data in inputs}
        assert not unknown, f"combine gives columns of {quoted(sorted(unknown))}, and is given none of these"
        keys = [(column.name, column.target, str(column.space)) for column in [*columns, *further]]
        assert_once(keys, "the columns of score and combine with their targets and spaces")
        assert_same_scores(combined(scorer, columns), further, "the columns of combine when asked again")
        combined(scorer, [])


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
        assert isinstance(options, HoldsOut), "the options are no saeviz.HoldsOut: they lack split or on_all_images"
        assert options.split is not None, "the fixture options of the suite has no split, which it needs"
        scorer = create(options, context)
        results = list(scorer.score(score_input()))
        if isinstance(scorer, FamilyScorer):
            results += scorer.combine(columns_of(results))
        facts = {result.name: result.value for result in results if isinstance(result, ScoreFact)}
        found = [value for name, value in facts.items() if name.endswith("split")]
        assert_equal(found, [options.split], "the facts whose names end with 'split'")

    def test_on_all_images_each_rating_is_there_once_however_many_there_are(
        self, options: HoldsOut, create: CreateScorer, context: Context
    ) -> None:
        names = tuple(f"rating {number}" for number in range(250))
        data = score_input(ratings=names)
        parts = [columns_of(create(one, context).score(data)) for one in options.on_all_images(names)]
        columns = [column for part in parts for column in part if column.name.split("_")[-1] == "r"]
        found = sorted(str(column.target) for column in columns)
        assert_equal(found, sorted(names), "the ratings that have a column r with the options of on_all_images")

    def test_on_all_images_none_is_held_out(self, options: HoldsOut, create: CreateScorer, context: Context) -> None:
        import numpy as np

        data, halved = score_input(), score_input()
        finding = finding_images(data.item_ids, options.split or 0.5, context.seed, data.groups)
        for values in halved.ratings.values():
            values[~finding] = np.nan
        found = []
        for given in (data, halved):
            parts = list(options.on_all_images(tuple(given.ratings)))
            for one in parts:
                assert isinstance(one, HoldsOut), f"on_all_images gives {kind_of(one)}, which is no saeviz.HoldsOut"
                assert one.split is None, f"on_all_images gives options with split = {one.split}; None is expected"
            columns = [column for one in parts for column in columns_of(create(one, context).score(given))]
            found.append({column.name: column.values for column in columns if column.target == "liking"})
        r = next(name for name in found[0] if name.split("_")[-1] == "r")
        assert not np.allclose(found[0][r], found[1][r], equal_nan=True), (
            f"{r} is the same without the ratings of the images that split holds out; on_all_images must use all"
        )


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


def scored(scorer: Scorer, data: ScoreInput) -> list[ScoreColumn]:
    """The columns of one space, checked as in a run."""
    return columns_of(handover.results("the scorer", "score", scorer.score(data), data.n_items))


def combined(scorer: FamilyScorer, columns: Sequence[ScoreColumn]) -> list[ScoreColumn]:
    """The columns that are made of those of all spaces, checked as in a run."""
    return columns_of(handover.each("the scorer", "combine", scorer.combine(columns), ScoreResult))


def two_spaces() -> list[ScoreInput]:
    """The same images in two spaces of different size."""
    one, other = score_input(), score_input(n_features=9, seed=1)
    space = replace(other.space, layer=5)
    features = FeatureStream(space, lambda: (replace(batch, space=space) for batch in other.features.batches()))
    return [one, replace(one, space=space, features=features)]


def assert_once(keys: Sequence[object], what: str) -> None:
    """Assert that none is there twice."""
    assert_equal(list(keys), list(dict.fromkeys(keys)), what)


def assert_same_scores(found: Sequence[ScoreColumn], expected: Sequence[ScoreColumn], what: str = "the scores") -> None:
    """Assert that both have the same columns with the same values, up to rounding."""
    import numpy as np

    names, wanted = ([(one.name, one.target, str(one.space)) for one in columns] for columns in (found, expected))
    assert_equal(names, wanted, f"{what}: the columns")
    for one, other in zip(found, expected, strict=True):
        same: Any = one.values == other.values
        if other.values.dtype.kind != "U":
            same = np.isclose(one.values, other.values, rtol=1e-5, atol=1e-7, equal_nan=True)
        places = np.flatnonzero(~np.asarray(same))
        assert not len(places), (
            f"{what}: {one.name} of feature {places[0]} in {one.space} is {one.values[places[0]]}, not "
            f"{other.values[places[0]]}"
        )
