"""The contract of selectors, as a test suite."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from saeviz.contract import handover
from saeviz.contract.context import Context
from saeviz.contract.roles import HasTierCutoffs, Selector, StableSelector
from saeviz.formats.plain import quoted
from saeviz.testing.contract import Contract, assert_equal, needs
from saeviz.testing.data import Surroundings, score_table
from saeviz.values import keys
from saeviz.values.errors import MalformedError, PluginError, SaevizError
from saeviz.values.features import Feature
from saeviz.values.scores import ScoreTable, Selected

MakeSelector = Callable[[Context], Selector]


class SelectorContract(Contract):
    """Subclass this and define the fixture `make`: a function that builds the selector from a context.

    The selector must choose at least five features of `saeviz.testing.data.score_table`.
    """

    subject = "selector"

    @pytest.fixture
    def make(self) -> MakeSelector:
        """Builds the selector under test."""
        raise NotImplementedError("define the fixture make")

    @pytest.fixture
    def selector(self, make: MakeSelector, tmp_path: Path) -> Selector:
        """The selector under test."""
        return make(Surroundings(tmp_path).context)

    def test_is_a_selector(self, selector: Selector) -> None:
        self.assert_is(selector, Selector)

    def test_selects_features_of_the_table_none_twice(self, selector: Selector) -> None:
        table = score_table()
        selected = choose(selector, table)
        assert len(selected) >= 5, (
            f"the selector chose {len(selected)} features of the table; the suite needs 5 or more"
        )
        assert_of_table(selected, table)

    def test_the_best_come_first_and_each_says_why(self, selector: Selector) -> None:
        selected = choose(selector, score_table())
        tiers = [one.tier for one in selected]
        assert tiers == sorted(tiers), f"the tiers are {quoted(tiers)}; the best, 1, was expected first"
        silent = [str(one.feature) for one in selected if not one.reason.strip()]
        assert not silent, f"the selector does not say why it chose {quoted(silent)}: the reason is empty"

    @needs(HasTierCutoffs)
    def test_says_where_its_tiers_begin(self, selector: Selector) -> None:
        assert isinstance(selector, HasTierCutoffs), "the selector has no tier_cutoffs"
        tiers = [one.tier for one in handover.cutoffs("the selector", selector.tier_cutoffs({}))]
        assert tiers == sorted(tiers), f"the tiers of tier_cutoffs are {tiers}; the best, 1, was expected first"

    @needs(StableSelector)
    def test_says_by_how_many_halves_it_selects_again(self, selector: Selector) -> None:
        assert isinstance(selector, StableSelector), "the selector has no n_halves"
        handover.count("the selector", "n_halves", selector.n_halves, least=0)

    @pytest.mark.parametrize("limit", [0, 1, 5])
    def test_keeps_to_the_limit(self, selector: Selector, limit: int) -> None:
        found = len(choose(selector, score_table(), limit))
        assert found == limit, f"select(table, limit={limit}) gives {found} features, not {limit}"

    def test_a_limit_above_all_features_is_no_error(self, selector: Selector) -> None:
        table = score_table()
        assert_of_table(choose(selector, table, 10_000), table)

    def test_says_the_same_twice(self, make: MakeSelector, selector: Selector, tmp_path: Path) -> None:
        first = choose(selector, score_table(), 8)
        assert_equal(choose(selector, score_table(), 8), first, "the choices of the same selector for the same table")
        another = make(Surroundings(tmp_path).context)
        assert_equal(choose(another, score_table(), 8), first, "the choices of another selector for the same table")

    def test_does_not_change_the_table(self, selector: Selector) -> None:
        table, same = score_table(), score_table()
        choose(selector, table)
        for name in ("scores", "correlations"):
            kept = getattr(table, name).equals(getattr(same, name))
            assert kept, f"select changes table.{name}; work on a copy"

    def test_more_columns_do_not_matter(self, selector: Selector) -> None:
        table = score_table()
        wider = replace(table, scores=table.scores.assign(colour="red", shade=1.0))
        expected = choose(selector, table)
        assert_equal(choose(selector, wider), expected, "the choices from a table with two columns more")

    @pytest.mark.parametrize("lacking", ["ratings", "scores", "features", "monosemanticity", "correlations"])
    def test_selects_from_what_there_is_or_says_what_is_missing(self, selector: Selector, lacking: str) -> None:
        table = table_without(lacking)
        try:
            selected = choose(selector, table, 5)
        except (MalformedError, PluginError):
            raise
        except SaevizError:
            return
        assert len(selected) <= 5, f"select(table, limit=5) gives {len(selected)} features, more than 5"
        assert_of_table(selected, table)


def choose(selector: Selector, table: ScoreTable, limit: int | None = None) -> list[Selected]:
    """What the selector chooses, checked as in a run: features and ratings of the table, each once, the best first."""
    return handover.selection("the selector", selector.select(table, limit), table.spaces, ratings_of(table))


def assert_of_table(selected: Iterable[Selected], table: ScoreTable) -> None:
    """Assert that each chosen feature has a row in the table."""
    invented = [str(feature) for feature in {one.feature for one in selected} - features_of(table)]
    assert not invented, f"the selector chose {quoted(sorted(invented))}, which the table does not have"


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
