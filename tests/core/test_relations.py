"""Which correlation is meant where only one can be shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import saeviz
from saeviz.testing.fakes import FakeImages, FakeLabeler
from tests.report_data import report_of

KEYS = {"sae": ["", ""], "layer": [1, 1], "tokens": ["cls", "cls"], "feature": [0, 1], "rating": ["liking", "liking"]}
SPEARMAN = {"spearman_n": [5, 5], "spearman_r": [0.1, 0.2], "spearman_p": [0.5, 0.4], "spearman_r_held_out": [0, 0]}
PARTIAL = {"partial_r": [0.3, 0.4], "partial_p": [0.3, 0.2]}


def test_a_plain_r_is_the_main_one_wherever_it_stands():
    table = pd.DataFrame({**KEYS, **SPEARMAN, "r": [0.5, 0.6], "p": [0.1, 0.1]})

    assert saeviz.main_relation(table).equals(table)
    assert saeviz.relation_prefixes(table) == ["", "spearman_"]


def test_else_the_first_prefix_is_taken_off():
    table = pd.DataFrame({**KEYS, **SPEARMAN, **PARTIAL})
    main = saeviz.main_relation(table)

    assert list(main) == [*KEYS, "n", "r", "p", "r_held_out", *PARTIAL]
    assert main["r"].tolist() == [0.1, 0.2]
    assert list(table) == [*KEYS, *SPEARMAN, *PARTIAL]


def test_a_column_in_the_way_gives_way():
    main = saeviz.main_relation(pd.DataFrame({**KEYS, "n": [0, 0], **SPEARMAN}))

    assert main["n"].tolist() == [5, 5]
    assert main.columns.is_unique


@pytest.mark.parametrize("further", [{}, {"colour_r": [1, 2]}, {"p": [0.1, 0.2]}, {"per": [1, 2]}])
def test_without_a_correlation_nothing_is_renamed(further):
    table = pd.DataFrame({**KEYS, **further})

    assert saeviz.main_relation(table).equals(table)
    assert saeviz.relation_prefixes(table) == []


@pytest.fixture
def requests(monkeypatch):
    """What the labeler is asked."""
    asked = []
    label = FakeLabeler.label
    monkeypatch.setattr(FakeLabeler, "label", lambda self, request: (asked.append(request), label(self, request))[1])
    return asked


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scorer", "prefix"),
    [
        ('{use = "spearman", split = 0.5}', "spearman_"),
        ('{use = "point-biserial"}', "point_biserial_"),
        ('{use = "partial", control = ["colour"], correction = "max-t", permutations = 99}', "partial_"),
    ],
)
def test_a_run_without_pearson_has_relations_to_select_to_name_and_to_show(fake_run, requests, scorer, prefix):
    settings = [f"scorers=[{scorer}]", "selector.use=tiered", "selector.min_active=3", 'reporters=[{use = "html"}]']
    run = saeviz.run(fake_run, settings=settings)

    assert {f"{prefix}{name}" for name in ("n", "r", "p", "q", "ci_low", "ci_high", "significant")} <= set(
        run.correlations
    )
    row = run.correlations.set_index([*saeviz.KEYS, "rating"])
    related = [(request.feature, relation) for request in requests for relation in request.relations]
    assert related
    for feature, relation in related:
        here = row.loc[(feature.sae, feature.layer, feature.tokens, feature.index, relation.rating)]
        expected = (here[f"{prefix}r"], here[f"{prefix}p"], here[f"{prefix}q"], here[f"{prefix}n"])
        assert relation[1:5] == pytest.approx(expected, nan_ok=True)
    assert any(choice.tier < 3 for choice in run.selected)
    report = report_of(run)
    assert report.run["measure"].startswith(run.facts[f"{prefix}measure"])
    np.testing.assert_array_equal(report.value(feature, "r", relation.rating), np.float32(here[f"{prefix}r"]))
    assert ("r_held_out" in report.columns(run.ratings[0])) == (prefix == "spearman_")


@pytest.mark.slow
def test_scorers_of_different_ratings_are_a_run_and_the_first_one_of_the_file_is_the_main_one(fake_run, requests):
    """`warmth`, the first rating, has correlations of the second scorer only."""
    scorers = 'scorers=[{use = "spearman", ratings = ["noise"]}, {use = "point-biserial"}]'
    run = saeviz.run(fake_run, settings=[scorers, 'reporters=[{use = "html"}]'])

    assert saeviz.relation_prefixes(run.correlations) == ["spearman_", "point_biserial_"]
    assert requests
    assert {relation.rating for request in requests for relation in request.relations} == {"noise"}


@pytest.mark.slow
def test_a_run_of_raters_alone_shows_their_relations_by_the_number_of_images(fake_run, requests, monkeypatch):
    draw = FakeImages._item

    def with_raters(self, number):
        item = draw(self, number)
        given = {f"rater {n}": item.ratings["warmth"] + 0.1 * (n * number % 3) for n in range(4)}
        return replace(item, individual={"warmth": given})

    monkeypatch.setattr(FakeImages, "_item", with_raters)
    settings = ['scorers=[{use = "raters", min_active = 3}]', "selector.use=tiered", "selector.min_active=3"]
    run = saeviz.run(fake_run, settings=[*settings, 'reporters=[{use = "html"}]'])

    row = run.correlations.set_index([*saeviz.KEYS, "rating"])
    related = [(request.feature, relation) for request in requests for relation in request.relations]
    assert related
    for feature, relation in related:
        here = row.loc[(feature.sae, feature.layer, feature.tokens, feature.index, relation.rating)]
        assert relation[1:5] == pytest.approx((here["rater_r"], here["rater_p"], here["rater_q"], 24), nan_ok=True)
    assert report_of(run).run["measure"] == "r within raters"
    assert "Benjamini and Hochberg" in report_of(run).reading
