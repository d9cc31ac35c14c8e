"""The contract of selectors, as a test suite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from saeviz.contract import handover
from saeviz.contract.context import Context
from saeviz.contract.roles import HasTierCutoffs, Selector, StableSelector
from saeviz.testing.contract import Contract
from saeviz.testing.data import Surroundings, score_table
from saeviz.values import keys
from saeviz.values.errors import MalformedError, SaevizError
from saeviz.values.features import Feature
from saeviz.values.scores import ScoreTable

MakeSelector = Callable[[Context], Selector]


class SelectorContract(Contract):
    """Subclass this and define the fixture `make`: a function that builds the selector from a context.

    The selector must choose at least five features of `saeviz.testing.data.score_table`.
    """

    @pytest.fixture
    def make(self) -> MakeSelector:
        """Builds the selector under test."""
        raise NotImplementedError("define the fixture make")

    @pytest.fixture
    def selector(self, make: MakeSelector, tmp_path: Path) -> Selector:
        """The selector under test."""
        return make(Surroundings(tmp_path).context)

    def test_is_a_selector(self, selector: Selector) -> None:
        assert isinstance(selector, Selector)

    def test_selects_features_of_the_table_none_twice(self, selector: Selector) -> None:
        table = score_table()
        selected = handover.selection("the selector", selector.select(table), table.spaces, ratings_of(table))
        assert len(selected) >= 5
        assert {one.feature for one in selected} <= features_of(table)

    def test_the_best_come_first_and_each_says_why(self, selector: Selector) -> None:
        selected = selector.select(score_table())
        tiers = [one.tier for one in selected]
        assert tiers == sorted(tiers)
        assert all(one.reason.strip() for one in selected)

    def test_says_where_its_tiers_begin(self, selector: Selector) -> None:
        if not isinstance(selector, HasTierCutoffs):
            pytest.skip("the selector does not say where its tiers begin (saeviz.HasTierCutoffs)")
        tiers = [one.tier for one in handover.cutoffs("the selector", selector.tier_cutoffs({}))]
        assert tiers == sorted(tiers), "the best tier comes first"

    def test_says_by_how_many_halves_it_selects_again(self, selector: Selector) -> None:
        if not isinstance(selector, StableSelector):
            pytest.skip("the selector does not select again (saeviz.StableSelector)")
        handover.count("the selector", "n_halves", selector.n_halves, least=0)

    @pytest.mark.parametrize("limit", [0, 1, 5])
    def test_keeps_to_the_limit(self, selector: Selector, limit: int) -> None:
        assert len(selector.select(score_table(), limit)) == limit

    def test_a_limit_above_all_features_is_no_error(self, selector: Selector) -> None:
        table = score_table()
        assert {one.feature for one in selector.select(table, 10_000)} <= features_of(table)

    def test_says_the_same_twice(self, make: MakeSelector, selector: Selector, tmp_path: Path) -> None:
        first = selector.select(score_table(), 8)
        assert selector.select(score_table(), 8) == first
        assert make(Surroundings(tmp_path).context).select(score_table(), 8) == first

    def test_does_not_change_the_table(self, selector: Selector) -> None:
        table, same = score_table(), score_table()
        selector.select(table)
        assert table.scores.equals(same.scores)
        assert table.correlations.equals(same.correlations)

    def test_more_columns_do_not_matter(self, selector: Selector) -> None:
        table = score_table()
        wider = replace(table, scores=table.scores.assign(colour="red", shade=1.0))
        assert selector.select(wider) == selector.select(table)

    @pytest.mark.parametrize("lacking", ["ratings", "scores", "features", "monosemanticity", "correlations"])
    def test_selects_from_what_there_is_or_says_what_is_missing(self, selector: Selector, lacking: str) -> None:
        table = table_without(lacking)
        try:
            found = selector.select(table, 5)
        except MalformedError:
            raise
        except SaevizError:
            return
        selected = handover.selection("the selector", found, table.spaces, ratings_of(table))
        assert len(selected) <= 5
        assert {one.feature for one in selected} <= features_of(table)


def table_without(lacking: str) -> ScoreTable:
    """A table without the named part, as a run may lack it."""
    table = score_table(ratings=() if lacking == "ratings" else ("liking", "calm"), scored=lacking != "scores")
    if lacking == "features":
        return replace(table, scores=table.scores.head(0), correlations=table.correlations.head(0))
    if lacking == "monosemanticity":
        return replace(table, scores=table.scores.drop(columns="monosemanticity"))
    if lacking == "correlations":
        return replace(table, correlations=table.correlations[[*keys.KEYS, "rating"]])
    return table


def ratings_of(table: ScoreTable) -> set[str]:
    """The ratings that a selection from the table may name."""
    return set(table.correlations["rating"])


def features_of(table: ScoreTable) -> set[Feature]:
    """The features that have a row in the table."""
    return set(keys.features_of(table.scores))
