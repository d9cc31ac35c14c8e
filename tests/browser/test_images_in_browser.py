"""The wall of images and the page of one in a real browser."""

from __future__ import annotations

import io
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import saeviz
from saeviz_report import HtmlOptions
from saeviz_report.explorer.reporter import HtmlReport
from tests.browser.tab import Tab
from tests.conftest import FAKE_RUN

N = 84
KINDS = ("animal", "object", "person")
BELOW = "[...document.querySelectorAll('.wall .below')].map(one => one.textContent)"
TITLES = "[...document.querySelectorAll('.wall .picture')].map(one => one.title)"
HEADS = "[...document.querySelectorAll('.kind-head')].map(one => one.innerText)"
COUNT = "document.querySelector('main output').textContent"
ROWS = "[...document.querySelectorAll('main table tbody tr')].map(row => row.innerText.split('\\t'))"
PREDICTED = '\n[[scorers]]\nuse = "prediction"\nraw_model = false\n[labeler]'


class WithKinds(saeviz.Run):
    """The run with metadata: words, and numbers that nobody looks for."""

    @property
    def metadata(self) -> pd.DataFrame:
        places = range(len(self.items))
        kinds = [KINDS[place % 3] for place in places]
        return super().metadata.assign(kind=kinds, weight=[str(7000 + place) for place in places])


@pytest.fixture(scope="module")
def run(clean_environment: None, tmp_path_factory: pytest.TempPathFactory) -> saeviz.Run:
    path = tmp_path_factory.mktemp("explorer") / "fake.toml"
    path.write_text(FAKE_RUN.replace("n = 24", f"n = {N}").replace("\n[labeler]", PREDICTED))
    finished = saeviz.run(path)
    finished.__class__ = WithKinds
    return finished


def as_number(text: str) -> float:
    return float(text.replace("\N{MINUS SIGN}", "-").replace("+", "").replace(",", ""))


def test_only_lines_in_sight_are_drawn_and_the_others_when_scrolled_to(tab: Tab, run: saeviz.Run) -> None:
    tab.browser.call("Emulation.setDeviceMetricsOverride", width=390, height=400, deviceScaleFactor=1, mobile=False)
    tab.go(f"view=images&by=-ratings:{run.ratings[0]}")
    tab.until(f"{TITLES}.length > 8")
    assert tab.run("document.documentElement.scrollWidth") <= 390
    first = tab.run(TITLES)
    assert 8 < len(first) < N
    expected = run.ratings_table[run.ratings[0]].sort_values(ascending=False, kind="stable").index.tolist()
    assert first == expected[: len(first)]
    tab.run("window.scrollTo(0, document.documentElement.scrollHeight)")
    tab.until(f"{TITLES}.at(-1) === {json.dumps(expected[-1])}")
    assert len(tab.run(TITLES)) < N


def test_images_are_together_by_category_with_their_mean(tab: Tab, run: saeviz.Run) -> None:
    rating = run.ratings[0]
    tab.go(f"view=images&by=-ratings:{rating}")
    tab.enter("kind", "select[aria-label='Grouped by']")
    assert tab.run("saeviz.state.get('facet')") == "kind"
    means = run.ratings_table[rating].groupby(run.metadata["kind"]).mean()
    counts = run.metadata["kind"].value_counts()
    assert [text.replace("\N{MINUS SIGN}", "-") for text in tab.run(HEADS)] == [
        f"{kind} {counts[kind]} images, mean {round(means[kind], 2):g}" for kind in KINDS
    ]
    tab.click("person", ".kind-head a")
    assert tab.run(COUNT) == f"{counts['person']} images"
    own = run.metadata.index[run.metadata["kind"] == "person"]
    assert set(tab.run(TITLES)) <= set(own)


def test_images_are_sorted_by_a_feature(tab: Tab, run: saeviz.Run) -> None:
    feature = run.selected[0].feature
    tab.go(f"view=features&plot=none&feature={feature}")
    tab.click("all ", "#card a")
    top = [item_id for item_id, _ in run.top_item_ids(feature)]
    assert tab.run(TITLES)[: len(top)] == top
    assert str(feature) in tab.run("document.querySelector('[aria-label=Order]').selectedOptions[0].textContent")


def test_what_is_known_of_the_images_shown_is_saved_as_csv(tab: Tab, run: saeviz.Run) -> None:
    feature = run.selected[0].feature
    tab.go(f"view=images&by=-feature:{feature}&iq=animal")
    tab.run("saeviz.save = (name, kind, text) => (window.saved = text), 1")
    tab.click("CSV", "main button")
    table = pd.read_csv(io.StringIO(tab.run("window.saved"))).set_index("image")
    activations = pd.Series(run.activations(feature), index=run.metadata.index)[run.metadata["kind"] == "animal"]
    np.testing.assert_allclose(table[str(feature)], activations.sort_values(ascending=False), rtol=1e-6)
    rating = run.ratings[0]
    np.testing.assert_allclose(table[rating], run.ratings_table.loc[table.index, rating], rtol=1e-6)


