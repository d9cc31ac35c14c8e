"""What the report says of features: figures of both parts of the images, methods, and verdicts on names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import saeviz
from saeviz.formats.label_scores import ratings_table
from tests.plugins.report.page import CLS, PATCH, FakeRun, Write, hold_out, judge

FIRST = CLS.feature(7)


def by_rank(run: FakeRun, write: Write) -> list[str]:
    """The selected features in the order in which the page opens."""
    report = write()
    rank = report.column("rank")
    return sorted((str(chosen.feature) for chosen in run.selected), key=lambda name: rank[report.row(name)])


class TestFeatures:
    def test_each_selected_feature_has_a_rank_best_first(self, run: FakeRun, write: Write) -> None:
        assert by_rank(run, write) == ["layer8.cls/7", "layer8.patch-max/7", "layer8.patch-max/42"]
        rank = write().column("rank")
        assert sorted(rank[~np.isnan(rank)]) == [1, 2, 3]

    def test_the_page_opens_with_the_strongest_relation_whatever_the_tier(self, run: FakeRun, write: Write) -> None:
        table = run.correlations.copy()
        last = PATCH.feature(42)
        of_last = (table["tokens"] == last.tokens) & (table["feature"] == last.index)
        table.loc[of_last, ["r", "q", "significant"]] = [0.8, 0.001, 1.0]
        run.correlations = table

        assert by_rank(run, write)[0] == str(last)

    def test_has_tier_monosemanticity_class_and_number_of_images(self, run: FakeRun, write: Write) -> None:
        report = write()
        assert [report.value(chosen.feature, "tier") for chosen in run.selected] == [1, 2, 2]
        assert report.value(FIRST, "monosemanticity") == np.float32(0.6123)
        assert report.value(FIRST, "ms_class") == "monosemantic"
        assert report.value(PATCH.feature(7), "n_active") == 1234

    def test_features_that_were_not_selected_are_there_too(self, run: FakeRun, write: Write) -> None:
        report = write()
        assert report.value(PATCH.feature(1), "tier") == 0
        assert report.value(PATCH.feature(1), "r", "beauty") == np.float32(-0.6)
        assert len(report.column("tier")) == sum(space.n_features for space in run.spaces)

    def test_a_missing_value_is_missing_and_not_zero(self, write: Write) -> None:
        report = write()
        assert np.isnan(report.value(PATCH.feature(7), "monosemanticity"))
        assert np.isnan(report.value(PATCH.feature(7), "r", "calm"))
        assert np.isnan(report.value(CLS.feature(0), "n_active"))

    def test_shows_all_that_the_labeler_said(self, write: Write) -> None:
        report = write()
        assert report.card(FIRST) == {
            "reason": "clear and predictive",
            "description": "A barn.",
            "elements": ["roof", "door"],
            "why": "People like barns.",
        }
        assert (report.value(FIRST, "label"), report.value(FIRST, "confidence")) == ("red barn", 0.875)
        assert report.value(PATCH.feature(7), "label") == ""

    def test_columns_of_further_scorers_are_columns_of_the_table(self, run: FakeRun, write: Write) -> None:
        run.scores["kind"] = ["texture", "", "object", ""]
        run.correlations["spearman"] = [0.125, *[np.nan] * 6]
        report = write()
        assert report.value(FIRST, "coverage") == np.float32(0.4)
        assert [report.value(chosen.feature, "kind") for chosen in run.selected] == ["texture", "", "object"]
        assert report.value(FIRST, "spearman", "beauty") == 0.125


class TestHeldOut:
    def test_all_figures_have_both_parts(self, run: FakeRun, write: Write) -> None:
        hold_out(run)
        report = write()
        names = [f"{name}_held_out" for name in ("r", "p", "q", "n")]
        found = [report.value(FIRST, name, "beauty") for name in (*names, "replicated")]
        assert found == pytest.approx([0.4, 0.01, 0.02, 5, 1])
        assert report.value(FIRST, "replicated", "calm") == 0

    def test_the_overview_tells_how_many_of_how_many_were_confirmed(self, run: FakeRun, write: Write) -> None:
        hold_out(run)
        found = write().rating
        counts = {name: (one["replicated"], one["positive"] + one["negative"]) for name, one in found.items()}
        assert counts == {"beauty": (1, 2), "calm": (0, 1)}
        assert found["beauty"]["unbiased"] == [0.6, None, None]

    def test_without_held_out_images_nothing_is_said_of_them(self, write: Write) -> None:
        report = write()
        assert "held-out" not in report.reading.lower()
        assert report.rating["beauty"]["replicated"] is None


class TestMethod:
    @pytest.mark.parametrize(
        ("facts", "said"),
        [
            ({"measure": "Pearson's r"}, "Pearson's correlation"),
            ({"measure": "partial r"}, "held constant"),
            ({"correction": "by"}, "Benjamini and Yekutieli"),
            ({"correction": "max-t", "alpha": 0.01}, "even one pair with q up to 0.01 is an accident is at most 1 %"),
            ({"correction": "bh", "alpha": 0.1}, "up to 0.1, at most about 10 % are expected to be chance"),
            ({"family": "rating", "correction": "bh"}, "with the same rating"),
            ({"family": "space", "correction": "bh"}, "of the same layer and tokens"),
            ({}, "The correlation of the feature's activation with the rating"),
        ],
    )
    def test_the_report_explains_the_correlation_and_correction_that_were_used(
        self, run: FakeRun, write: Write, facts: dict[str, Any], said: str
    ) -> None:
        run.facts = {f"correlation_{name}": value for name, value in facts.items()}
        assert said in write().reading

    def test_a_run_with_another_correlation_only_shows_that(self, run: FakeRun, write: Write) -> None:
        keys = [*saeviz.KEYS, "rating"]
        plain = write().column("r", "beauty")
        run.correlations = run.correlations.rename(columns=lambda name: name if name in keys else f"spearman_{name}")
        run.facts = {"spearman_measure": "Spearman's rho", "spearman_correction": "bonferroni"}
        report = write()
        np.testing.assert_array_equal(report.column("r", "beauty"), plain)
        assert report.run["measure"] == "Spearman's rho"
        assert report.rating["beauty"]["strongest"] == -0.6
        assert "adjusted by Bonferroni" in report.reading

    def test_a_second_correlation_has_columns_of_its_own(self, run: FakeRun, write: Write) -> None:
        run.correlations = run.correlations.assign(partial_r=-0.125, partial_p=0.5, partial_q=0.75, partial_n=4)
        run.facts |= {"correlation_measure": "Pearson's r", "partial_measure": "partial r"}
        report = write()
        assert report.run["measures"] == {"": "Pearson's r", "partial_": "partial r"}
        found = [report.value(FIRST, f"partial_{name}", "beauty") for name in ("r", "p", "q", "n")]
        assert found == [-0.125, 0.5, 0.75, 4]


class TestJudgement:
    def test_a_name_that_holds_has_its_figures_and_the_images_it_was_judged_on(
        self, run: FakeRun, write: Write
    ) -> None:
        judge(run, 12, 11)
        report = write()
        judgement = report.card(FIRST)["judgement"]
        assert judgement["verdict"] == report.value(FIRST, "verdict") == "confirmed"
        names = ("balanced_accuracy", "ci_low", "ci_high", "sensitivity", "specificity", "hard_specificity")
        assert [round(judgement[name], 2) for name in names] == [0.96, 0.78, 0.99, 1, 0.92, 1]
        assert [judgement[name] for name in ("n_active", "n_silent", "n_hard")] == [12, 12, 4]
        judged = report.card(FIRST)["judged"]
        ids = report.content("items")["ids"]
        assert [(ids[item], kind, score) for item, kind, score in judged[:2]] == [
            ("item/0", "active", 1.0), ("item/1", "active", 1.0),
        ]  # fmt: skip
        assert len(judged) == 24
        assert report.run["verdicts"]["confirmed"] == 1

    def test_a_name_that_fails_or_is_too_broad(self, run: FakeRun, write: Write) -> None:
        judge(run, 5, 7)
        assert write().card(FIRST)["judgement"]["verdict"] == "fails"
        judge(run, 12, 12, n_hard_passed_over=1)
        assert write().card(FIRST)["judgement"]["hard_specificity"] == 0.25

    def test_a_name_that_could_not_be_judged_says_why(self, run: FakeRun, write: Write) -> None:
        judge(run, 0, 4, reason="only <2> images")
        card = write().card(FIRST)
        assert (card["judgement"]["verdict"], card["judgement"]["reason"]) == ("not judged", "only <2> images")
        assert card["judgement"]["auc"] is None
        assert "judged" not in card

    def test_how_the_name_goes_with_ratings(self, run: FakeRun, write: Write) -> None:
        key = {"sae": "", "layer": 8, "tokens": "cls", "feature": 7, "label": "red barn", "n": 40}
        known = {"r": 0.5, "ci_low": 0.25, "ci_high": 0.75, "q": 0.01, "r_feature": -0.125, "ci_low_feature": -0.5}
        run.label_ratings = ratings_table(
            [{**key, "rating": "beauty", **known, "ci_high_feature": 0.25}, {**key, "rating": "calm"}]
        )
        report = write()
        beauty, calm = report.card(FIRST)["predicts"]
        assert beauty == {"rating": "beauty", "n": 40, **known, "ci_high_feature": 0.25}
        assert calm == {**dict.fromkeys(beauty), "rating": "calm", "n": 40}
        assert "p adjusted over all names and ratings" in report.reading

    def test_without_a_judge_nothing_is_claimed(self, write: Write) -> None:
        report = write()
        assert "judgement" not in report.card(FIRST)
        assert report.run["verdicts"] == {}
        assert any("The names have not been judged" in note for note in report.run["notes"])
