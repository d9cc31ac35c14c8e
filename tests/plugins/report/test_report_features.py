"""The table of features: figures, bars, held-out parts, methods and verdicts, as facts about the page."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

import saeviz
from saeviz.formats.label_scores import ratings_table
from tests.plugins.report.page import DASH, MINUS, PATCH, FakeRun, Write, column, entries, judged


class TestFeatures:
    def test_each_selected_feature_comes_once_best_first(self, write: Write) -> None:
        page = write()
        assert list(entries(page)) == ["layer8.cls/7", "layer8.patch-max/7", "layer8.patch-max/42"]
        assert [cell["data-value"] for cell in column(page, "#").values()] == ["1", "2", "3"]

    def test_the_page_opens_with_the_strongest_relation_whatever_the_tier(self, run: FakeRun, write: Write) -> None:
        table = run.correlations.copy()
        last = saeviz.Feature(8, "patch-max", 42)
        of_last = (table["tokens"] == last.tokens) & (table["feature"] == last.index)
        table.loc[of_last, ["r", "q", "significant"]] = [0.8, 0.001, 1.0]
        run.correlations = table

        assert next(iter(entries(write()))) == str(last)

    def test_has_tier_monosemanticity_class_and_number_of_images(self, write: Write) -> None:
        page = write()
        assert [cell["data-value"] for cell in column(page, "Tier").values()] == ["1", "2", "2"]
        ms = column(page, "MS")["layer8.cls/7"]
        assert "0.61" in ms.text
        assert "monosemantic" in ms.text
        assert float(ms.attributes["data-value"]) == 0.6123
        assert "1,234" in column(page, "Active on")["layer8.patch-max/7"].text

    def test_monosemanticity_comes_with_its_null_and_the_second_embedding(self, run: FakeRun, write: Write) -> None:
        null = {"ms_baseline_mean": 0.2, "ms_baseline_sd": 0.1, "ms_null_mean": 0.195, "ms_null_sd": 0.0304}
        test = {"ms_z": 13.74, "ms_p": 9.9e-5, "ms_q": 0.0123, "monosemanticity_2": 0.5411, "ms_class_2": "moderate"}
        undefined = dict.fromkeys((*null, *test), np.nan) | {"ms_class_2": ""}
        notes = ["", "fires on fewer than two images", "", "fires on fewer than two images"]
        for name, value in {**null, **test}.items():
            run.scores[name] = [value, undefined[name], undefined[name], undefined[name]]
        run.scores["ms_note"] = notes
        page = write()
        assert "q = 0.012" in column(page, "MS")["layer8.cls/7"].text
        assert "q" not in column(page, "MS")["layer8.patch-max/7"].text
        first, second, third = entries(page).values()
        details = first.one("details").text
        assert "random 0.195 (SD 0.030), z +13.7, p 9.9e-05, q 0.012" in details.replace(MINUS, "-")
        assert "0.54 moderate" in details
        assert "fires on fewer than two images" in second.one("details").text
        assert "random" not in third.one("details").text
        assert not [header for header in page.one("table", id="selected").all("th") if header.text.startswith("ms_")]

    def test_of_many_ratings_the_most_telling_have_a_column(self, run: FakeRun, write: Write) -> None:
        tags = [f"tag={number}" for number in range(40)]
        first = run.correlations.iloc[[0]]
        weak = [first.assign(rating=tag, r=0.01) for tag in tags]
        run.correlations = pd.concat([run.correlations, *weak], ignore_index=True)
        run.ratings = [*tags, *run.ratings]
        page = write()
        headers = [header.text for header in page.one("table", id="selected").all("th", role="columnheader")]
        assert {"beauty", "calm"} <= set(headers)
        assert len([header for header in headers if header.startswith("tag=")]) == 10
        figures = next(iter(entries(page).values())).one("details").one("table").one("tbody").all("tr")
        assert len(figures) == 30
        assert figures[0].one("th").text == "beauty"
        assert "Of 42 ratings these are the ones" in page.text

    def test_r_has_its_sign_its_q_and_its_mark(self, write: Write) -> None:
        page = write()
        beauty, calm = column(page, "beauty"), column(page, "calm")
        first = "layer8.cls/7"
        assert "+0.50" in beauty[first].text
        assert "q < 0.001" in beauty[first].text
        assert f"{MINUS}0.25" in calm[first].text
        assert "q = 0.031" in calm[first].text
        marked = {
            (feature, name)
            for name, cells in (("beauty", beauty), ("calm", calm))
            for feature, cell in cells.items()
            if "significant" in cell.text
        }
        assert marked == {(first, "beauty"), (first, "calm")}

    def test_a_bar_reaches_from_zero_to_r_on_the_scale_of_the_page(self, write: Write) -> None:
        page = write()
        positive = column(page, "beauty")["layer8.cls/7"].one("rect", class_="positive")
        negative = column(page, "calm")["layer8.cls/7"].one("rect", class_="negative")
        # The largest of all r and ends of intervals is 0.99, so the scale is -1 to 1, drawn from -100 to 100.
        assert (float(positive.attributes["x"]), float(positive.attributes["width"])) == (0, 50)
        assert (float(negative.attributes["x"]), float(negative.attributes["width"])) == (-25, 25)

    def test_an_interval_outside_the_bar_still_fits_the_scale(self, run: FakeRun, write: Write) -> None:
        run.correlations = run.correlations[run.correlations["rating"] == "beauty"]
        bar = column(write(), "beauty")["layer8.cls/7"]
        # The scale ends at 0.7, the next tenth after 0.65.
        assert float(bar.one("rect", class_="positive").attributes["width"]) == pytest.approx(100 * 0.5 / 0.7, abs=0.1)
        ends = re.findall(r"[-\d.]+", bar.one("path", class_="interval").attributes["d"])
        assert [float(ends[0]), float(ends[2])] == pytest.approx([100 * 0.3 / 0.7, 100 * 0.65 / 0.7], abs=0.1)

    def test_a_missing_value_is_a_dash_and_never_nan(self, run: FakeRun, write: Write) -> None:
        page = write()
        for name in ("MS", "calm"):
            cell = column(page, name)["layer8.patch-max/7"]
            assert cell["data-value"] == ""
            assert DASH in cell.text
        assert not re.search(r"\b(nan|None)\b", page.one("main").text)

    def test_is_called_by_its_label_or_else_by_its_number(self, write: Write) -> None:
        named, unnamed, _ = (cell.text for cell in column(write(), "Feature").values())
        assert "red barn" in named
        assert "confidence 0.88" in named
        assert "layer8.cls/7" in named
        assert "feature 7" in unnamed
        assert "confidence" not in unnamed

    def test_shows_all_that_the_labeler_said(self, write: Write) -> None:
        text = entries(write())["layer8.cls/7"].text
        for part in ("A barn.", "roof, door", "People like barns.", "clear and predictive"):
            assert part in text

    def test_says_which_features_fire_together_with_it_and_finds_it_by_them(self, run: FakeRun, write: Write) -> None:
        feature = run.selected[0].feature
        run.together = {feature: [PATCH.feature(number) for number in range(30, 55)]}
        run.scores = run.scores.assign(cluster=3.0, cluster_size=26.0)
        page = write()
        entry = entries(page)[str(feature)]
        assert "fires together with 25 more" in entry.one("th", class_="name").text
        assert "layer8.patch-max/30, layer8.patch-max/31" in entry.one("dd", class_="companions").text
        assert entry.one("dd", class_="companions").text.endswith("layer8.patch-max/49 and 5 more")
        assert "layer8.patch-max/54" in entry["data-searchable"]
        assert "fires together" not in entries(page)[str(run.selected[1].feature)].text
        assert "cluster" not in [
            header.text for header in page.one("table", id="selected").all("th", role="columnheader")
        ]

    def test_columns_of_further_scorers_are_columns_of_the_table(self, run: FakeRun, write: Write) -> None:
        run.scores["kind"] = ["texture", "", "object", ""]
        page = write()
        coverage = column(page, "coverage")
        assert [cell["data-value"] for cell in coverage.values()] == ["0.4", "0.2", ""]
        assert [cell.text.removeprefix("kind ") for cell in column(page, "kind").values()] == [
            "texture",
            DASH,
            "object",
        ]

    def test_columns_of_further_scorers_about_ratings_are_listed_with_the_feature(
        self, run: FakeRun, write: Write
    ) -> None:
        run.correlations["spearman"] = [0.123, *[np.nan] * 6]
        table = entries(write())["layer8.cls/7"].one("details").one("table")
        assert [header.text for header in table.all("th", scope="col")][-1] == "spearman"
        assert [row.all("td")[-1].text for row in table.one("tbody").all("tr")] == ["0.123", DASH]


def hold_out(run: FakeRun, **facts: Any) -> None:
    """The run tells that relations were found on one part and tested again on the other."""
    again = {"n_held_out": 5, "p_held_out": 0.01, "r_held_out": [0.4, -0.2, 0.8, np.nan, np.nan, 0.1, 0.6]}
    nothing = [np.nan] * 4
    run.correlations = run.correlations.assign(
        **again, q_held_out=[0.02, 0.3, *nothing, 0.4], replicated=[1.0, 0.0, *nothing, 0.0]
    )
    run.facts |= {"correlation_measure": "Pearson's r", "correlation_split": 0.5, **facts}


class TestHeldOut:
    def test_each_r_has_its_held_out_r_beside_it_and_says_whether_it_was_confirmed(
        self, run: FakeRun, write: Write
    ) -> None:
        hold_out(run)
        page = write()
        shown = {
            (feature, rating): cell.one("div", class_="held-out").text
            for rating in ("beauty", "calm")
            for feature, cell in column(page, rating).items()
        }
        assert shown["layer8.cls/7", "beauty"] == "held out +0.40 ✓ replicated"
        assert shown["layer8.cls/7", "calm"] == f"held out {MINUS}0.20 ✗ not replicated"
        assert shown["layer8.patch-max/7", "beauty"] == "held out +0.80"
        assert shown["layer8.patch-max/7", "calm"] == f"held out {DASH}"

    def test_it_is_a_mark_on_the_bar_whose_scale_has_room_for_it(self, run: FakeRun, write: Write) -> None:
        hold_out(run)
        bar = column(write(), "beauty")["layer8.patch-max/7"].one("svg")
        # 0.8 on a scale that ends at 1.0, for the r of 0.99
        assert bar.one("path", class_="held-out")["d"] == "M80.0 -8V8"

    def test_the_summary_tells_how_many_of_how_many_were_confirmed(self, run: FakeRun, write: Write) -> None:
        hold_out(run)
        rows = write().one("table", id="ratings").one("tbody").all("tr")
        assert [row.all("td")[-3].text for row in rows] == ["1 of 2", "0 of 1"]

    def test_all_figures_have_both_parts(self, run: FakeRun, write: Write) -> None:
        hold_out(run)
        first = entries(write())["layer8.cls/7"].one("details").one("tbody").all("tr")[0]
        assert [cell.text for cell in first.all("td")][-4:] == ["+0.4000", "0.01", "0.02", "5"]

    def test_the_held_out_r_has_its_interval(self, run: FakeRun, write: Write) -> None:
        hold_out(run)
        run.correlations = run.correlations.assign(ci_low_held_out=-0.1234, ci_high_held_out=0.765)
        first = entries(write())["layer8.cls/7"].one("details").one("tbody").all("tr")[0]
        assert "\N{MINUS SIGN}0.123 to +0.765" in [cell.text.strip() for cell in first.all("td")]

    def test_without_held_out_images_nothing_is_said_of_them(self, write: Write) -> None:
        text = write().one("main").text.lower()
        assert "held out" not in text
        assert "held-out" not in text


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
    def test_the_page_explains_the_correlation_and_correction_that_were_used(
        self, run: FakeRun, write: Write, facts: dict[str, Any], said: str
    ) -> None:
        run.facts = {f"correlation_{name}": value for name, value in facts.items()}
        assert said in write().one("section", id="reading").text

    def test_a_run_with_another_correlation_only_shows_that(self, run: FakeRun, write: Write) -> None:
        keys = [*saeviz.KEYS, "rating"]
        plain = write()
        run.correlations = run.correlations.rename(columns=lambda name: name if name in keys else f"spearman_{name}")
        run.facts = {"spearman_measure": "Spearman's rho", "spearman_correction": "bonferroni"}
        page = write()
        assert [cell.text for cell in column(page, "beauty").values()] == [
            cell.text for cell in column(plain, "beauty").values()
        ]
        assert "The bar is Spearman's rho" in page.text
        assert "adjusted by Bonferroni" in page.text

    def test_a_second_correlation_is_a_row_of_its_own_among_all_figures(self, run: FakeRun, write: Write) -> None:
        run.correlations = run.correlations.assign(partial_r=-0.125, partial_p=0.5, partial_q=0.75, partial_n=4)
        run.facts |= {"correlation_measure": "Pearson's r", "partial_measure": "partial r"}
        rows = entries(write())["layer8.cls/7"].one("details").one("tbody").all("tr")
        assert [row.all("td")[0].text for row in rows] == ["Pearson's r", "partial r"] * 2
        assert [cell.text for cell in rows[1].all("td")][1:] == [f"{MINUS}0.1250", DASH, "0.5", "0.75", "4"]


class TestJudgement:
    def test_a_name_that_holds_is_confirmed(self, run: FakeRun, write: Write) -> None:
        run.judgements = judged(12, 11)
        entry = entries(write())["layer8.cls/7"]
        assert entry.one("span", class_="judged").text == "name confirmed 0.96 (0.78 to 0.99)"
        assert "doubtful" not in entry.one("b", class_="label")["class"]
        figures = {one.one("dt").text: one.one("dd").text for one in entry.one("dl").all("div")}
        assert figures["Found of 12 images on which it fires"] == "100 %"
        assert figures["Rejected of 12 on which it is silent"] == "92 %"
        assert figures["Of these, of 4 look-alikes"] == "100 %"

    def test_a_name_that_fails_is_marked(self, run: FakeRun, write: Write) -> None:
        run.judgements = judged(5, 7)
        entry = entries(write())["layer8.cls/7"]
        assert "fails" in entry.one("span", class_="judged").text
        assert "doubtful" in entry.one("b", class_="label")["class"]

    def test_a_name_that_also_fits_look_alikes_is_too_broad(self, run: FakeRun, write: Write) -> None:
        run.judgements = judged(12, 12, n_hard_passed_over=1)
        assert entries(write())["layer8.cls/7"].one("span", class_="judged").text.endswith(", too broad")

    def test_a_name_that_could_not_be_judged_says_why(self, run: FakeRun, write: Write) -> None:
        run.judgements = judged(0, 4, reason="only <2> images")
        entry = entries(write())["layer8.cls/7"]
        assert entry.one("span", class_="judged").text == "name not judged: only <2> images"

    def test_how_the_name_goes_with_ratings_is_shown_beside_the_feature(self, run: FakeRun, write: Write) -> None:
        key = {"sae": "", "layer": 8, "tokens": "cls", "feature": 7, "label": "red barn", "n": 40}
        known = {"r": 0.5, "ci_low": 0.25, "ci_high": 0.75, "q": 0.01, "r_feature": -0.125, "ci_low_feature": -0.5}
        run.label_ratings = ratings_table(
            [{**key, "rating": "beauty", **known, "ci_high_feature": 0.25}, {**key, "rating": "calm"}]
        )
        page = write()
        [table] = [one for one in entries(page)["layer8.cls/7"].all("table") if one.all("caption")]
        cells = {row.one("th").text: [cell.text for cell in row.all("td")] for row in table.one("tbody").all("tr")}
        shown = ["+0.50", "+0.250 to +0.750", "0.01", f"{MINUS}0.12", f"{MINUS}0.500 to +0.250", "40"]
        assert cells["beauty"] == shown
        assert cells["calm"] == [DASH] * 5 + ["40"]
        assert "p adjusted over all names and ratings" in page.text

    def test_without_a_judge_nothing_is_claimed(self, write: Write) -> None:
        page = write()
        assert page.all("span", class_="judged") == []
        assert any("The names have not been judged" in note.text for note in page.all("p", class_="note"))
