"""What the overview says of the run as a whole, and what it says of anything that is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import saeviz
from tests.plugins.report.page import CLS, RELIABILITY, FakeRun, Write, explain, judge


class TestSummary:
    def test_counts_images_tiers_names_and_failures(self, write: Write) -> None:
        run = write().run
        counts = [run[name] for name in ("n_images", "n_groups", "n_labelled", "n_failures", "tiers", "verdicts")]
        assert counts == [6, 0, 1, 1, {"1": 1, "2": 2}, {}]

    def test_counts_verdicts_where_names_were_judged(self, run: FakeRun, write: Write) -> None:
        judge(run, 0, 4, reason="only 2 images")
        assert write().run["verdicts"] == {"confirmed": 0, "fails": 0, "undecided": 0, "not judged": 1}

    def test_counts_groups(self, run: FakeRun, write: Write) -> None:
        run.items = [replace(item, group=f"group {number % 2}") for number, item in enumerate(run.items)]
        assert write().run["n_groups"] == 2

    def test_tells_of_each_rating_how_many_features_of_the_whole_run_go_along_with_it(self, write: Write) -> None:
        # The feature that was not selected counts; an r without q was not tested.
        names = ("n", "tested", "positive", "negative", "strongest")
        found = {name: [rating[key] for key in names] for name, rating in write().rating.items()}
        assert found == {"beauty": [6, 4, 1, 1, -0.6], "calm": [4, 1, 0, 1, -0.25]}
        beauty = write().rating["beauty"]
        assert (beauty["mean"], round(beauty["sd"], 2)) == (2.5, 1.87)

    def test_says_what_is_left_of_the_strongest_r_and_what_could_be_found(self, run: FakeRun, write: Write) -> None:
        corrected = {"r_corrected": -0.41234, "ci_low_corrected": -0.7, "ci_high_corrected": 0.05}
        run.correlations = run.correlations.assign(**corrected, negligible=0.0)
        run.facts = {**run.facts, "correlation_margin": 0.1, "correlation_detectable_beauty": 0.8765}
        report = write()
        beauty = report.rating["beauty"]
        assert beauty["unbiased"] == [-0.41234, -0.7, 0.05]
        assert (beauty["detectable"], beauty["negligible"], report.run["margin"]) == (0.8765, 0, 0.1)
        assert "Quote this r, unless images were held out" in report.reading

    def test_an_r_that_nobody_tested_is_not_called_insignificant(self, run: FakeRun, write: Write) -> None:
        run.correlations = run.correlations[[*saeviz.KEYS, "rating", "r"]]
        beauty = write().rating["beauty"]
        found = [beauty[name] for name in ("tested", "positive", "negative", "replicated", "strongest")]
        assert found == [4, None, None, None, -0.6]

    def test_tells_how_many_features_of_a_space_are_live(self, write: Write) -> None:
        spaces = [[space[name] for name in ("name", "n", "live", "selected")] for space in write().run["spaces"]]
        assert spaces == [["layer8.cls", 100, 1, 1], ["layer8.patch-max", 100, 2, 2]]

    def test_lists_the_figures_that_scorers_left(self, write: Write) -> None:
        assert write().run["facts"] == [["monosemanticity cutoffs", "0.35, 0.5"], ["family size", "6,000"]]

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
        text = " ".join(write().run["monosemanticity"])
        assert "similarity of 0.195 (SD 0.154, 50,000 pairs)" in text
        assert "moderate from 0.349, monosemantic from 0.503 (cut-offs: calibrated; definition: top-k)" in text
        assert "12,345 of 48,000 features" in text
        assert "p from up to 10,000 draws" in text
        assert "Spearman's r 0.76 and Pearson's r 0.81" in text
        assert text.rstrip(".").endswith("is 0.7")

    def test_says_nothing_of_it_where_nothing_was_measured(self, run: FakeRun, write: Write) -> None:
        run.facts = {"monosemanticity_images": 0}
        assert write().run["monosemanticity"] == []

    def test_tells_the_stages_components_and_versions(self, run: FakeRun, write: Write) -> None:
        sae = {"source": "/home/me/saes/third", "commit": None}
        made_by = {"engine": "torch", "model": "CLIP", "model_commit": "0123456789abcdef", "saes": {"3": sae}}
        run.manifest["stages"]["extract"]["provenance"] = made_by
        run.manifest["config"]["extractor"] = {"use": "clip"}
        shown = write().run
        assert shown["stages"] == [["extract", "1 min 15 s", "images 6", ""]]
        models = {word: (name, files) for word, name, files in shown["models"]}
        assert models["Labeler"][0] == "gemini"
        assert models["Independent embedding"][0] == "dinov2"
        assert models["Device"][0] == "cpu"
        assert models["Model"] == ("clip", "CLIP at 0123456789ab, saes (3 (third)), engine torch")
        assert shown["versions"] == {"saeviz": "0.1.0"}

    def test_a_stage_that_is_at_work_has_no_row(self, run: FakeRun, write: Write) -> None:
        run.manifest["stages"]["report"] = {"digest": "1"}
        assert len(write().run["stages"]) == 1

    def test_a_fact_that_says_nothing_is_left_out(self, run: FakeRun, write: Write) -> None:
        run.facts = {"judge_powerless": "", "redundancy_clusters": 20}
        assert write().run["facts"] == [["redundancy clusters", "20"]]

    def test_lists_the_failures(self, write: Write) -> None:
        assert write().run["failures"] == [["extract", "broken.jpg", "cannot be read"]]

    def test_very_many_failures_are_cut_short_and_all_are_counted(self, run: FakeRun, write: Write) -> None:
        run.failures = [saeviz.Failure("extract", str(number), "gone") for number in range(1234)]
        shown = write().run
        assert 0 < len(shown["failures"]) < shown["n_failures"] == 1234

    def test_the_title_is_the_run_directory_unless_one_is_given(self, write: Write) -> None:
        assert write().run["title"] == "my-run"
        assert write(title="Barns & moods").run["title"] == "Barns & moods"


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
        assert not any(said in note for note in write().run["notes"])
        remove(run)
        assert any(said in note for note in write().run["notes"])

    def test_has_no_column(self, run: FakeRun, write: Write) -> None:
        _no_embeddings(run)
        _no_ratings(run)
        shown = write().run
        names = [head["name"] for head in shown["columns"]]
        assert names == ["n_active", "max", "mean", "coverage", "tier", "rank", "label", "confidence", "verdict"]

    def test_a_manifest_that_says_nothing_is_enough(self, run: FakeRun, write: Write) -> None:
        run.manifest = {"config": None, "stages": {"extract": None}}
        assert write().run["tiers"] == {"1": 1, "2": 2}

    def test_a_selected_feature_without_scores_is_still_there(self, run: FakeRun, write: Write) -> None:
        run.scores = run.scores[run.scores["feature"] != 42]
        report = write()
        assert np.isnan(report.value("layer8.patch-max/42", "n_active"))
        assert report.value("layer8.patch-max/42", "tier") == 2


def warns(run: FakeRun, write: Write, *words: str) -> bool:
    return any(all(word in note for word in words) for note in write().run["notes"])


class TestWarnings:
    def test_of_few_rated_images(self, run: FakeRun, write: Write) -> None:
        run.facts |= {"correlation_detectable_beauty": 0.9, "correlation_detectable_calm": 0.95}
        assert warns(run, write, "Few images are rated (beauty 6, calm 4)", "|r| of 0.95 in 80 of 100 cases")

    def test_of_ratings_that_are_not_reliable(self, run: FakeRun, write: Write) -> None:
        assert not warns(run, write, "reliable")
        run.facts["reliability"] = {"beauty": {**RELIABILITY, "reliability": 0.36, "ceiling_r": 0.6}}
        assert warns(run, write, "ratings of beauty are not reliable (0.36)", "|r| above 0.6")

    def test_of_images_that_were_not_held_out(self, run: FakeRun, write: Write) -> None:
        assert warns(run, write, "No images were held out")
        run.correlations["r_held_out"] = 0.1
        assert not warns(run, write, "No images were held out")

    def test_of_saes_that_do_not_describe_the_images(self, run: FakeRun, write: Write) -> None:
        run.of_images = {"reconstruction_error.layer8.cls": [0.1] * 6, "l0.layer8.cls": [9] * 6}
        assert not warns(run, write, "miss")
        run.of_images["reconstruction_error.layer8.patch-max"] = [0.1, 0.1, *[0.75] * 4]
        assert warns(run, write, "SAEs miss much of the images (share of variance, median: layer8.patch-max 75 %)")

    @pytest.mark.parametrize("several", [False, True])
    def test_of_what_extractors_doubt(self, run: FakeRun, write: Write, several: bool) -> None:
        made_by = {"model": "CLIP", "doubts": ["layer 8: trained on layer 7, but used for layer 8"]}
        if several:
            run.manifest["config"]["extractors"] = [{"name": "one", "use": "clip"}]
        run.manifest["stages"]["extract"]["provenance"] = {"one": made_by} if several else made_by
        said = "not used as it was trained (layer 8: trained on layer 7, but used for layer 8)"
        assert warns(run, write, said)
        assert "trained on layer 7" not in str(write().run["models"])
        made_by["doubts"] = []
        assert not warns(run, write, "as it was trained")


class TestRatingsAsAWhole:
    @pytest.fixture
    def run(self, run: FakeRun) -> FakeRun:
        explain(run)
        return run

    def test_reliability_and_its_ceiling(self, write):
        report = write()
        assert report.run["explained"]["reliability"] == [["beauty", RELIABILITY]]
        assert {name: rating["ceiling"] for name, rating in report.rating.items()} == {"beauty": 0.8, "calm": None}

    def test_what_features_explain_beside_everything_else(self, write):
        beauty, calm, joy = write().run["explained"]["prediction"]
        first, together = beauty["spaces"]
        assert (beauty["rating"], beauty["n_images"], beauty["ceiling"]) == ("beauty", 6, pytest.approx(0.64))
        assert (first["ridge"]["r2"], first["lasso"]["n_kept"], first["activations"]["r2"]) == (0.31, 3, 0.41)
        assert beauty["embeddings"]["r2"] == 0.51
        assert (together["space"], together["ridge"]["r2"]) == ("all", None)
        assert (calm["spaces"][0]["ridge"]["r2"], calm["embeddings"], calm["ceiling"]) == (-0.02, None, None)
        assert (joy["rating"], joy["spaces"][0]["ridge"]["auc"]) == ("mood=joy", 0.714)

    def test_the_features_that_lasso_keeps_strongest_first_with_their_names(self, run, write):
        weights = {(7, "cls", "beauty"): -0.3, (7, "patch-max", "beauty"): 0.1, (42, "patch-max", "beauty"): 0.2}
        keys = zip(run.correlations["feature"], run.correlations["tokens"], run.correlations["rating"], strict=True)
        run.correlations["lasso_weight"] = [weights.get(key, 0.0 if key[0] == 7 else np.nan) for key in keys]
        assert write().run["explained"]["kept"] == [
            ["beauty", "layer8.cls", 1, [["layer8.cls/7", -0.3, "red barn"]]],
            ["beauty", "layer8.patch-max", 2, [["layer8.patch-max/42", 0.2, ""], ["layer8.patch-max/7", 0.1, ""]]],
        ]

    def test_these_facts_are_not_listed_a_second_time(self, write):
        assert [name for name, _ in write().run["facts"]] == ["monosemanticity cutoffs", "family size"]

    @pytest.mark.parametrize("foreign", [0.7, {"beauty": 0.7}, {"beauty": [{"r2": 1}]}, {"beauty": {"model": "mine"}}])
    def test_facts_of_the_same_name_by_someone_else_are_listed_as_any_other(self, run, write, foreign):
        run.facts = {"reliability": foreign, "prediction": foreign}
        shown = write().run
        assert [name for name, _ in shown["facts"]] == ["reliability", "prediction"]
        assert shown["explained"] == {"reliability": [], "prediction": [], "kept": []}
