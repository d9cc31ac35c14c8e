"""The table and the plots of all features in a real browser: filters by rating, any order, colours, figures to save."""

from __future__ import annotations

from xml.etree import ElementTree

import pandas as pd
import pytest

import saeviz
from tests.browser.tab import COUNT, DRAWN, NAMES, NO_WEBGL, Tab, press
from tests.conftest import FAKE_RUN

SVG = "{http://www.w3.org/2000/svg}"
SAVED = "saeviz.save = (name, kind, text) => (window.saved = [name, kind, text]), 1"
FURTHER = 'use = "pearson-bh"\nalpha = 0.2\nsplit = 0.5\n[[scorers]]\nuse = "spearman"\n'
FURTHER += '[[scorers]]\nuse = "fake-scorer"\nname = "mine"\n'


@pytest.fixture(scope="module")
def run(clean_environment: None, tmp_path_factory: pytest.TempPathFactory) -> saeviz.Run:
    path = tmp_path_factory.mktemp("report") / "fake.toml"
    path.write_text(FAKE_RUN.replace('use = "pearson-bh"\n', FURTHER).replace("n = 24", "n = 60"))
    return saeviz.run(path)


def of(run: saeviz.Run, rating: str) -> pd.DataFrame:
    return run.correlations[run.correlations["rating"] == rating]


def names_of(table: pd.DataFrame) -> list[str]:
    return [str(saeviz.feature_of(row)) for row in table.to_dict("records")]


def test_filters_by_significance_and_sign_of_each_rating_work_together(tab: Tab, run: saeviz.Run) -> None:
    rating = run.ratings[0]
    table = of(run, rating)
    tab.go("view=features&plot=none")
    tab.run("document.querySelectorAll('.of-rating').forEach(one => (one.open = true))")
    tab.do(f"document.querySelector('[data-key=\"f.sign[{rating}]=negative\"]').click()")
    assert tab.run(COUNT).startswith(f"{(table['r'] < 0).sum()} of ")
    tab.do(f"document.querySelector('[data-key=\"f.spearman_significant[{rating}]=1\"]').click()")
    both = (table["r"] < 0) & (table["spearman_significant"] == 1)
    assert tab.run(COUNT).startswith(f"{both.sum()} of ")
    tab.browser.reload()
    tab.settle()
    assert tab.run(COUNT).startswith(f"{both.sum()} of "), "the filters are in the address"


@pytest.mark.parametrize("column", ["spearman_r", "r_held_out", "q"])
def test_features_are_sorted_by_any_correlation_and_by_q(tab: Tab, run: saeviz.Run, column: str) -> None:
    rating = run.ratings[0]
    tab.go("view=features&plot=none")
    tab.enter(f"{column}[{rating}]", "[data-key=sort]")
    descending = column != "q"
    assert tab.run("saeviz.state.get('sort')") == f"{'-' if descending else ''}{column}[{rating}]"
    expected = of(run, rating).dropna(subset=[column]).sort_values(column, ascending=not descending, kind="stable")
    assert tab.run(NAMES)[:5] == names_of(expected.head(5))


def test_a_column_of_another_scorer_is_explained_sorted_filtered_and_drawn(tab: Tab, run: saeviz.Run) -> None:
    words = "share of images on which the feature fires"
    tab.go("view=features&plot=xy&x=mine_coverage&y=n_active&columns=mine_coverage")
    tab.run(DRAWN)
    assert tab.run("document.querySelector('[data-key=\"sort.mine_coverage\"]').title") == words
    tab.click("mine coverage", "[role=columnheader] button")
    assert f"mine coverage: {words}." in tab.run("document.querySelector('.tools + .meaning').textContent")
    best = run.scores.sort_values("mine_coverage", ascending=False, kind="stable")
    assert tab.run(NAMES)[:5] == names_of(best.head(5))
    assert "mine coverage" in tab.run("[...document.querySelectorAll('.filters legend')].map(one => one.textContent)")
    tab.run(SAVED)
    tab.click("SVG", ".saves button")
    assert "mine coverage" in tab.run("window.saved[2]")
    assert "Active images [images]" in tab.run("window.saved[2]")
    tab.enter("q[warmth]", "[data-key=y]")
    assert tab.run("saeviz.state.get('y')") == "q[warmth]"
    tab.go("view=overview")
    assert words in tab.run("document.querySelector('details.columns').textContent")


