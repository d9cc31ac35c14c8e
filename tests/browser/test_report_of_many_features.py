"""The report of a run of three spaces of 49,152 features and 2,000 images in a real browser, made once."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

import saeviz
from benchmarks.reading import SPACES, make_run
from tests.browser.tab import CARD, COUNT, DRAWN, NAMES, PAINTED, SETTLED, Tab, press
from tests.service import Served

pytestmark = pytest.mark.slow

N, N_IMAGES = 147_456, 2000


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> saeviz.Run:
    return saeviz.open_run(make_run(tmp_path_factory.mktemp("large"), SPACES[::2], N_IMAGES, n_active=10, n_pictures=8))


@pytest.fixture(scope="module")
def table(run: saeviz.Run) -> pd.DataFrame:
    """Scores and r of the first rating, in the order of the page."""
    r = run.correlations[run.correlations["rating"] == run.ratings[0]]
    return pd.concat([saeviz.rows_in(run.scores.merge(r[[*saeviz.KEYS, "r"]]), space) for space in run.spaces])


def names_of(table: pd.DataFrame, n: int) -> list[str]:
    return [str(saeviz.feature_of(row)) for row in table.head(n).to_dict("records")]


@pytest.mark.parametrize("descending", [True, False])
def test_sorting_is_that_of_pandas(tab: Tab, run: saeviz.Run, table: pd.DataFrame, descending: bool) -> None:
    for key, column in ((f"r[{run.ratings[0]}]", "r"), ("n_active", "n_active"), ("ms_class", "ms_class")):
        tab.go(f"view=features&plot=none&sort={'-' * descending}{key}")
        assert tab.run(COUNT) == "147,456 of 147,456 features"
        expected = table.sort_values(column, ascending=not descending, kind="stable")
        assert tab.run(NAMES)[:12] == names_of(expected, 12)


def test_filter_search_and_brush_count_what_pandas_counts(tab: Tab, table: pd.DataFrame) -> None:
    tab.go("view=features&plot=none&r.n_active=5..10&space=layer7.cls")
    kept = table[table["n_active"].between(5, 10) & (table["layer"] == 7)]
    assert tab.run(COUNT).startswith(f"{len(kept):,} of ")
    tab.go("view=features&plot=none&q=11.cls/471")
    assert tab.run(COUNT).startswith("111 of ")
    tab.go("view=features&plot=none")
    tab.drag(".brushable", (0.25, 0.5), (0.5, 0.5), (0.75, 0.5))
    low, high = map(float, tab.run("saeviz.state.get('r.monosemanticity')").split(".."))
    assert tab.run(COUNT).startswith(f"{table['monosemanticity'].between(low, high).sum():,} of ")
    tab.browser.reload()
    tab.settle()
    assert tab.run(COUNT).startswith(f"{table['monosemanticity'].between(low, high).sum():,} of ")


def test_points_are_drawn_and_gathered_and_the_list_is_that_of_numpy(tab: Tab, run: saeviz.Run) -> None:
    tab.go("view=features&plot=volcano:beauty")
    tab.run(DRAWN)
    assert tab.run(PAINTED)
    tab.drag(".over", (0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99), (0.01, 0.02))
    assert tab.run("document.querySelector('main output').textContent") == "147,456 features"
    tab.run("saeviz.save = (name, kind, text) => (window.saved = text), 1")
    tab.click("CSV", "main button")
    saved = tab.run("window.saved.split('\\r\\n').slice(1, 4).map(line => line.split(',')[0])")
    assert saved == [str(saeviz.Feature(7, "cls", index)) for index in range(3)]


def test_from_a_card_to_an_image_and_back_by_keyboard(tab: Tab, run: saeviz.Run) -> None:
    active = {one.feature: run.activations(one.feature) for one in run.selected[:20]}
    feature = max(active, key=lambda one: (active[one] > 0).sum())
    first = run.items[int(active[feature].argmax())].item_id
    tab.go(f"view=features&plot=none&feature={feature}")
    assert tab.run("document.querySelector('#card .picture').title") == first
    tab.run("document.querySelector('#card .picture').focus()")
    press(tab, "Enter")
    tab.click("Page of this image", "#enlarged a")
    assert first in tab.run("document.querySelector('main h2').textContent")
    assert str(feature) in tab.run("[...document.querySelectorAll('.fired .id')].map(one => one.textContent)")
    tab.do("history.back()")
    tab.until(f"{CARD}.open")
    press(tab, "Escape")
    tab.until(f"!{CARD}.open")
    assert tab.run(COUNT) == "147,456 of 147,456 features"


def test_only_what_is_in_sight_is_loaded(tab: Tab) -> None:
    tab.go("view=features&plot=none&sort=-max")
    tab.until("document.querySelectorAll('.rows .row').length === 40")
    blocks = "saeviz.asked().filter(name => name.startsWith('features/')).length"
    assert tab.run(blocks) < 40
    assert tab.run("saeviz.asked().filter(name => name.startsWith('images/')).length") == 0


def test_it_is_served_from_the_run_alone(browser: Any, run: saeviz.Run) -> None:
    served = Served(run.dir, token=None)
    try:
        browser.open_url(f"{served.url}#view=features&plot=none&sort=-max")
        browser.run(SETTLED)
        assert browser.run(COUNT) == "147,456 of 147,456 features"
        assert browser.messages == []
    finally:
        served.stop()