def test_surprise_is_the_rating_less_its_prediction(tab: Tab, run: saeviz.Run) -> None:
    rating = run.ratings[0]
    tab.go(f"view=images&by=-numbers:residual.{rating}")
    left = run.images_table[f"residual.{rating}"].sort_values(ascending=False)
    assert as_number(tab.run(BELOW)[0]) == pytest.approx(left.iloc[0], abs=0.006)
    chosen = tab.run("document.querySelector('[aria-label=Order]').selectedOptions[0].textContent")
    assert chosen == f"surprise: {rating} minus its prediction"


def test_words_are_looked_for_in_names_and_words_not_in_numbers(tab: Tab) -> None:
    tab.go("view=images&iq=animal")
    assert tab.run(COUNT) == f"{math.ceil(N / 3)} images"
    tab.go("view=images&iq=7001")
    assert tab.run(COUNT) == "0 images"


def test_the_page_of_an_image_says_what_features_add_to_its_predicted_rating(tab: Tab, run: saeviz.Run) -> None:
    image, rating = run.items[5].item_id, run.ratings[0]
    tab.go(f"view=image&image={image}")
    weights = run.correlations[run.correlations["rating"] == rating].set_index(saeviz.KEYS)["ridge_weight"]
    parts: dict[str, float] = {}
    for space in run.spaces:
        row = run.features(space).matrix[[5]].toarray()[0]
        for index in row.nonzero()[0].tolist():
            feature = saeviz.Feature.parse(f"{space}/{index}")
            parts[str(feature)] = float(
                row[index] * weights[(feature.sae, feature.layer, feature.tokens, feature.index)]
            )
    names = tab.run("[...document.querySelectorAll('.added .id')].map(one => one.textContent)")
    added = [
        as_number(text)
        for text in tab.run("[...document.querySelectorAll('.added .number')].map(one => one.textContent)")
    ]
    assert len(names) > 3
    for name, amount in zip(names, added, strict=False):
        assert amount == pytest.approx(parts[name], abs=0.001)
    told = tab.run("document.querySelector('.added').parentElement.innerText")
    whole = as_number(re.search(r"(\S+) in total", told)[1])
    start = run.facts["prediction_intercepts"][rating]
    assert whole == pytest.approx(start + sum(parts.values()), abs=0.006)
    assert sum(added) == pytest.approx(sum(parts.values()), abs=0.02)


def test_the_page_of_an_image_has_its_ratings_what_was_predicted_and_what_is_left(tab: Tab, run: saeviz.Run) -> None:
    image, rating = run.items[5].item_id, run.ratings[0]
    tab.go(f"view=image&image={image}")
    row = next(row for row in tab.run(ROWS) if row[0] == rating)
    numbers = run.images_table.loc[image]
    assert as_number(row[1]) == pytest.approx(run.ratings_table.loc[image, rating], abs=0.006)
    assert as_number(row[-2]) == pytest.approx(numbers[f"predicted.{rating}"], abs=0.006)
    assert as_number(row[-1]) == pytest.approx(numbers[f"residual.{rating}"], abs=0.006)
    tab.run("document.querySelector('.large .picture').click()")
    assert tab.run("document.getElementById('enlarged').open")


class WithOdds(saeviz.Run):
    """The run with models of a rating of 0 and 1 and one of 1 and 2; one image took no part in fitting."""

    values = ((0.0, 1.0), (1.0, 2.0))

    @property
    def ratings_table(self) -> pd.DataFrame:
        table = super().ratings_table.copy()
        for name, pair in zip(self.ratings[:2], self.values, strict=True):
            table[name] = [pair[place % 2] for place in range(len(table))]
        return table

    @property
    def images_table(self) -> pd.DataFrame:
        table = super().images_table.copy()
        table.loc[self.items[5].item_id, f"predicted.{self.ratings[0]}"] = np.nan
        return table


def test_only_a_rating_of_0_and_1_is_in_log_odds_and_it_says_who_was_fitted(
    browser: Any, run: saeviz.Run, tmp_path: Path
) -> None:
    other = saeviz.open_run(shutil.copytree(run.dir, tmp_path / "run"), plugins=["module:saeviz.testing.fakes"])
    other.__class__ = WithOdds
    tab = Tab(browser, HtmlReport(HtmlOptions(), saeviz.Context()).write(other))
    told = "document.querySelector('.added').parentElement.innerText"
    for image, part in ((5, "but not to this one"), (6, "including this one")):
        tab.go(f"view=image&image={run.items[image].item_id}&against={run.ratings[0]}")
        assert f"fitted to {N - 1} images, {part}; in log odds" in tab.run(told)
    tab.go(f"view=image&image={run.items[5].item_id}&against={run.ratings[1]}")
    assert f"fitted to {N} images, including this one: " in tab.run(told)