def test_points_are_coloured_by_a_column_and_the_key_says_what_colours_mean(tab: Tab, run: saeviz.Run) -> None:
    tab.go("view=features&plot=ms")
    tab.run(DRAWN)
    assert "not selected" in tab.run("document.querySelector('.keys').innerText")
    tab.enter("monosemanticity", "[data-key=tint]")
    tab.run(DRAWN)
    shown = tab.run("[...document.querySelectorAll('.keys .key')].map(one => Number(one.innerText))")
    assert shown == sorted(shown)
    values = run.scores["monosemanticity"].dropna()
    assert values.min() - 0.01 <= shown[0] <= shown[-1] <= values.max() + 0.01


@pytest.mark.parametrize("webgl", [True, False])
def test_a_plot_is_saved_with_a_shape_for_every_point_and_its_key(tab: Tab, run: saeviz.Run, webgl: bool) -> None:
    if not webgl:
        tab.run(NO_WEBGL)
    tab.go(f"view=features&plot=volcano:{run.ratings[0]}")
    tab.run(DRAWN)
    tab.run(SAVED)
    tab.click("SVG", ".saves button")
    name, _, text = tab.run("window.saved")
    assert name == f"Volcano-{run.ratings[0]}.svg"
    picture = ElementTree.fromstring(text)
    points = of(run, run.ratings[0]).dropna(subset=["r", "q"])
    key = tab.run("document.querySelectorAll('.keys .key').length")
    assert len(picture.findall(f"{SVG}circle")) == len(points) + key
    words = [one.text for one in picture.findall(f"{SVG}text")]
    assert "not selected" in words
    assert "q = 0.2" in words
    assert f"r with {run.ratings[0]}" in words


def test_very_many_points_are_one_picture_within_the_figure(tab: Tab) -> None:
    drawn = tab.run("""(() => {
      const n = 6000, xs = Float64Array.from({length: n}, (_, i) => i), order = [...xs.keys()];
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [20, 20];
      const picture = saeviz.scatterSvg({xs, ys: xs, colour: () => [0, 0, 0], large: () => false, order, canvas,
        box: {x0: 0, x1: n, y0: 0, y1: n}, xName: "x", yName: "y", guides: [], width: 300, height: 200,
        margin: {left: 50, right: 10, top: 10, bottom: 40}});
      return saeviz.asSvg(saeviz.standalone(picture));
    })()""")
    picture = ElementTree.fromstring(drawn)
    assert not picture.findall(f"{SVG}circle")
    [image] = picture.findall(f"{SVG}image")
    assert image.get("href").startswith("data:image/png;base64,")
    assert len(picture.findall(f"{SVG}text")) > 5


def test_the_plot_shows_where_tiers_begin(tab: Tab, run: saeviz.Run) -> None:
    first, second = run.tier_cutoffs
    tab.go("view=features&plot=ms")
    tab.run(DRAWN)
    assert "where the tiers begin" in tab.run("document.querySelector('.plot').innerText")
    tab.run(SAVED)
    tab.click("SVG", ".saves button")
    picture = ElementTree.fromstring(tab.run("window.saved[2]"))
    assert {"tier 1", "tier 2"} & {one.text for one in picture.findall(f"{SVG}text")}
    box = "{x0: 0, x1: 3, y0: 0, y1: 0.5}"
    ends = f"saeviz.seen({{path: [[{first[1]}, Infinity], [{first[1]}, {first[2]}], [Infinity, {first[2]}]]}}, {box})"
    assert tab.run(ends) == [[[first[1], 0.5], [first[1], first[2]]], [[first[1], first[2]], [3, first[2]]]]
    assert tab.run("saeviz.seen({x: 2}, {x0: 0, x1: 1, y0: 0, y1: 1})") == []
    assert second.monosemanticity <= first.monosemanticity


def test_points_are_gone_through_and_opened_by_keyboard(tab: Tab, run: saeviz.Run) -> None:
    tab.go("view=features&plot=ms")
    tab.run(DRAWN)
    tab.run("document.querySelector('.scatter .over').focus()")
    table = run.scores.dropna(subset=["monosemanticity"]).sort_values("monosemanticity", kind="stable")
    least, next_one = names_of(table.head(2))
    tip = "document.querySelector('.scatter .tip').innerText"
    press(tab, "ArrowRight")
    assert least in tab.run(tip)
    press(tab, "ArrowRight")
    assert next_one in tab.run(tip)
    press(tab, "Enter")
    assert tab.run("saeviz.state.get('feature')") == next_one
