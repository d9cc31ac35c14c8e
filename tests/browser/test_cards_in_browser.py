"""The card of a feature in a real browser: enlarged pictures, r by group, what a name predicts, figures to save."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import pearsonr

import saeviz
from tests.browser.tab import CARD, Tab, press
from tests.browser.test_report_in_browser import HOSTILE

KINDS = ("animal", "object", "person")
BIG = "document.getElementById('enlarged')"
SAVED = "saeviz.save = (name, kind, content) => (window.saved = [name, kind, content]), 1"
AS_TEXT = """(async () => {
  const bytes = new Uint8Array(await window.saved[2].arrayBuffer());
  return btoa([...bytes].map(one => String.fromCharCode(one)).join(''));
})()"""


class WithKinds(saeviz.Run):
    """The run with a column of text that tells its images apart."""

    @property
    def metadata(self) -> pd.DataFrame:
        kinds = [KINDS[place % 3] for place in range(len(self.items))]
        return super().metadata.assign(kind=kinds, hostile=[f"{HOSTILE}{place % 2}" for place in range(len(kinds))])


@pytest.fixture(scope="module")
def run(finished_copy: saeviz.Run) -> saeviz.Run:
    finished_copy.__class__ = WithKinds
    return finished_copy


@pytest.fixture
def tab(browser: Any, page: Path, run: saeviz.Run) -> Iterator[Tab]:
    opened = Tab(browser, page)
    opened.go(f"view=features&plot=none&feature={run.selected[0].feature}")
    yield opened
    assert opened.messages() == []
    assert opened.run("window.broken") is None


def test_a_picture_is_enlarged_turned_over_and_left_by_keyboard(tab: Tab, run: saeviz.Run) -> None:
    first, second = (item_id for item_id, _ in run.top_item_ids(run.selected[0].feature, 2))
    tab.run("document.querySelector('#card .picture').focus()")
    press(tab, "Enter")
    assert tab.run(f"{BIG}.open")
    assert first in tab.run(f"{BIG}.innerText")
    press(tab, "ArrowRight")
    assert second in tab.run(f"{BIG}.innerText")
    assert tab.run("saeviz.state.get('feature')") == str(run.selected[0].feature), "the card is not turned over"
    press(tab, "Escape")
    assert not tab.run(f"{BIG}.open")
    assert tab.run(f"{CARD}.open")
    assert tab.run("document.activeElement.title") == second


def test_r_within_each_group_is_that_of_its_images(tab: Tab, run: saeviz.Run) -> None:
    rating = run.ratings[1]
    tab.enter(rating, "[data-key=against]")
    tab.enter("kind", "[data-key=hue]")
    assert (tab.run("saeviz.state.get('against')"), tab.run("saeviz.state.get('hue')")) == (rating, "kind")
    rows = tab.run("[...document.querySelectorAll('.against tbody tr')].map(row => row.innerText.split('\\t'))")
    active = run.activations(run.selected[0].feature)
    values = run.ratings_table[rating].to_numpy()
    for place, (row, name) in enumerate(zip(rows, KINDS, strict=True)):
        own = np.flatnonzero((np.arange(len(values)) % 3 == place) & np.isfinite(values))
        assert row[:3] == [name, str(own.size), str((active[own] > 0).sum())]
        if (active[own] > 0).any():
            expected = np.corrcoef(active[own], values[own])[0, 1]
            assert float(row[3].replace("\N{MINUS SIGN}", "-")) == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize(
    ("x", "y"),
    [([0, 1, 2, 3, 4], [0.1] * 5), ([0.7] * 3, [1, 2, 4]), ([0, 0, 0], [0.3] * 3), ([0.1] * 6, [1e12, 1, 2, 3, 4, 5])],
)
def test_what_does_not_vary_within_a_group_has_no_r(tab: Tab, x: list[float], y: list[float]) -> None:
    points = [{"x": one, "y": other} for one, other in zip(x, y, strict=True)]
    assert tab.run(f"saeviz.pearson({points})") is None


def test_r_within_a_group_has_the_interval_of_scipy_and_none_where_it_is_1(tab: Tab) -> None:
    generator = np.random.default_rng(4)
    x, y = generator.random(11).tolist(), (1e12 + generator.random(11)).tolist()
    found = tab.run(f"saeviz.pearson({[{'x': one, 'y': other} for one, other in zip(x, y, strict=True)]})")
    expected = pearsonr(x, np.array(y) - 1e12)
    bounds = expected.confidence_interval()
    assert [found[name] for name in ("r", "low", "high")] == pytest.approx([expected.statistic, *bounds], abs=1e-6)

    alone = [{"x": one, "y": one} for one in (0, 0, 0, 0, 1)]
    assert tab.run(f"(({{ r, low }}) => [r > 0.999999, Number.isNaN(low)])(saeviz.pearson({alone}))") == [True, True]


def test_a_card_begins_with_its_title_and_the_rating_of_the_largest_r(tab: Tab, run: saeviz.Run) -> None:
    table = saeviz.rows_about(run.correlations, [run.selected[0].feature])
    strongest = table.loc[table["r"].abs().idxmax(), "rating"]
    assert tab.run("document.querySelector('[data-key=against]').value") == strongest
    assert tab.run("document.activeElement.id") == "card-title"


def test_colours_by_a_column_with_markup_show_it_as_text(tab: Tab) -> None:
    tab.enter("hostile", "[data-key=hue]")
    assert "<img src=x" in tab.run("document.querySelector('.against').innerText")


def test_a_rank_biserial_r_is_shown_with_its_area_under_the_curve(tab: Tab) -> None:
    shown = tab.run("""saeviz.relations(
      { run: { ratings: [{ name: "joy" }], measures: { "": "rank-biserial r" } } },
      new Map([["r[joy]", { at: () => 0.5 }]]), 0).textContent""")
    assert "+0.50 AUC 0.75" in shown


def test_neighbours_are_listed_and_lead_to_their_cards(tab: Tab, run: saeviz.Run) -> None:
    near = tab.run("[...document.querySelectorAll('.near .id')].map(one => one.textContent)")
    assert near
    tab.do("document.querySelector('.near a').click()")
    assert tab.run("saeviz.state.get('feature')") == near[0]


def test_a_figure_is_saved_as_svg_that_needs_no_page(tab: Tab, run: saeviz.Run) -> None:
    tab.enter("kind", "[data-key=hue]")
    tab.run(SAVED)
    tab.click("SVG", "#card .saves button")
    name, kind, text = tab.run("window.saved")
    assert name.endswith(".svg")
    assert kind == "image/svg+xml"
    picture = ElementTree.fromstring(text)
    svg = "{http://www.w3.org/2000/svg}"
    assert len(picture.findall(f"{svg}circle")) >= run.ratings_table.iloc[:, 0].notna().sum()
    assert not [one.tag for one in picture.iter() if {"class", "style"} & set(one.keys())]
    assert picture.find(f"{svg}rect").get("fill") == "#ffffff"
    words = [one.text for one in picture.findall(f"{svg}text")]
    assert words[-3:] == list(KINDS)
    assert len({one.get("fill") for one in picture.findall(f"{svg}circle")} - {None}) >= 3


def test_a_figure_is_saved_as_png_in_light_colours(browser: Any, page: Path, run: saeviz.Run) -> None:
    tab = Tab(browser, page)
    dark = {"name": "prefers-color-scheme", "value": "dark"}
    browser.call("Emulation.setEmulatedMedia", features=[dark])
    tab.go(f"view=features&plot=none&feature={run.selected[0].feature}")
    tab.run(SAVED)
    tab.click("PNG", "#card .saves button")
    tab.until("window.saved?.length > 0")
    assert tab.run("window.saved[0]").endswith(".png")
    picture = Image.open(io.BytesIO(base64.b64decode(tab.run(AS_TEXT)))).convert("RGB")
    assert picture.width >= 900
    assert picture.getpixel((1, 1)) == (255, 255, 255)
    assert len(picture.getcolors(1_000_000)) > 10
    assert tab.messages() == []
