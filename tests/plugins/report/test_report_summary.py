"""What the page says of the run as a whole, and what it says of anything that is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import saeviz
from tests.plugins.report.page import CLS, DASH, MINUS, Element, FakeRun, Write, column, entries, judged


class TestSummary:
    def test_counts_images_tiers_names_and_failures(self, write: Write) -> None:
        page = write()
        figures = {entry.one("dt").text: entry.one("dd").text for entry in page.one("dl", class_="figures").all("div")}
        assert figures == {
            "Images": "6", "Selected features": "3", "Tier 1": "1", "Tier 2": "2", "Named": "1", "Left out": "1",
        }  # fmt: skip

    def test_counts_verdicts_where_names_were_judged(self, run: FakeRun, write: Write) -> None:
        run.judgements = judged(12, 12)
        figures = [entry.one("dt").text for entry in write().one("dl", class_="figures").all("div")]
        assert figures[-5:] == ["Names confirmed", "Names that fail", "Names undecided", "Names not judged", "Left out"]
        run.judgements = judged(0, 4, reason="only 2 images")
        counts = {
            entry.one("dt").text: entry.one("dd").text for entry in write().one("dl", class_="figures").all("div")
        }
        assert (counts["Names undecided"], counts["Names not judged"]) == ("0", "1")

    def test_tells_of_each_rating_how_many_features_of_the_whole_run_go_along_with_it(self, write: Write) -> None:
        rows = write().one("table", id="ratings").one("tbody").all("tr")
        by_name = {row.one("th").text: [cell.text for cell in row.all("td")] for row in rows}
        # Images, mean and SD, tested, significant, of these positive, negative, strongest. The feature that
        # was not selected counts; an r without q was not tested.
        assert by_name["beauty"] == ["6", "2.50 (1.87)", "4", "2", "1", "1", f"{MINUS}0.60"]
        assert by_name["calm"] == ["4", "1.50 (0.00)", "1", "1", "0", "1", f"{MINUS}0.25"]

    def test_says_what_is_left_of_the_strongest_r_and_what_could_be_found(self, run: FakeRun, write: Write) -> None:
        corrected = {"r_corrected": -0.41234, "ci_low_corrected": -0.7, "ci_high_corrected": 0.05}
        run.correlations = run.correlations.assign(**corrected, negligible=0.0)
        run.facts = {**run.facts, "correlation_margin": 0.1, "correlation_detectable_beauty": 0.8765}
        page = write()
        row = page.one("table", id="ratings").one("tbody").all("tr")[0]
        assert [cell.text for cell in row.all("td")][-3:] == [f"{MINUS}0.41 ({MINUS}0.70 to +0.05)", "0.88", "0"]
        assert "Quote this r, unless images were held out" in page.text
        assert "Zhong & Prentice (2008)" in page.text

    def test_an_r_that_nobody_tested_is_not_called_insignificant(self, run: FakeRun, write: Write) -> None:
        run.correlations = run.correlations[[*saeviz.KEYS, "rating", "r"]]
        row = write().one("table", id="ratings").one("tbody").all("tr")[0]
        assert [cell.text for cell in row.all("td")][2:] == ["4", DASH, DASH, DASH, f"{MINUS}0.60"]

    def test_tells_how_many_features_of_a_space_are_live(self, write: Write) -> None:
        rows = write().one("table", id="spaces").one("tbody").all("tr")
        assert [[child.text for child in row.all("td")] for row in rows] == [["100", "1", "1"], ["100", "2", "2"]]

    def test_lists_the_figures_that_scorers_left(self, write: Write) -> None:
        facts = write().one("dl", id="facts")
        assert [value.text for value in facts.all("dd")] == ["0.35, 0.5", "6,000"]

    def test_says_by_what_monosemanticity_is_to_be_judged(self, run: FakeRun, write: Write) -> None:
        run.facts = {
            "monosemanticity_definition": "top-k",
            "monosemanticity_baseline_mean": 0.19512,
            "monosemanticity_baseline_sd": 0.1541,
            "monosemanticity_baseline_pairs": 50_000,
            "monosemanticity_thresholds": "calibrated",
            "monosemanticity_cutoffs": [0.349, 0.503],
            "monosemanticity_p": "up to 10,000 draws",
            "monosemanticity_family_size": 48_000,
            "monosemanticity_above_chance": 12_345,
            "monosemanticity_agreement_features": 47_000,
            "monosemanticity_agreement_pearson": 0.81,
            "monosemanticity_agreement_spearman": 0.76,
            "monosemanticity_agreement_same_class": 0.7,
        }
        text = write().one("p", id="monosemanticity").text
        assert "similarity of 0.195 (SD 0.154, 50,000 pairs)" in text
        assert "moderate from 0.349, monosemantic from 0.503 (cut-offs: calibrated; definition: top-k)" in text
        assert "12,345 of 48,000 features" in text
        assert "p from up to 10,000 draws" in text
        assert "Spearman's r 0.76 and Pearson's r 0.81" in text
        assert text.rstrip(".").endswith("is 0.7")

    def test_says_nothing_of_it_where_nothing_was_measured(self, run: FakeRun, write: Write) -> None:
        run.facts = {"monosemanticity_images": 0}
        assert not write().all("p", id="monosemanticity")

    def test_tells_the_stages_components_and_versions(self, write: Write) -> None:
        run_section = write().one("section", id="run")
        [stage] = run_section.one("table", id="stages").one("tbody").all("tr")
        assert [cell.text for cell in stage.all("td")] == ["1 min 15 s", "images 6", DASH]
        for part in ("gemini", "dinov2", "cpu", "saeviz 0.1.0"):
            assert part in run_section.text

    def test_a_stage_that_is_at_work_has_no_row(self, run: FakeRun, write: Write) -> None:
        run.manifest["stages"]["report"] = {"digest": "1"}
        assert len(write().one("table", id="stages").one("tbody").all("tr")) == 1

    def test_a_fact_that_says_nothing_is_left_out(self, run: FakeRun, write: Write) -> None:
        run.facts = {"judge_powerless": "", "redundancy_clusters": 20}
        assert [name.text for name in write().one("dl", id="facts").all("dt")] == ["redundancy clusters"]

    def test_lists_the_failures(self, write: Write) -> None:
        [row] = write().one("table", id="left-out").one("tbody").all("tr")
        assert row.text == "extractbroken.jpgcannot be read"

    def test_very_many_failures_are_cut_short_with_a_word_on_where_the_rest_is(
        self, run: FakeRun, write: Write
    ) -> None:
        run.failures = [saeviz.Failure("extract", str(number), "gone") for number in range(1234)]
        section = write().one("section", id="failures")
        listed = len(section.one("tbody").all("tr"))
        assert 0 < listed < 1234
        assert f"{1234 - listed} more are listed in failures.jsonl" in section.text

    def test_the_title_is_the_run_directory_unless_one_is_given(self, write: Write) -> None:
        assert write().one("h1").text == "my-run"
        assert write(title="Barns & moods").one("h1").text == "Barns & moods"


def _no_selection(run: FakeRun) -> None:
    run.selected, run.labels, run.top = [], {}, {}


def _no_labeler(run: FakeRun) -> None:
    run.labels = {}
    run.manifest["config"]["labeler"] = {"use": "none"}


def _no_names(run: FakeRun) -> None:
    run.labels = {CLS.feature(7): saeviz.FeatureLabel("")}


def _no_ratings(run: FakeRun) -> None:
    run.ratings, run.correlations = [], pd.DataFrame()
    run.items = [replace(item, ratings={}) for item in run.items]


def _no_correlations(run: FakeRun) -> None:
    run.correlations = pd.DataFrame({**{key: [] for key in saeviz.KEYS}, "rating": []})


def _no_embeddings(run: FakeRun) -> None:
    run.scores = run.scores.drop(columns=["monosemanticity", "ms_class"])
    del run.manifest["config"]["embeddings"]


def _no_monosemanticity(run: FakeRun) -> None:
    run.scores = run.scores.drop(columns=["monosemanticity", "ms_class"])


def _no_images(run: FakeRun) -> None:
    _no_selection(run)
    run.items, run.scores, run.correlations = [], pd.DataFrame(), pd.DataFrame()


class TestWhatIsMissing:
    @pytest.mark.parametrize(
        ("remove", "said"),
        [
            (_no_selection, "No feature was selected"),
            (_no_labeler, "no [labeler] table"),
            (_no_names, "gemini found a name for none"),
            (_no_ratings, "have no ratings"),
            (_no_correlations, "No scorer of this run correlates"),
            (_no_embeddings, "no [embeddings] table"),
            (_no_monosemanticity, "no scorer of this run computes it"),
            (_no_images, "No image has features"),
        ],
    )
    def test_is_said_with_the_reason(
        self, run: FakeRun, write: Write, remove: Callable[[FakeRun], None], said: str
    ) -> None:
        page_before = write()
        assert said not in page_before.text
        remove(run)
        page = write()
        assert said in page.one("section", id="summary").text
        assert list(entries(page)) == [str(selected.feature) for selected in run.selected]

    def test_has_no_column(self, run: FakeRun, write: Write) -> None:
        _no_embeddings(run)
        _no_ratings(run)
        headers = [header.text for header in write().all("th", role="columnheader")]
        assert headers == ["#", "Feature", "Tier", "Active on", "coverage"]

    def test_a_manifest_that_says_nothing_is_enough(self, run: FakeRun, write: Write) -> None:
        run.manifest = {"config": None, "stages": {"extract": None}}
        assert len(entries(write())) == 3

    def test_a_selected_feature_without_scores_is_still_listed(self, run: FakeRun, write: Write) -> None:
        run.scores = run.scores[run.scores["feature"] != 42]
        assert column(write(), "Active on")["layer8.patch-max/42"].text.endswith(DASH)


RELIABILITY = {
    "model": "one-way",
    "n_images": 6,
    "n_raters": 31,
    "ratings_per_image": 4.5,
    "of_one": 0.2,
    "of_mean": 0.64,
    "split_half": None,
    "reliability": 0.64,
    "ceiling_r": 0.8,
}


def prediction(method: str, source: str, space: str, r2: float | None, **more: Any) -> dict[str, Any]:
    known = {"method": method, "source": source, "space": space, "n_images": 6, "n_inputs": 9}
    return {**known, "r2": r2, "r2_sd": 0.05, "r": 0.3, **more}


class TestRatingsAsAWhole:
    @pytest.fixture
    def run(self, run: FakeRun) -> FakeRun:
        run.facts["reliability"] = {"beauty": RELIABILITY}
        run.facts["prediction"] = {
            "beauty": [
                prediction("ridge", "features", "layer8.cls", 0.31),
                prediction("lasso", "features", "layer8.cls", 0.21, n_kept=3),
                prediction("ridge", "activations", "layer8.cls", 0.41),
                prediction("ridge", "embeddings", "", 0.51),
                prediction("ridge", "features", "all", None, r2_sd=None),
            ],
            "calm": [prediction("ridge", "features", "layer8.cls", -0.02, r2_sd=None)],
            "mood=joy": [prediction("ridge", "features", "layer8.cls", 0.12, auc=0.714, auc_sd=0.02)],
        }
        return run

    def test_reliability_and_its_ceiling(self, write):
        [row] = write().one("table", id="reliability").one("tbody").all("tr")
        assert [cell.text for cell in row.children if isinstance(cell, Element)] == [
            *("beauty", "6", "31", "4.5", "0.20", "0.640", DASH, "0.640", "0.800", "one-way")
        ]

    def test_the_ceiling_is_beside_the_strongest_correlation(self, write):
        table = write().one("table", id="ratings")
        heads = [head.text for head in table.one("thead").all("th")]
        place = heads.index("Ceiling of |r|")
        assert heads[place - 1] == "Strongest r"
        rows = [
            [cell.text for cell in row.children if isinstance(cell, Element)] for row in table.one("tbody").all("tr")
        ]
        assert {row[0]: row[place] for row in rows} == {row[0]: "0.80" if row[0] == "beauty" else DASH for row in rows}

    def test_what_features_explain_beside_everything_else(self, write):
        rows = write().one("table", id="prediction").one("tbody").all("tr")
        texts = [[cell.text for cell in row.children if isinstance(cell, Element)] for row in rows]
        assert texts == [
            ["beauty", "6", "layer8.cls", "0.31 ± 0.05", "0.21 ± 0.05", "3", "0.41 ± 0.05", "0.51 ± 0.05", "0.64"],
            ["all together", DASH, DASH, DASH, DASH],
            ["calm", "6", "layer8.cls", f"{MINUS}0.02", DASH, DASH, DASH, DASH, DASH],
            ["mood=joy", "6", "layer8.cls", "0.12 ± 0.05, AUC 0.71", DASH, DASH, DASH, DASH, DASH],
        ]

    def test_the_features_that_lasso_keeps_strongest_first_with_their_names(self, run, write):
        weights = {(7, "cls", "beauty"): -0.3, (7, "patch-max", "beauty"): 0.1, (42, "patch-max", "beauty"): 0.2}
        keys = zip(run.correlations["feature"], run.correlations["tokens"], run.correlations["rating"], strict=True)
        run.correlations["lasso_weight"] = [weights.get(key, 0.0 if key[0] == 7 else np.nan) for key in keys]
        kept = write().one("dl", id="kept")
        assert [(term.text, found.text) for term, found in zip(kept.all("dt"), kept.all("dd"), strict=True)] == [
            ("beauty, layer8.cls, 1 kept", f"{MINUS}0.30 red barn (7)"),
            ("beauty, layer8.patch-max, 2 kept", "+0.20 42; +0.10 7"),
        ]

    def test_these_facts_are_not_listed_a_second_time(self, write):
        names = [term.text for term in write().one("dl", id="facts").all("dt")]
        assert names == ["monosemanticity cutoffs", "family size"]

    @pytest.mark.parametrize("foreign", [0.7, {"beauty": 0.7}, {"beauty": [{"r2": 1}]}, {"beauty": {"model": "mine"}}])
    def test_facts_of_the_same_name_by_someone_else_are_listed_as_any_other(self, run, write, foreign):
        run.facts = {"reliability": foreign, "prediction": foreign}
        page = write()
        assert [term.text for term in page.one("dl", id="facts").all("dt")] == ["reliability", "prediction"]
        assert not page.all("section", id="explained")

    def test_a_hostile_name_of_a_rating_stays_text(self, run, write):
        name = "<script>alert(1)</script>"
        run.facts["reliability"] = {name: RELIABILITY}
        run.facts["prediction"] = {name: run.facts["prediction"]["calm"]}
        page = write()
        for table in ("reliability", "prediction"):
            assert "<script>alert" in page.one("table", id=table).one("tbody").text
        assert len(page.all("script")) == 1
