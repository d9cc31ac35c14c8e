"""The report in a real browser, opened from disk, made from a real run of components that need no model."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest

import saeviz
from saeviz_report import HtmlOptions
from saeviz_report.explorer.reporter import HtmlReport
from tests.browser.tab import ANY_WEBGL, CARD, COUNT, DRAWN, NAMES, NO_WEBGL, PAINTED, SETTLED, ZOOM_OUT, Tab, until
from tests.conftest import FAKES
from tests.service import Served

HOSTILE = "<img src=x onerror=window.broken=1><script>window.broken=1</script>\u202e"
NAMES_OF_COLUMNS = ("__proto__", "constructor", "a|b", "100%7C")


class Hostile(saeviz.Run):
    """The run with names that would like to be a script."""

    @property
    def labels(self) -> Mapping[saeviz.Feature, saeviz.FeatureLabel]:
        return {
            chosen.feature: saeviz.FeatureLabel(f"concept {number} {HOSTILE}", HOSTILE, (HOSTILE,), HOSTILE, 0.5)
            for number, chosen in enumerate(self.selected)
        }

    @property
    def scores(self) -> pd.DataFrame:
        return super().scores.assign(**dict.fromkeys(NAMES_OF_COLUMNS, 1.0))

    @property
    def metadata(self) -> pd.DataFrame:
        return super().metadata.assign(**{name: f"of {name}" for name in NAMES_OF_COLUMNS})

    @property
    def images_table(self) -> pd.DataFrame:
        return super().images_table.assign(**{name: range(len(self.items)) for name in NAMES_OF_COLUMNS})


@pytest.fixture(scope="module")
def run(finished_copy: saeviz.Run) -> saeviz.Run:
    finished_copy.__class__ = Hostile
    return finished_copy


@pytest.fixture
def tab(browser: Any, page: Path) -> Iterator[Tab]:
    opened = Tab(browser, page)
    yield opened
    assert opened.messages() == []
    assert opened.run("window.broken") is None
    assert all(url.startswith((page.parent.as_uri(), "data:")) for url in browser.requests)


def test_the_overview_leads_to_features_of_a_rating(tab: Tab, run: saeviz.Run) -> None:
    text = tab.run("document.getElementById('main').innerText")
    assert "What correlates with each rating" in text
    tab.click(run.ratings[0], "table a")
    assert tab.run("saeviz.state.get('view')") == "features"
    assert tab.run("saeviz.state.get('sort')") == f"-r[{run.ratings[0]}]"


def test_every_feature_is_in_the_table_in_the_order_asked_for(tab: Tab, run: saeviz.Run) -> None:
    tab.go("view=features&plot=none&sort=-n_active")
    n = sum(space.n_features for space in run.spaces)
    assert tab.run(COUNT) == f"{n} of {n} features"
    scores = run.scores.sort_values("n_active", ascending=False, kind="stable")
    assert tab.run(NAMES)[:5] == [str(saeviz.feature_of(row)) for row in scores.head(5).to_dict("records")]
    tab.do("document.querySelector('.head button').click()")
    assert tab.run("document.querySelector('[aria-sort=descending]').textContent").startswith("Feature")


def test_search_filter_and_range_narrow_it_and_stand_in_the_address(tab: Tab, run: saeviz.Run) -> None:
    tab.go("view=features&plot=none")
    tab.enter("concept", "#search", "input")
    tab.until("saeviz.state.get('q') === 'concept'")
    tab.settle()
    named = len(run.selected)
    assert tab.run(COUNT).startswith(f"{named} of ")
    tab.click("layer1.cls", ".filters .box")
    assert tab.run("saeviz.state.get('space')") == "layer1.cls"
    in_space = sum(str(chosen.feature).startswith("layer1.cls/") for chosen in run.selected)
    assert tab.run(COUNT).startswith(f"{in_space} of ")
    tab.go("view=features&plot=none&r.n_active=5..10")
    assert tab.run(COUNT).startswith(f"{run.scores['n_active'].between(5, 10).sum()} of ")
    tab.click("Clear filters")
    assert tab.run("saeviz.state.get('r.n_active')") == ""


def test_an_image_finds_the_selected_features_of_which_it_is_a_top_image(tab: Tab, run: saeviz.Run) -> None:
    top = {chosen.feature: [item_id for item_id, _ in run.top_item_ids(chosen.feature, 12)] for chosen in run.selected}
    [image, *_] = [image for images in top.values() for image in images if len(image) == len("picture/10")]
    tab.go(f"view=features&plot=none&q={quote(image)}")
    assert set(tab.run(NAMES)) == {str(feature) for feature, images in top.items() if image in images}
    tab.go("view=features&plot=none&q=no-such-image")
    assert tab.run(NAMES) == []


def test_a_range_is_chosen_by_dragging_over_its_histogram(tab: Tab) -> None:
    tab.go("view=features&plot=none")
    tab.drag(".brushable", (0.25, 0.5), (0.5, 0.5), (0.75, 0.5))
    assert tab.run("[...saeviz.state.read().keys()].filter(key => key.startsWith('r.')).length") == 1


def test_a_card_shows_images_relations_and_is_left_by_keyboard(tab: Tab, run: saeviz.Run) -> None:
    feature = run.selected[0].feature
    tab.go(f"view=features&plot=none&feature={feature}")
    card = tab.run(f"{CARD}.innerText")
    assert str(feature) in card
    assert "Where it fires most" in card
    assert "<img src=x" in card, "markup is shown as the text that it is"
    assert "\\u202e" in card, "what turns the direction of text is spelt out"
    shown = tab.run("[...document.querySelectorAll('#card .strip')][0].querySelectorAll('.picture').length")
    assert shown == min(12, int(run.scores_of(feature)["n_active"]))
    tab.do(f"{CARD}.dispatchEvent(new KeyboardEvent('keydown', {{key: 'ArrowRight'}}))")
    assert tab.run("saeviz.state.get('feature')") != str(feature)
    tab.do(f"{CARD}.dispatchEvent(new Event('cancel', {{cancelable: true}}))")
    assert not tab.run(f"{CARD}.open")


def test_from_a_feature_to_an_image_and_back(tab: Tab, run: saeviz.Run) -> None:
    feature = run.selected[0].feature
    tab.go(f"view=features&plot=none&feature={feature}")
    tab.run("document.querySelector('#card .picture').click()")
    tab.click("Page of this image", "#enlarged a")
    image = run.top_item_ids(feature)[0][0]
    assert image in tab.run("document.querySelector('main h2').textContent")
    fired = tab.run("[...document.querySelectorAll('.fired .id')].map(one => one.textContent)")
    assert str(feature) in fired
    tab.do("history.back()")
    tab.until(f"{CARD}.open")


@pytest.mark.parametrize("webgl", [True, False])
def test_points_are_hovered_clicked_and_gathered_with_a_lasso(tab: Tab, run: saeviz.Run, webgl: bool) -> None:
    tab.run(ANY_WEBGL if webgl else NO_WEBGL)
    tab.go("view=features&plot=ms")
    tab.run(DRAWN)
    assert tab.run(PAINTED)
    tab.run(ZOOM_OUT)
    assert tab.run("document.querySelector('.scatter').dataset.painter") == ("webgl2" if webgl else "canvas")
    assert tab.run(PAINTED)
    tab.drag(".over", (0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99), (0.01, 0.02))
    assert tab.run("saeviz.state.get('view')") == "lists"
    relations = run.correlations.groupby(saeviz.KEYS)["r"].max().notna()
    scored = run.scores.set_index(saeviz.KEYS)["monosemanticity"].notna()
    both = int((relations & scored.loc[relations.index]).sum())
    assert tab.run("document.querySelectorAll('.tiles li').length") == both


def test_the_first_picture_of_points_is_there_without_webgl_and_stays_where_that_is_imitated(tab: Tab) -> None:
    tab.go("view=features&plot=ms")
    tab.run(DRAWN)
    assert tab.run(PAINTED)
    assert tab.browser.messages == [], "Chromium says nothing of WebGL either"
    tab.run(ZOOM_OUT)
    assert tab.run("document.querySelector('.scatter').dataset.painter") == "canvas"
    assert tab.run(PAINTED)


def test_a_list_is_in_the_address_and_can_be_renamed_and_saved(tab: Tab, run: saeviz.Run) -> None:
    first, second = (chosen.feature for chosen in run.selected[:2])
    tab.go(f"view=lists&list.mine={first.space_name}:{first.index};{second.space_name}:{second.index}")
    assert tab.run("document.querySelectorAll('.tiles li').length") == 2
    tab.run("saeviz.save = (name, kind, text) => (window.saved = [name, text]), 1")
    tab.click("CSV", "main button")
    name, text = tab.run("window.saved")
    assert name == "mine.csv"
    assert [line.split(",")[0] for line in text.splitlines()] == ["feature", str(first), str(second)]
    tab.enter("ours", "main input")
    assert tab.run("saeviz.state.get('list.ours')") != ""
    tab.do("document.querySelector('.tiles button').click()")
    assert tab.run("document.querySelectorAll('.tiles li').length") == 1


def test_no_field_of_a_csv_file_is_a_formula(tab: Tab) -> None:
    assert tab.run("['=1+1', '+a', '-a', '@a', 'a\"b', 'x,y', 'plain', -1.5, NaN].map(saeviz.field)") == [
        "'=1+1", "'+a", "'-a", "'@a", '"a""b"', '"x,y"', "plain", "-1.5", "",
    ]  # fmt: skip


def test_reloading_keeps_what_was_chosen(tab: Tab, run: saeviz.Run) -> None:
    tab.go(f"view=images&by=-ratings:{run.ratings[0]}")
    before = tab.run("[...document.querySelectorAll('.wall .below')].map(one => one.textContent)")
    assert before == sorted(before, key=lambda text: -float(text.replace("\N{MINUS SIGN}", "-")))
    tab.browser.reload()
    tab.settle()
    assert tab.run("[...document.querySelectorAll('.wall .below')].map(one => one.textContent)") == before


@pytest.mark.parametrize("view", ["overview", "features", "images", "lists"])
def test_nothing_is_wider_than_a_phone(browser: Any, page: Path, view: str) -> None:
    tab = Tab(browser, page)
    browser.call("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=False)
    tab.go(f"view={view}")
    assert tab.run("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(
    "address",
    [
        "feature=nowhere/1",
        "feature=layer1.cls/99999",
        "image=none&view=image",
        "view=nothing",
        "sort=r[no]",
        "r.max=a..b",
        "list.x=;;:",
        "q=%ff",
        "view=constructor",
        "view=images&by=constructor:name",
        "view=images&by=ids:length",
        "r.label=0..1",
    ],
)
def test_an_address_that_makes_no_sense_is_no_accident(tab: Tab, address: str) -> None:
    tab.go(f"view=features&{address}" if "view=" not in address else address)
    assert tab.run("document.getElementById('main').innerText.length") > 10


def test_names_that_mean_something_to_javascript_or_to_the_address_are_names(tab: Tab, run: saeviz.Run) -> None:
    for name in NAMES_OF_COLUMNS:
        tab.go(f"view=images&by=-numbers:{quote(name)}")
        below = tab.run("[...document.querySelectorAll('.wall .below')].map(one => one.textContent)")
        assert below == [str(number) for number in reversed(range(len(run.items)))]
    tab.go(f"view=image&image={quote(run.items[3].item_id)}")
    shown = tab.run("document.getElementById('main').textContent")
    tab.go("view=features&plot=none")
    for name in NAMES_OF_COLUMNS:
        assert f"of {name}" in shown
        tab.click(name.replace("_", " "), ".choices .box")
    heads = tab.run("[...document.querySelectorAll('.head button')].map(one => one.textContent)")
    assert heads[-len(NAMES_OF_COLUMNS) :] == [name.replace("_", " ") for name in NAMES_OF_COLUMNS]


def test_data_of_a_later_version_are_refused_with_a_sentence(browser: Any, page: Path, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    shutil.copytree(page.parent, folder)
    [data] = folder.rglob("data/run.js")
    data.write_text(data.read_text().replace('"version":1', '"version":2'))
    browser.open(folder / "index.html")
    until(browser, "document.getElementById('main').innerText.includes('version 2')")


def test_a_data_file_that_is_damaged_or_gone_is_said_so(browser: Any, page: Path, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    shutil.copytree(page.parent, folder)
    [data] = folder.rglob("data/run.js")
    for damage, words in ((lambda: data.write_text("saeviz.rec"), "is damaged"), (data.unlink, "could not be loaded")):
        damage()
        browser.open(folder / "index.html")
        until(browser, f"document.getElementById('main').innerText.includes('data/run.js {words}')")


def copy_of(run: saeviz.Run, folder: Path) -> saeviz.Run:
    """A run that may have its report in one file, which takes the place of a folder."""
    return saeviz.open_run(shutil.copytree(run.dir, folder / "copy"), plugins=[FAKES])


def test_a_heatmap_is_switched_on_where_one_is_stored(browser: Any, run: saeviz.Run, tmp_path: Path) -> None:
    copy = copy_of(run, tmp_path)
    made = HtmlReport(HtmlOptions(single_file=True, heatmaps=3), saeviz.Context()).write(copy)
    tab = Tab(browser, made.rename(tmp_path / "with heatmaps.html"))
    feature = run.selected[0].feature
    tab.go(f"view=features&plot=none&feature={feature}")
    assert tab.run("document.querySelectorAll('.heat').length") == 0
    tab.do("document.getElementById('heat').click()")
    tab.until("document.querySelectorAll('.heat').length === 3")
    ids = [item_id for item_id, _ in run.top_item_ids(feature, 3)]
    assert tab.run("[...document.querySelectorAll('.heat')].map(one => one.closest('.picture').title)") == ids
    values = run.heatmap(feature, ids[0])
    shape = tab.run("(one => [one.height, one.width])(document.querySelector('.heat'))")
    assert shape == list(values.shape)
    alpha = "[...document.querySelector('.heat').getContext('2d').getImageData(0, 0, %d, %d).data]"
    drawn = np.array(tab.run(alpha % (shape[1], shape[0]))).reshape(*shape, 4)[..., 3]
    assert np.unravel_index(drawn.argmax(), values.shape) == np.unravel_index(values.argmax(), values.shape)
    assert ((drawn == 0) == (np.round(values.clip(0) / values.max() * 255) == 0)).all()
    assert tab.messages() == []
    tab.do("document.getElementById('heat').click()")
    assert tab.run("document.querySelectorAll('.heat').length") == 0


def test_one_file_holds_everything(browser: Any, run: saeviz.Run, page: Path, tmp_path: Path) -> None:
    made = HtmlReport(HtmlOptions(single_file=True), saeviz.Context()).write(copy_of(run, tmp_path))
    alone = made.rename(tmp_path / "sent by mail.html")
    tab = Tab(browser, alone)
    feature = run.selected[0].feature
    tab.go(f"view=features&feature={feature}")
    assert "Where it fires most" in tab.run(f"{CARD}.innerText")
    loaded = "[...document.querySelectorAll('#card img')].every(one => one.complete && one.naturalWidth > 0)"
    tab.run(
        "Promise.all([...document.querySelectorAll('#card img')].map(one => (one.loading = 'eager', one.decode())))"
    )
    assert tab.run(loaded)
    assert tab.run("document.querySelectorAll('#card img').length") > 3
    assert tab.messages() == []
    assert tab.run("window.broken") is None
    assert [url for url in browser.requests if not url.startswith(("data:", "blob:"))] == [alone.as_uri()]


def test_it_is_served_without_a_report(browser: Any, run: saeviz.Run) -> None:
    served = Served(run.dir, "--plugins", FAKES, token=None)
    try:
        browser.open_url(served.url)
        browser.run(SETTLED)
        assert "What correlates with each rating" in browser.run("document.getElementById('main').innerText")
    finally:
        served.stop()
